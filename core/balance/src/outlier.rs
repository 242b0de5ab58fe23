//! Outlier ejection: an endpoint that keeps failing, or is much slower than the others, gets no requests for a while.

use std::fmt;
use std::time::Duration;

use crate::endpoint::EndpointId;
use crate::slow_endpoints::{SlowEndpoint, SlowPolicy, WindowLatency};

#[cfg(test)]
mod tests;

/// When an endpoint is ejected, and for how long.
///
/// The defaults are those of Envoy's outlier detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierPolicy {
    /// Consecutive failures that eject an endpoint.
    pub failures_in_a_row: u32,
    /// The duration of the first ejection; the k-th lasts k times as long.
    pub base: Duration,
    /// The longest duration of an ejection.
    pub longest: Duration,
    /// The maximum share of endpoints that are ejected at the same time, in percent; one always may be.
    pub ejected_percent_max: u8,
    /// When an endpoint is too slow; `None` for never.
    pub slow: Option<SlowPolicy>,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            failures_in_a_row: 5,
            base: Duration::from_secs(30),
            longest: Duration::from_secs(300),
            ejected_percent_max: 10,
            slow: None,
        }
    }
}

impl OutlierPolicy {
    /// Whether this many consecutive failures are a reason to eject.
    #[must_use]
    pub fn trips(&self, failures_in_a_row: u32) -> bool {
        failures_in_a_row >= self.failures_in_a_row
    }

    /// How many of `endpoints` may be ejected at once: the share rounded down, and at least one.
    #[must_use]
    pub fn ejected_max(&self, endpoints: usize) -> usize {
        (endpoints * usize::from(self.ejected_percent_max) / 100).max(1)
    }
}

/// The reason for an ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Consecutive failures.
    Failures {
        /// The number of failures.
        in_a_row: u32,
    },
    /// A much higher latency than the others.
    Slow {
        /// Its median latency.
        median: Duration,
        /// The median of the other endpoints' medians.
        others: Duration,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |latency: &Duration| latency.as_secs_f64() * 1000.0;
        match self {
            Self::Failures { in_a_row } => write!(f, "requests to it kept failing, {in_a_row} in a row"),
            Self::Slow { median, others } => write!(
                f,
                "it was slow, with half of its answers taking {:.1} ms or more and the others' {:.1} ms",
                ms(median),
                ms(others)
            ),
        }
    }
}

/// The result of an attempt to eject an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was ejected.
    Ejected {
        /// When the ejection ends.
        until: Duration,
    },
    /// It was not ejected.
    NotEjected(NotEjected),
}

/// Why an endpoint was not ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEjected {
    /// It is not an endpoint of the service, or no longer.
    Unknown,
    /// It is ejected already.
    AlreadyEjected,
    /// As many endpoints as allowed are ejected already.
    TooManyEjected {
        /// The limit that was reached.
        limit: usize,
    },
}

/// The records of all endpoints of one service.
#[derive(Debug, Clone, Default)]
pub struct Outliers {
    policy: OutlierPolicy,
    records: Vec<Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    id: EndpointId,
    /// The multiplier k of the last ejection, less one for each `base` without an ejection since.
    repeats: u32,
    /// All ejections of this incarnation.
    times: u32,
    state: State,
    /// The reason for the last ejection.
    cause: Option<Cause>,
}

/// The current ejection of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// When the ejection began.
    pub since: Duration,
    /// When the ejection ends.
    pub until: Duration,
    /// The number of ejections of this incarnation, this one included.
    pub times: u32,
    /// The reason for this ejection.
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Admitted { since: Duration },
    Ejected { since: Duration, until: Duration },
}

impl Outliers {
    /// A record without endpoints.
    #[must_use]
    pub fn new(policy: OutlierPolicy) -> Self {
        Self { policy, records: Vec::new() }
    }

    /// Adopts a changed set of endpoints. Remaining endpoints keep their records.
    pub fn retain_and_add(&mut self, now: Duration, ids: impl IntoIterator<Item = EndpointId>) {
        let old = std::mem::take(&mut self.records);
        self.records = ids
            .into_iter()
            .map(|id| {
                let known = old.iter().find(|r| r.id == id).copied();
                known.unwrap_or(Record {
                    id,
                    repeats: 0,
                    times: 0,
                    state: State::Admitted { since: now },
                    cause: None,
                })
            })
            .collect();
    }

