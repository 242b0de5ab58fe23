//! Latencies of a replica, counted in classes relative to the latency threshold of the SLO.

use std::time::Duration;

use crate::identity::{Incarnation, Ordinal};
use crate::name::ServiceName;

/// The upper bounds of the latency classes, in thousandths of the SLO's threshold; latencies above the last one form a class of their own.
///
/// About √2 apart, and closer near the threshold.
pub const LATENCY_SHARES: [u32; 15] =
    [63, 88, 125, 177, 250, 354, 500, 595, 707, 841, 1000, 1189, 1414, 2000, 4000];

/// The number of latency classes.
pub const LATENCY_CLASSES: usize = LATENCY_SHARES.len() + 1;

/// The last class within the SLO.
pub const LATENCY_CLASS_IN_TIME: usize = 10;

/// The proxy's latency counters of one replica of a service with an SLO, since the start of its incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Latencies {
    /// The service.
    pub service: ServiceName,
    /// The place of the replica.
    pub ordinal: Ordinal,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The SLO's latency threshold that the classes are relative to.
    pub threshold: Duration,
    /// Answers with a status of 500 or above, and requests without an answer; those abandoned shortly before the threshold, too.
    pub failed: u64,
    /// Answers by latency class: up to the bound in [`LATENCY_SHARES`], and above the previous one. Requests that their clients abandoned after
    /// the threshold count as if they had been answered then.
    pub answered: [u64; LATENCY_CLASSES],
}

/// The class of a latency under an SLO with this threshold. With a threshold of zero, only a latency of zero is within the SLO.
#[inline]
pub fn class_of(latency: Duration, threshold: Duration) -> usize {
    LATENCY_SHARES
        .partition_point(|share| latency.as_micros() * 1000 > threshold.as_micros() * u128::from(*share))
}

impl Latencies {
    /// The number of answers.
    #[inline]
    pub fn total(&self) -> u64 {
        self.answered.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The counts since `earlier`; `None` when that is of another incarnation or threshold, or has higher counts.
    #[inline]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        if (self.incarnation, self.threshold) != (earlier.incarnation, earlier.threshold) {
            return None;
        }
        let mut since = self.clone();
        since.failed = self.failed.checked_sub(earlier.failed)?;
        for (count, before) in since.answered.iter_mut().zip(earlier.answered) {
            *count = count.checked_sub(before)?;
        }
        Some(since)
    }

    /// The class of a quantile, given in millionths: the first class that, with those below it, has at least that share of the answers.
    /// `None` without an answer.
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
            threshold: Duration::from_millis(200),
            failed: 0,
            answered,
        }
    }

    #[test]
    fn the_threshold_is_the_bound_of_the_last_class_in_time() {
        assert_eq!(LATENCY_SHARES[LATENCY_CLASS_IN_TIME], 1000);
        assert!(LATENCY_SHARES.is_sorted());
    }

    #[test]
    fn a_latency_is_in_the_first_class_whose_bound_it_does_not_exceed() {
        let (ms, threshold) = (Duration::from_millis, Duration::from_millis(200));
        for (latency, class) in
            [(0, 0), (12, 0), (13, 1), (200, LATENCY_CLASS_IN_TIME), (201, 11), (9000, 15)]
        {
            assert_eq!(class_of(ms(latency), threshold), class, "{latency} ms");
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
    fn earlier_counts_are_subtracted() {
        let (mut before, mut after) = ([0; LATENCY_CLASSES], [1; LATENCY_CLASSES]);
        before[3] = 1;
        after[3] = 5;
        let since = counted(after).since(&counted(before)).expect("the counts are higher");
        assert_eq!((since.answered[3], since.total()), (4, 19));
        assert_eq!(counted(before).since(&counted(after)), None);
        let other = Latencies { incarnation: Incarnation(2), ..counted(after) };
        assert_eq!(other.since(&counted(before)), None);
    }
}
