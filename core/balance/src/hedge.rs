//! Hedging: a slow request is also sent to a second endpoint, and the first answer is used.
//!
//! Most of the slowest answers have a cause that only one endpoint has at that moment, such as a pause or a queue. Source: Dean and Barroso
//! 2013, "The Tail at Scale": a second request once the first has taken longer than 95 % of all costs some 5 % more load and removes most
//! of the tail. Hedges are limited to a small share, because they would only double the load where all answers are slow.

use std::time::Duration;

use crate::retry::RetryBudget;

#[cfg(test)]
mod tests;

/// When requests are hedged, and how many may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HedgePolicy {
    /// How long to wait for the first endpoint's response head before the request is also sent to a second one.
    pub after: HedgeAfter,
    /// The maximum share of requests that are hedged, in percent.
    pub budget_percent: u8,
}

/// How long to wait for the first endpoint's response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// A fixed time.
    Fixed(Duration),
    /// This percentile of recent latencies.
    Percentile(u8),
}

/// Whether a request may be sent to two endpoints at once: its method must be safe.
///
/// This is stricter than for a retry, which follows a finished attempt: of two concurrent requests to delete the same thing, one gets a 404.
/// Source: RFC 9110, section 9.2.1.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// The number of recent latencies that the percentile is computed from: five of them are above the 99th.
const LATENCIES_MAX: usize = 512;

/// The number of latencies that a percentile needs.
const LATENCIES_MIN: usize = 64;

/// The number of new latencies after which the percentile is computed again: each one costs a pass over 16 kept ones.
const UPDATE_INTERVAL: usize = 32;

/// The most hedges that can be saved up: enough for a short disturbance, not for a long one.
const BUDGET_MAX: f64 = 10.0;

/// Decides when requests of one service are hedged.
#[derive(Debug, Clone)]
pub struct Hedger {
    policy: HedgePolicy,
    budget: f64,
    /// A ring buffer, in microseconds; empty if the time is fixed.
    latencies_us: Vec<u32>,
    next: usize,
    delay: Option<Duration>,
}

impl Hedger {
    /// A hedger before its first request.
    #[must_use]
    pub fn new(policy: HedgePolicy) -> Self {
        let delay = match policy.after {
            HedgeAfter::Fixed(delay) => Some(delay),
            HedgeAfter::Percentile(_) => None,
        };
        Self { policy, budget: BUDGET_MAX, latencies_us: Vec::new(), next: 0, delay }
    }

    /// The policy of the hedger.
    #[must_use]
    pub fn policy(&self) -> HedgePolicy {
        self.policy
    }

    /// Records a request that may be hedged; returns the time after which it should be. `None` while too few latencies are known.
    pub fn admit(&mut self) -> Option<Duration> {
        self.budget = (self.budget + f64::from(self.policy.budget_percent) / 100.0).min(BUDGET_MAX);
        self.delay
    }

    /// Records the latency of a successful response's head, from whichever endpoint.
    ///
    /// Hedges shorten some latencies, but not to below the percentile, so that it stays the same. O(1); O(n) in the kept latencies for each
    /// 32nd call.
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

    /// Takes a hedge from its own budget and a retry from theirs; returns `false` and takes nothing if either budget is spent.
    pub fn withdraw(&mut self, retries: &mut RetryBudget, now: Duration) -> bool {
        let is_allowed = self.budget >= 1.0 && retries.withdraw(now);
        if is_allowed {
            self.budget -= 1.0;
        }
        is_allowed
    }
}