    /// Ejects the endpoints that were too slow in a finished window, slowest first, as far as allowed; returns the verdict on each.
    pub fn eject_slow(&mut self, now: Duration, latencies: &[WindowLatency]) -> Vec<(EndpointId, Verdict)> {
        let slow = self.policy.slow.map_or_else(Vec::new, |policy| policy.slow_endpoints(latencies));
        let eject = |SlowEndpoint { id, median, others }: SlowEndpoint| {
            (id, self.eject(now, id, Cause::Slow { median, others }))
        };
        slow.into_iter().map(eject).collect()
    }

    /// Ejects an endpoint whose failures [tripped](OutlierPolicy::trips) the policy, or that was too slow, unless too many are ejected already.
    pub fn eject(&mut self, now: Duration, id: EndpointId, cause: Cause) -> Verdict {
        let limit = self.policy.ejected_max(self.records.len());
        let ejected = self.records.iter().filter(|r| r.is_ejected(now)).count();
        let Some(record) = self.records.iter_mut().find(|r| r.id == id) else {
            return Verdict::NotEjected(NotEjected::Unknown);
        };
        if record.is_ejected(now) {
            return Verdict::NotEjected(NotEjected::AlreadyEjected);
        }
        if ejected >= limit {
            return Verdict::NotEjected(NotEjected::TooManyEjected { limit });
        }
        record.readmit(now);
        record.decay_repeats(now, self.policy.base);
        record.repeats = record.repeats.saturating_add(1);
        record.times = record.times.saturating_add(1);
        let duration = self.policy.base.saturating_mul(record.repeats);
        let until = now + duration.min(self.policy.longest);
        record.state = State::Ejected { since: now, until };
        record.cause = Some(cause);
        Verdict::Ejected { until }
    }

    /// Ends the ejections whose time is over; returns whether there was one.
    pub fn review(&mut self, now: Duration) -> bool {
        let readmitted = self.records.iter_mut().filter_map(|r| r.readmit(now).then_some(()));
        readmitted.count() > 0
    }

    /// Whether an endpoint is ejected.
    #[must_use]
    pub fn is_ejected(&self, now: Duration, id: EndpointId) -> bool {
        self.records.iter().any(|r| r.id == id && r.is_ejected(now))
    }

    /// The ejection of an endpoint; `None` if it is not ejected.
    #[must_use]
    pub fn ejection(&self, now: Duration, id: EndpointId) -> Option<Ejection> {
        let record = self.records.iter().find(|r| r.id == id)?;
        match record.state {
            State::Ejected { since, until } if now < until => {
                Some(Ejection { since, until, times: record.times, cause: record.cause? })
            }
            State::Ejected { .. } | State::Admitted { .. } => None,
        }
    }

    /// When the next ejection ends; `None` while there is none.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let untils = self.records.iter().filter_map(|r| match r.state {
            State::Ejected { until, .. } => Some(until),
            State::Admitted { .. } => None,
        });
        untils.min()
    }
}

impl Record {
    fn is_ejected(&self, now: Duration) -> bool {
        match self.state {
            State::Ejected { until, .. } => now < until,
            State::Admitted { .. } => false,
        }
    }

    /// Ends an ejection whose time is over; returns whether there was one.
    fn readmit(&mut self, now: Duration) -> bool {
        match self.state {
            State::Ejected { until, .. } if until <= now => {
                self.state = State::Admitted { since: until };
                true
            }
            State::Ejected { .. } | State::Admitted { .. } => false,
        }
    }

    /// Subtracts 1 from `repeats` for each whole `base` without an ejection.
    fn decay_repeats(&mut self, now: Duration, base: Duration) {
        let State::Admitted { since } = self.state else {
            return;
        };
        let periods = now.saturating_sub(since).as_nanos() / base.as_nanos().max(1);
        self.repeats = self.repeats.saturating_sub(periods.try_into().unwrap_or(u32::MAX));
    }
}
