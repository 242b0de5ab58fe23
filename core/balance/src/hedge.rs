//! Hedging: a request that takes long is sent to a second endpoint, too, and the first answer counts.
//!
//! Most of the slowest answers are slow by bad luck of one endpoint, a pause or a queue, that another does not have in that moment. Source:
//! Dean and Barroso 2013, "The Tail at Scale": a second request once the first has taken longer than 95 % do costs some 5 % more load and
//! takes most of the tail away. It must stay a small part: where all answers are slow, asking twice would double the trouble.

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

/// How long the first endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// As long as said.
    Fixed(Duration),
    /// Longer than so many percent of the latest answers took.
    Percentile(u8),
}

/// Whether a request may be sent to two endpoints at once: its method is safe, so that neither of them acts on it.
///
/// More is asked than for a retry, where the first attempt is over: of two that delete the same thing at once, one says that
/// there is none. Source: RFC 9110, section 9.2.1.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Latest latencies that a percentile is taken of: five are above the 99th.
const KEPT: usize = 512;

/// Latencies before which there is no percentile.
const KEPT_MIN: usize = 64;

/// After so many new latencies the percentile is taken anew, which costs each of them the look at 16 old ones.
const RENEWED_EVERY: usize = 32;

/// Hedges that may be saved up: a moment's bad luck is covered, a minute's is not.
const SAVED_MAX: f64 = 10.0;

/// Says when requests of one service are sent a second time.
#[derive(Debug, Clone)]
pub struct Hedger {
    policy: HedgePolicy,
    saved: f64,
    /// A ring, in microseconds; empty where the time is fixed.
    latencies_us: Vec<u32>,
    next: usize,
    delay: Option<Duration>,
}

impl Hedger {
    /// One that has seen no request yet.
    #[must_use]
    pub fn new(policy: HedgePolicy) -> Self {
        let delay = match policy.after {
            HedgeAfter::Fixed(delay) => Some(delay),
            HedgeAfter::Percentile(_) => None,
        };
        Self { policy, saved: SAVED_MAX, latencies_us: Vec::new(), next: 0, delay }
    }

    /// The policy that it follows.
    #[must_use]
    pub fn policy(&self) -> HedgePolicy {
        self.policy
    }

    /// Takes note of a request that could be sent twice, and says after what time it should; `None` while too few answers were seen.
    pub fn admit(&mut self) -> Option<Duration> {
        self.saved = (self.saved + f64::from(self.policy.budget_percent) / 100.0).min(SAVED_MAX);
        self.delay
    }

    /// Takes note of how long the head of a good answer took, from whichever endpoint.
    ///
    /// That a hedge cut some of them short does no harm: what was above the percentile stays above it. O(1), and O(n) in the kept ones
    /// for each 32nd.
    pub fn observe(&mut self, latency: Duration) {
        let HedgeAfter::Percentile(percentile) = self.policy.after else { return };
        let latency_us = latency.as_micros().try_into().unwrap_or(u32::MAX);
        if self.latencies_us.len() < KEPT {
            self.latencies_us.push(latency_us);
        } else {
            self.latencies_us[self.next] = latency_us;
        }
        self.next = (self.next + 1) % KEPT;
        if self.latencies_us.len() >= KEPT_MIN && self.next.is_multiple_of(RENEWED_EVERY) {
            let mut sorted = self.latencies_us.clone();
            let rank = (sorted.len() * usize::from(percentile) / 100).min(sorted.len() - 1);
            let (_, delay_us, _) = sorted.select_nth_unstable(rank);
            self.delay = Some(Duration::from_micros((*delay_us).into()));
        }
    }

    /// Takes a hedge from its own budget and from that of retries; `false`, and nothing is taken, when either has none.
    pub fn withdraw(&mut self, retries: &mut RetryBudget, now: Duration) -> bool {
        let may = self.saved >= 1.0 && retries.withdraw(now);
        if may {
            self.saved -= 1.0;
        }
        may
    }
}
