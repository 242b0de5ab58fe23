//! Passive health checks by latency: an endpoint that is much slower than the others is ejected for a while.

use std::time::Duration;

use crate::endpoint::EndpointId;

#[cfg(test)]
mod tests;

/// The minimum number of endpoints with enough answers to compare: of two, either may be the outlier.
const ENDPOINTS_MIN: usize = 3;

/// When an endpoint is ejected for being slow.
///
/// It is compared with the others in the same window, so that a common cause, such as load or a database, ejects none. The
/// [`OutlierPolicy`](crate::OutlierPolicy) says how long an ejection lasts and how many endpoints may be ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowPolicy {
    /// Its median latency must exceed this percentage of the others'.
    pub percent: u32,
    /// It must be longer by at least this, because three milliseconds instead of one are no reason to eject.
    pub at_least: Duration,
    /// The time over which latencies are compared.
    pub window: Duration,
    /// The minimum number of answers of an endpoint in that time.
    pub answers_min: u64,
}

/// The latency of an endpoint in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLatency {
    /// The endpoint.
    pub id: EndpointId,
    /// The number of its answers.
    pub answers: u64,
    /// Their median latency.
    pub median: Duration,
}

/// An endpoint that was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlowEndpoint {
    /// The endpoint.
    pub(crate) id: EndpointId,
    /// Its median latency.
    pub(crate) median: Duration,
    /// The median of the other endpoints' medians.
    pub(crate) others: Duration,
}

impl SlowPolicy {
    /// The endpoints that were too slow in one window, slowest first; empty if fewer than [`ENDPOINTS_MIN`] have enough answers.
    ///
    /// The reference is the median of the others' medians, which is robust: it moves only when half of them do. Source: Rousseeuw and Croux 1993,
    /// "Alternatives to the Median Absolute Deviation", on the breakdown point of the median.
    pub(crate) fn slow_endpoints(&self, latencies: &[WindowLatency]) -> Vec<SlowEndpoint> {
        let mut comparable: Vec<WindowLatency> =
            latencies.iter().filter(|latency| latency.answers >= self.answers_min).copied().collect();
        if comparable.len() < ENDPOINTS_MIN {
            return Vec::new();
        }
        comparable.sort_by_key(|latency| (latency.median, latency.id));
        // The lower median of the others is the same for every endpoint of the slower half, and no endpoint of the faster half can be too slow. Of
        // the two in the middle of an even number the faster one is used, because two slow endpoints would hide each other otherwise.
        let others = comparable[(comparable.len() - 2) / 2].median;
        let slow =
            comparable.iter().map(|latency| SlowEndpoint { id: latency.id, median: latency.median, others });
        let mut slow: Vec<SlowEndpoint> =
            slow.filter(|endpoint| self.is_too_slow(endpoint.median, endpoint.others)).collect();
        slow.reverse();
        slow
    }

    fn is_too_slow(&self, median: Duration, others: Duration) -> bool {
        let is_many_times = median.as_nanos() * 100 > others.as_nanos() * u128::from(self.percent);
        is_many_times && median.saturating_sub(others) >= self.at_least
    }
}
