//! Seeded random numbers: one stream per purpose, so that an additional draw for one purpose does not change the others.

use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A stream of random numbers that is determined by its seed and its name.
///
/// Generator: xoshiro256++ (Blackman and Vigna 2018). Not suitable for secrets.
#[derive(Clone, Debug)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// The stream with this name, derived from `seed`.
    pub fn named(seed: u64, name: &str) -> Self {
        let salted = name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(Xoshiro256PlusPlus::seed_from_u64(salted))
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniformly distributed number below `end`; 0 when `end` is 0.
    ///
    /// The bias of the multiply-shift method (Lemire 2019) is below `end` / 2⁶⁴.
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        u64::try_from((u128::from(self.bits()) * u128::from(end)) >> 64).unwrap_or(0)
    }

    /// A uniformly distributed span from `least` to `most`, both included, in whole milliseconds. `least` when `most` is shorter.
    #[inline]
    pub fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let width = most.saturating_sub(least).as_millis();
        least + Duration::from_millis(self.below(u64::try_from(width).unwrap_or(u64::MAX - 1) + 1))
    }

    /// True with a probability of `per_mille` thousandths.
    #[inline]
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_repeatable_and_differ_by_name() {
        let draws = |name| {
            (0..4)
                .map({
                    let mut s = Stream::named(7, name);
                    move |_| s.bits()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draws("jitter"), draws("jitter"));
        assert_ne!(draws("jitter"), draws("victim"));
    }

    #[test]
    fn a_span_covers_its_range_including_both_ends() {
        let mut stream = Stream::named(1, "span");
        let (least, most) = (Duration::from_millis(3), Duration::from_millis(9));
        let drawn: Vec<_> = (0..200).map(|_| stream.span(least, most)).collect();
        assert!(drawn.iter().all(|span| (least..=most).contains(span)));
        assert!(drawn.contains(&least) && drawn.contains(&most));
        assert_eq!(stream.span(most, least), most);
    }
}
