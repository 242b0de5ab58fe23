//! Hedging: a request that takes long is sent to a second endpoint, too, and the first answer counts.
//!
//! Most of the slowest answers are slow by the bad luck of one endpoint, such as a pause or a queue, which another one does not have at that
//! moment. Source: Dean and Barroso 2013, "The Tail at Scale": a second request once the first has taken longer than 95 % of all do costs
//! some 5 % more load and removes most of the tail. Hedges are limited to a small share: where all answers are slow, they would only double
//! the load.

use std::time::Duration;

use crate::retry::RetryBudget;

#[cfg(test)]
mod tests;

/// When a request is sent a second time, and how many may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HedgePolicy {
    /// How long the first endpoint has for the head of its answer before a second one is asked.
    pub after: HedgeAfter,
    /// At most this share of the requests is sent twice, in percent.
    pub budget_percent: u8,
}

/// How long the first endpoint has for the head of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// This long.
    Fixed(Duration),
    /// As long as this percentile of the latest answers.
    Percentile(u8),
}

/// Whether a request may be sent to two endpoints at once: its method is safe, so that neither of them acts on it.
///
/// This is stricter than for a retry, which follows a finished attempt: of two that delete the same thing at once, one says that there is
/// none. Source: RFC 9110, section 9.2.1.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// The latest latencies that a percentile is taken of: five are above the 99th.
const LATENCIES_MAX: usize = 512;

/// Latencies before which there is no percentile.
const LATENCIES_MIN: usize = 64;

/// New latencies after which the percentile is taken anew, which costs each of them a look at 16 old ones.
const UPDATE_INTERVAL: usize = 32;

/// Hedges that may be saved up: enough for a bad moment, and not for a bad minute.
const BUDGET_MAX: f64 = 10.0;

/// Decides when requests of one service are sent a second time.
#[derive(Debug, Clone)]
pub struct Hedger {
    policy: HedgePolicy,
    budget: f64,
    /// A ring, in microseconds; empty where the time is fixed.
    latencies_us: Vec<u32>,
    next: usize,
    delay: Option<Duration>,
}

impl Hedger {
    /// A hedger that has seen no request yet.
    #[must_use]
    pub fn new(policy: HedgePolicy) -> Self {
        let delay = match policy.after {
            HedgeAfter::Fixed(delay) => Some(delay),
            HedgeAfter::Percentile(_) => None,
        };
        Self { policy, budget: BUDGET_MAX, latencies_us: Vec::new(), next: 0, delay }
    }

    /// The policy that it follows.
    #[must_use]
    pub fn policy(&self) -> HedgePolicy {
        self.policy
    }

    /// Notes a request that may be hedged; returns after what time it should be. `None` while too few answers were seen.
    pub fn admit(&mut self) -> Option<Duration> {
        self.budget = (self.budget + f64::from(self.policy.budget_percent) / 100.0).min(BUDGET_MAX);
        self.delay
    }

    /// Notes how long the head of a good answer took, from whichever endpoint.
    ///
    /// That hedges shorten some of them does no harm: what was above the percentile stays above it. O(1), and O(n) in the kept latencies for
    /// each 32nd call.
    pub fn observe(&mut self, latency: Duration) {
        let HedgeAfter::Percentile(percentile) = self.policy.after else { return };
        let latency_us = latency.as_micros().try_into().unwrap_or(u32::MAX);
        if self.latencies_us.len() < LATENCIES_MAX {
            self.latencies_us.push(latency_us);
        } else {
            self.latencies_us[self.next] = latency_us;
        }
        self.next = (self.next + 1) % LATENCIES_MAX;
        if self.latencies_us.len() >= LATENCIES_MIN && self.next.is_multiple_of(UPDATE_INTERVAL) {
            let mut sorted = self.latencies_us.clone();
            let rank = (sorted.len() * usize::from(percentile) / 100).min(sorted.len() - 1);
            let (_, delay_us, _) = sorted.select_nth_unstable(rank);
            self.delay = Some(Duration::from_micros((*delay_us).into()));
        }
    }

    /// Takes a hedge from its own budget and from that of retries; `false`, and nothing is taken, when either has none.
    pub fn withdraw(&mut self, retries: &mut RetryBudget, now: Duration) -> bool {
        let may = self.budget >= 1.0 && retries.withdraw(now);
        if may {
            self.budget -= 1.0;
        }
        may
    }
}
