//! Outlier ejection: an endpoint that keeps failing, or is far slower than the others, gets no requests for a while.

use std::fmt;
use std::time::Duration;

use crate::endpoint::EndpointId;
use crate::slow_endpoints::{SlowEndpoint, SlowPolicy, WindowLatency};

#[cfg(test)]
mod tests;

/// When an endpoint is ejected, and for how long.
///
/// The defaults are Envoy's "outlier detection".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierPolicy {
    /// Failures in a row, without one success between them, that eject an endpoint.
    pub failures_in_a_row: u32,
    /// The first ejection lasts this long, the k-th k times as long.
    pub base: Duration,
    /// No ejection lasts longer.
    pub longest: Duration,
    /// At most this share of the endpoints is ejected at once, in percent; one always may be.
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
    /// Whether this many failures in a row are a reason to eject.
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

/// Why an endpoint is to be ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It failed several times in a row.
    Failures {
        /// How often.
        in_a_row: u32,
    },
    /// It answered far more slowly than the others.
    Slow {
        /// Half of its answers took longer.
        median: Duration,
        /// The median of the others' medians.
        others: Duration,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |it: &Duration| it.as_secs_f64() * 1000.0;
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
        /// When it comes back.
        until: Duration,
    },
    /// It was not ejected.
    NotEjected(NotEjected),
}

/// Why an endpoint was not ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEjected {
    /// It is not, or no longer, one of the service's endpoints.
    Unknown,
    /// It is ejected already.
    AlreadyEjected,
    /// As many as allowed are ejected already.
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
    /// The k of the last ejection, less one for each `base` without an ejection since.
    repeats: u32,
    /// All ejections in this life.
    times: u32,
    state: State,
    /// Of the last ejection.
    cause: Option<Cause>,
}

/// The present ejection of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// When it was ejected.
    pub since: Duration,
    /// When it comes back.
    pub until: Duration,
    /// How often it was ejected in this life, this time included.
    pub times: u32,
    /// Why it was this time.
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    In { since: Duration },
    Out { since: Duration, until: Duration },
}

impl Outliers {
    /// No endpoints yet, under the given policy.
    #[must_use]
    pub fn new(policy: OutlierPolicy) -> Self {
        Self { policy, records: Vec::new() }
    }

    /// Adopts a changed set of endpoints. Those that stay keep their record.
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
                    state: State::In { since: now },
                    cause: None,
                })
            })
            .collect();
    }

    /// Ejects those that were too slow in a window that is over, the slowest first, if that is allowed; returns the verdict on each.
    pub fn eject_slow(&mut self, now: Duration, latencies: &[WindowLatency]) -> Vec<(EndpointId, Verdict)> {
        let slow = self.policy.slow.map_or_else(Vec::new, |policy| policy.slow_endpoints(latencies));
        let eject = |SlowEndpoint { id, median, others }: SlowEndpoint| {
            (id, self.eject(now, id, Cause::Slow { median, others }))
        };
        slow.into_iter().map(eject).collect()
    }

    /// Ejects an endpoint whose failures [tripped](OutlierPolicy::trips) the policy, or that was too slow, if that is allowed.
    pub fn eject(&mut self, now: Duration, id: EndpointId, cause: Cause) -> Verdict {
        let limit = self.policy.ejected_max(self.records.len());
        let ejected = self.records.iter().filter(|r| r.is_out(now)).count();
        let Some(record) = self.records.iter_mut().find(|r| r.id == id) else {
            return Verdict::NotEjected(NotEjected::Unknown);
        };
        if record.is_out(now) {
            return Verdict::NotEjected(NotEjected::AlreadyEjected);
        }
        if ejected >= limit {
            return Verdict::NotEjected(NotEjected::TooManyEjected { limit });
        }
        record.come_back(now);
        record.forgive(now, self.policy.base);
        record.repeats = record.repeats.saturating_add(1);
        record.times = record.times.saturating_add(1);
        let length = self.policy.base.saturating_mul(record.repeats);
        let until = now + length.min(self.policy.longest);
        record.state = State::Out { since: now, until };
        record.cause = Some(cause);
        Verdict::Ejected { until }
    }

    /// Ends the ejections whose time is over; returns whether there were any.
    pub fn review(&mut self, now: Duration) -> bool {
        let returned = self.records.iter_mut().filter_map(|r| r.come_back(now).then_some(()));
        returned.count() > 0
    }

    /// Whether an endpoint is ejected.
    #[must_use]
    pub fn is_ejected(&self, now: Duration, id: EndpointId) -> bool {
        self.records.iter().any(|r| r.id == id && r.is_out(now))
    }

    /// The ejection of an endpoint; `None` if it is not ejected.
    #[must_use]
    pub fn ejection(&self, now: Duration, id: EndpointId) -> Option<Ejection> {
        let record = self.records.iter().find(|r| r.id == id)?;
        match record.state {
            State::Out { since, until } if now < until => {
                Some(Ejection { since, until, times: record.times, cause: record.cause? })
            }
            State::Out { .. } | State::In { .. } => None,
        }
    }

    /// When the next ejection ends; `None` while there is none.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let untils = self.records.iter().filter_map(|r| match r.state {
            State::Out { until, .. } => Some(until),
            State::In { .. } => None,
        });
        untils.min()
    }
}

impl Record {
    fn is_out(&self, now: Duration) -> bool {
        match self.state {
            State::Out { until, .. } => now < until,
            State::In { .. } => false,
        }
    }

    fn come_back(&mut self, now: Duration) -> bool {
        match self.state {
            State::Out { until, .. } if until <= now => {
                self.state = State::In { since: until };
                true
            }
            State::Out { .. } | State::In { .. } => false,
        }
    }

    /// Takes one off `repeats` for each whole `base` without an ejection.
    fn forgive(&mut self, now: Duration, base: Duration) {
        let State::In { since } = self.state else {
            return;
        };
        let good = now.saturating_sub(since).as_nanos() / base.as_nanos().max(1);
        self.repeats = self.repeats.saturating_sub(good.try_into().unwrap_or(u32::MAX));
    }
}
