//! Passive health by latency: an endpoint that answers far more slowly than the others sits out for a while.

use std::time::Duration;

use crate::endpoint::EndpointId;

#[cfg(test)]
mod tests;

/// Endpoints that must have answered enough before one of them can be told to be slow: of two nobody can say which of them is odd.
pub const FELLOWS_MIN: usize = 3;

/// When an endpoint is too slow to be left in.
///
/// The comparison is with the others in the same window, so that what slows all of them down, such as load or a database, ejects nobody.
/// How long an endpoint sits out and how many may is the [`OutlierPolicy`](crate::OutlierPolicy)'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowPolicy {
    /// Its median latency is above so many percent of the others'.
    pub percent: u32,
    /// And longer by at least this: of answers within a millisecond, one that takes three is no reason.
    pub at_least: Duration,
    /// So long its answers are looked at before it is judged.
    pub window: Duration,
    /// So many answers it has given in that time; with fewer nothing is said of it, neither for nor against.
    pub answers_min: u64,
}

/// How fast an endpoint answered in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Which endpoint.
    pub id: EndpointId,
    /// How many answers it gave.
    pub answers: u64,
    /// Half of them took no longer.
    pub median: Duration,
}

/// That an endpoint was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// Which endpoint.
    pub id: EndpointId,
    /// Half of its answers took longer.
    pub median: Duration,
    /// The median of the other endpoints' medians.
    pub others: Duration,
}

impl SlowPolicy {
    /// Those that were too slow in one window, the slowest first; empty where fewer than [`FELLOWS_MIN`] gave answers enough.
    ///
    /// The median of medians of the others stands for what is usual: it moves only when half of them do. Source: Rousseeuw and Croux 1993,
    /// "Alternatives to the Median Absolute Deviation", on the breakdown point of the median.
    #[must_use]
    pub fn too_slow(&self, paces: &[Pace]) -> Vec<Slow> {
        let mut known: Vec<Pace> =
            paces.iter().filter(|pace| pace.answers >= self.answers_min).copied().collect();
        if known.len() < FELLOWS_MIN {
            return Vec::new();
        }
        known.sort_by_key(|pace| (pace.median, pace.id));
        // The lower median of all but one is the same whichever of the slower half is left out, and the faster half is never judged. Of an even
        // number the faster of the two in the middle counts, or two slow ones would hide each other.
        let others = known[(known.len() - 2) / 2].median;
        let slow = known.iter().map(|pace| Slow { id: pace.id, median: pace.median, others });
        let mut slow: Vec<Slow> = slow.filter(|it| self.is_too_slow(it.median, it.others)).collect();
        slow.reverse();
        slow
    }

    fn is_too_slow(&self, median: Duration, others: Duration) -> bool {
        let is_many_times = median.as_nanos() * 100 > others.as_nanos() * u128::from(self.percent);
        is_many_times && median.saturating_sub(others) >= self.at_least
    }
}
