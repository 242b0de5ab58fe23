//! Passive health checks by latency: an endpoint that answers far more slowly than the others is ejected for a while.

use std::time::Duration;

use crate::endpoint::EndpointId;

#[cfg(test)]
mod tests;

/// Endpoints that must have answered enough before one of them can be called slow: of two, either may be the outlier.
const ENDPOINTS_MIN: usize = 3;

/// When an endpoint is so slow that it is ejected.
///
/// It is compared with the others in the same window, so that what slows down all of them, such as load or a database, ejects none. The
/// [`OutlierPolicy`](crate::OutlierPolicy) says how long an ejection lasts and how many endpoints may be ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowPolicy {
    /// Its median latency exceeds this percentage of the others'.
    pub percent: u32,
    /// And it is longer by at least this: three milliseconds instead of one are no reason to eject.
    pub at_least: Duration,
    /// How long its answers are observed before it is judged.
    pub window: Duration,
    /// Answers that it has to give in that time to be judged or compared with.
    pub answers_min: u64,
}

/// The latency of an endpoint in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLatency {
    /// Which endpoint.
    pub id: EndpointId,
    /// How many answers it gave.
    pub answers: u64,
    /// Half of them took no longer.
    pub median: Duration,
}

/// An endpoint that was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlowEndpoint {
    /// Which endpoint.
    pub(crate) id: EndpointId,
    /// Half of its answers took longer.
    pub(crate) median: Duration,
    /// The median of the other endpoints' medians.
    pub(crate) others: Duration,
}

impl SlowPolicy {
    /// The endpoints that were too slow in one window, the slowest first; empty if fewer than [`ENDPOINTS_MIN`] gave enough answers.
    ///
    /// The median of the others' medians is taken as usual, since it moves only when half of them do. Source: Rousseeuw and Croux 1993,
    /// "Alternatives to the Median Absolute Deviation", on the breakdown point of the median.
    pub(crate) fn slow_endpoints(&self, latencies: &[WindowLatency]) -> Vec<SlowEndpoint> {
        let mut known: Vec<WindowLatency> =
            latencies.iter().filter(|latency| latency.answers >= self.answers_min).copied().collect();
        if known.len() < ENDPOINTS_MIN {
            return Vec::new();
        }
        known.sort_by_key(|latency| (latency.median, latency.id));
        // The lower median of all but one is the same whichever of the slower half is left out, and the faster half is never judged. Of the two
        // in the middle of an even number the faster one counts, or two slow endpoints would hide each other.
        let others = known[(known.len() - 2) / 2].median;
        let slow =
            known.iter().map(|latency| SlowEndpoint { id: latency.id, median: latency.median, others });
        let mut slow: Vec<SlowEndpoint> = slow.filter(|it| self.is_too_slow(it.median, it.others)).collect();
        slow.reverse();
        slow
    }

    fn is_too_slow(&self, median: Duration, others: Duration) -> bool {
        let is_many_times = median.as_nanos() * 100 > others.as_nanos() * u128::from(self.percent);
        is_many_times && median.saturating_sub(others) >= self.at_least
    }
}
