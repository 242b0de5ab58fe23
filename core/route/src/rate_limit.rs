//! Rate limits.

use std::num::NonZeroU32;

/// A rate limit: a token bucket.
///
/// The state of a bucket is one number, the time at which it would be full again (the "theoretical arrival time" of the generic
/// cell rate algorithm). It fits in one atomic word, and the state of a full bucket can be discarded.
/// Source: ITU-T I.371, Annex A, "virtual scheduling".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Nanoseconds for one token.
    interval_ns: u64,
    /// Nanoseconds to fill an empty bucket.
    depth_ns: u64,
}

/// Whether a request is allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed.
    Allow {
        /// The new state of the bucket: when it would be full again, in nanoseconds.
        full_at_ns: u64,
    },
    /// It is refused; the bucket is unchanged.
    Wait {
        /// The time until a request is allowed, in nanoseconds.
        ns: u64,
    },
}

const SECOND_NS: u64 = 1_000_000_000;

impl RateLimit {
    /// A limit of `per_second` requests, with up to `burst` at once after an idle time.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval_ns = SECOND_NS / u64::from(per_second.get());
        Self { interval_ns, depth_ns: interval_ns.saturating_mul(u64::from(burst.get())) }
    }

    /// Takes a token for one request at `now_ns`. `full_at_ns` is the current state of the bucket; 0 for a new one.
    pub fn check(self, full_at_ns: u64, now_ns: u64) -> Decision {
        let full_at_ns = full_at_ns.max(now_ns).saturating_add(self.interval_ns);
        let over = full_at_ns.saturating_sub(now_ns.saturating_add(self.depth_ns));
        if over == 0 { Decision::Allow { full_at_ns } } else { Decision::Wait { ns: over } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let rate_limit = RateLimit::new(number(10), number(3));
        let mut state = 0;
        let mut wait = |now_ns| match rate_limit.check(state, now_ns) {
            Decision::Allow { full_at_ns } => {
                state = full_at_ns;
                None
            }
            Decision::Wait { ns } => Some(ns),
        };
        let start = SECOND_NS;
        assert_eq!([wait(start), wait(start), wait(start)], [None; 3]);
        assert_eq!(wait(start), Some(SECOND_NS / 10));
        assert_eq!(wait(start + SECOND_NS / 10), None);
        assert_eq!(wait(start + SECOND_NS / 10), Some(SECOND_NS / 10));
        assert_eq!([wait(start * 9), wait(start * 9), wait(start * 9)], [None; 3]);
    }

    proptest! {
        /// The reference is a bucket with an explicit count of tokens.
        #[test]
        fn it_equals_a_token_bucket(per_second in 1u32..1000, burst in 1u32..20, steps in vec(0u64..200_000_000, 1..100)) {
            let rate_limit = RateLimit::new(number(per_second), number(burst));
            let interval = SECOND_NS / u64::from(per_second);
            let full = u128::from(interval) * u128::from(burst);
            let (mut state, mut now, mut tokens_ns) = (0, SECOND_NS, full);
            for step in steps {
                now += step;
                tokens_ns = (tokens_ns + u128::from(step)).min(full);
                let is_allowed = tokens_ns >= u128::from(interval);
                match rate_limit.check(state, now) {
                    Decision::Allow { full_at_ns } => {
                        prop_assert!(is_allowed);
                        state = full_at_ns;
                        tokens_ns -= u128::from(interval);
                    }
                    Decision::Wait { ns } => {
                        prop_assert!(!is_allowed);
                        prop_assert_eq!(u128::from(ns), u128::from(interval) - tokens_ns);
                    }
                }
            }
        }
    }
}
