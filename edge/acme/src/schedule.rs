//! When to renew a certificate, and when to try again after a failure.

use std::time::Duration;

use model::time::Wall;

/// The longest wait after the first failure: enough for a transient cause to pass, such as a listener that was not open yet.
const RETRY_DELAY_FIRST: Duration = Duration::from_secs(10);

/// The factor by which each further wait may be longer.
///
/// With it, the first hour of failures has five or six attempts: Let's Encrypt allows five failed validations of a host an hour
/// (<https://letsencrypt.org/docs/rate-limits/>).
const RETRY_DELAY_FACTOR: u32 = 3;

/// The longest wait: Let's Encrypt recommends that clients try twice a day.
const RETRY_DELAY_MAX: Duration = Duration::from_hours(12);

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Wall,
    pub(crate) until: Wall,
}

/// When to renew a certificate: `before` its end, or else after two thirds of its lifetime, but never in the first half.
///
/// Two thirds are what Let's Encrypt recommends. The limit of one half keeps a long `before` from causing endless renewals.
pub(crate) fn renewal(validity: Validity, before: Option<Duration>) -> Wall {
    let life = validity.until.as_millis().saturating_sub(validity.from.as_millis());
    let before = before.map_or(life / 3, |before| u64::try_from(before.as_millis()).unwrap_or(u64::MAX));
    Wall::from_millis(validity.until.as_millis() - before.min(life / 2))
}

/// How long to wait after this many failures in a row, at least 1.
///
/// `chance` chooses between half and all of a wait that triples with each failure, so that clients that failed together do not retry together.
pub(crate) fn retry_delay(failures: u32, chance: u64) -> Duration {
    let factor = RETRY_DELAY_FACTOR.saturating_pow(failures.saturating_sub(1));
    let longest = RETRY_DELAY_FIRST.saturating_mul(factor).min(RETRY_DELAY_MAX);
    let half = longest / 2;
    let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(chance % (spread + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days(from: u64, until: u64) -> Validity {
        const DAY: u64 = 86_400_000;
        Validity { from: Wall::from_millis(from * DAY), until: Wall::from_millis(until * DAY) }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_lifetime_by_default() {
        let day = |time: Wall| time.as_millis() / 86_400_000;
        assert_eq!(day(renewal(days(0, 90), None)), 60);
        assert_eq!(day(renewal(days(0, 90), Some(Duration::from_hours(24 * 10)))), 80);
        assert_eq!(day(renewal(days(0, 90), Some(Duration::from_hours(24 * 80)))), 45);
    }

    #[test]
    fn the_wait_grows_to_twelve_hours() {
        let waits: Vec<u64> =
            (1..=10).map(|failures| retry_delay(failures, u64::MAX / 3).as_secs()).collect();
        assert!(waits.is_sorted(), "{waits:?}");
        assert!((5..=10).contains(&waits[0]), "{waits:?}");
        assert!((21_600..=43_200).contains(&waits[9]), "{waits:?}");
    }

    proptest! {
        #[test]
        fn a_certificate_is_renewed_within_its_second_half(from in 0u64..1 << 40, life in 0u64..1 << 40, before in proptest::option::of(0u64..1 << 50)) {
            let validity = Validity { from: Wall::from_millis(from), until: Wall::from_millis(from + life) };
            let at = renewal(validity, before.map(Duration::from_millis)).as_millis();
            prop_assert!(from + life / 2 <= at && at <= from + life);
        }

        #[test]
        fn a_wait_is_between_half_of_its_maximum_and_the_maximum(failures in 1u32..100, chance: u64) {
            let (least, most) = (retry_delay(failures, 0), RETRY_DELAY_FIRST.saturating_mul(RETRY_DELAY_FACTOR.saturating_pow(failures - 1)).min(RETRY_DELAY_MAX));
            let wait = retry_delay(failures, chance);
            prop_assert!(least == most / 2 && least <= wait && wait <= most);
        }
    }
}
