//! Latencies of a replica, counted in classes relative to the promised latency.

use std::time::Duration;

use crate::identity::{Incarnation, Ordinal};
use crate::name::ServiceName;

/// Where one class of latencies ends and the next begins, in thousandths of the promised latency.
///
/// About √2 apart, closer where the promise is near. What is above the last is in a class of its own.
pub const LATENCY_SHARES: [u32; 15] =
    [63, 88, 125, 177, 250, 354, 500, 595, 707, 841, 1000, 1189, 1414, 2000, 4000];

/// Classes of latencies.
pub const LATENCY_CLASSES: usize = LATENCY_SHARES.len() + 1;

/// The last class of which the promise is kept.
pub const LATENCY_CLASS_KEPT: usize = 10;

/// The proxy's counters of one replica of a service that promises a latency, from the start of that replica's life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Latencies {
    /// The service asked for.
    pub service: ServiceName,
    /// The replica that was asked.
    pub ordinal: Ordinal,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What was promised when they were counted.
    pub promised: Duration,
    /// Answers with a status of 500 or above, and requests without an answer.
    pub failed: u64,
    /// Answers by class of latency: within the share of the promise that [`LATENCY_SHARES`] has, and above the one before.
    pub answered: [u64; LATENCY_CLASSES],
}

/// The class of a latency where `promised` is; a promise of nothing is kept by nothing.
#[inline]
pub fn class_of(latency: Duration, promised: Duration) -> usize {
    LATENCY_SHARES
        .partition_point(|share| latency.as_micros() * 1000 > promised.as_micros() * u128::from(*share))
}

impl Latencies {
    /// All answers.
    #[inline]
    pub fn total(&self) -> u64 {
        self.answered.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What was counted since `earlier`; `None` when that is of another life or another promise, or counted more.
    #[inline]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        if (self.incarnation, self.promised) != (earlier.incarnation, earlier.promised) {
            return None;
        }
        let mut since = self.clone();
        since.failed = self.failed.checked_sub(earlier.failed)?;
        for (count, before) in since.answered.iter_mut().zip(earlier.answered) {
            *count = count.checked_sub(before)?;
        }
        Some(since)
    }

    /// The first class that, with those below it, has at least the share of the answers that `millionths` says: the class of
    /// that quantile. `None` without an answer.
    #[inline]
    pub fn class_of_quantile(&self, millionths: u32) -> Option<usize> {
        let total = u128::from(self.total());
        let needed = (total * u128::from(millionths)).div_ceil(1_000_000).max(1);
        let mut seen = 0;
        self.answered.iter().position(|count| {
            seen += u128::from(*count);
            seen >= needed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(answered: [u64; LATENCY_CLASSES]) -> Latencies {
        Latencies {
            service: ServiceName::parse("shop").expect("a name"),
            ordinal: Ordinal(0),
            incarnation: Incarnation(1),
            promised: Duration::from_millis(200),
            failed: 0,
            answered,
        }
    }

    #[test]
    fn the_promise_is_kept_up_to_its_class() {
        assert_eq!(LATENCY_SHARES[LATENCY_CLASS_KEPT], 1000);
        assert!(LATENCY_SHARES.is_sorted());
    }

    #[test]
    fn a_latency_is_in_the_class_whose_end_it_does_not_pass() {
        let (ms, promised) = (Duration::from_millis, Duration::from_millis(200));
        for (latency, class) in [(0, 0), (12, 0), (13, 1), (200, LATENCY_CLASS_KEPT), (201, 11), (9000, 15)] {
            assert_eq!(class_of(ms(latency), promised), class, "{latency} ms");
        }
    }

    #[test]
    fn a_quantile_is_in_the_class_that_reaches_it() {
        let mut answered = [0; LATENCY_CLASSES];
        (answered[2], answered[12]) = (99, 1);
        assert_eq!(counted(answered).class_of_quantile(990_000), Some(2));
        assert_eq!(counted(answered).class_of_quantile(990_001), Some(12));
        assert_eq!(counted([0; LATENCY_CLASSES]).class_of_quantile(990_000), None);
    }

    #[test]
    fn what_was_counted_before_is_taken_off() {
        let (mut before, mut after) = ([0; LATENCY_CLASSES], [1; LATENCY_CLASSES]);
        before[3] = 1;
        after[3] = 5;
        let since = counted(after).since(&counted(before)).expect("it counted on");
        assert_eq!((since.answered[3], since.total()), (4, 19));
        assert_eq!(counted(before).since(&counted(after)), None);
        let other = Latencies { incarnation: Incarnation(2), ..counted(after) };
        assert_eq!(other.since(&counted(before)), None);
    }
}
