//! Load shedding: how many requests of a service may await an answer at once, derived from how long answers take.
//!
//! A service that gets more requests than it can handle answers ever later, until clients give up and its work is wasted. How much it can handle
//! shows from outside: up to that point more requests at once do not slow it down, beyond it each waits for the others. So the limit follows
//! the **gradient** of latency, the best latency that the service has shown divided by the present one:
//!
//! limit ← limit × gradient + √(limit × gradient), with gradient = best × (1 + tolerance) ÷ median, between ½ and 2
//!
//! The root is headroom: without it the limit would never grow. Source: Envoy, "Adaptive Concurrency", the gradient controller
//! (`docs/root/configuration/http/http_filters/adaptive_concurrency_filter.rst`). The wide tolerance, and that a limit grows only while it is used,
//! are from Netflix (`concurrency-limits`, `Gradient2Limit`).
//!
//! Everything depends on the **best latency**, which is kept differently here. Envoy measures it anew once a minute by letting almost no
//! requests in, and so refuses requests even of healthy services. Here it is measured from what happens anyway:
//!
//! - Answers that are faster for a while are the new best.
//! - When the limit has shrunk until half as many requests are under way and answers are no faster for it, the number of requests did not slow
//!   them down: the service itself has become slower, and the present latency is the new best.
//! - While the limit is reached, so that requests are refused already, the best is also looked for on purpose: the first time, and then, if
//!   answers are slow, once in [`PROBE_INTERVAL`]. The limit is halved as long as that makes answers faster. TCP's BBR does so (`PROBE_RTT`).
//!
//! An answer counts only if its request began under the present limit; so the limit is never changed twice for one queue.

use std::num::NonZeroU32;
use std::time::Duration;

use self::window::{Window, WindowStats};

mod window;

#[cfg(test)]
mod tests;

/// The bounds of the limit, and what counts as slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptivePolicy {
    /// The limit is never below.
    pub min: NonZeroU32,
    /// The limit is never above; `min` holds where this is less.
    pub max: NonZeroU32,
    /// How far above the best latency the median may lie before the limit shrinks, in percent of the best.
    pub tolerance_percent: u32,
}

impl Default for AdaptivePolicy {
    /// Envoy's bounds and Netflix' tolerance.
    fn default() -> Self {
        let bound = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self { min: bound(3), max: bound(1000), tolerance_percent: 50 }
    }
}

/// The limit before anything was measured: Netflix'.
const FIRST: f64 = 20.0;

/// How often the best latency is probed while a service is saturated.
///
/// A probe takes a few windows of which the last has about half of the service's throughput: at most 1 % of what it does in 30 s.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Half as many requests make answers faster when these take less than three quarters of the time: midway between what is
/// expected of a queue (half) and of none (all).
const FASTER: f64 = 0.75;

/// Windows in a row whose mean may be the new best: enough that chance alone makes it no more than some percent too low.
const BEST_WINDOWS: u32 = 8;

/// Finds the limit of one service.
#[derive(Debug, Clone)]
pub struct AdaptiveLimit {
    policy: AdaptivePolicy,
    limit: f64,
    best: Option<Best>,
    /// What a descent of the limit is compared with; `None` while it does not descend.
    baseline: Option<WindowStats>,
    phase: Phase,
    window: Window,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The limit follows the gradient.
    Following,
    /// The limit is lowered to measure the best latency. These were the limit and the median before.
    Probing { limit: f64, latency_us: f64 },
}

/// The latency of the service without queueing.
#[derive(Debug, Clone, Copy)]
struct Best {
    latency_us: f64,
    /// When it was measured by lowering the limit.
    measured: Option<Duration>,
    /// The sum of medians since it was set or last lowered, and of how many windows.
    medians: (f64, u32),
}

impl AdaptiveLimit {
    /// A limit before anything was measured.
    #[must_use]
    pub fn new(policy: AdaptivePolicy, now: Duration) -> Self {
        let mut new = Self {
            policy,
            limit: 0.0,
            best: None,
            baseline: None,
            phase: Phase::Following,
            window: Window::starting(now),
        };
        new.limit = new.bounded(FIRST);
        new
    }

    /// The policy that it follows.
    #[must_use]
    pub fn policy(&self) -> AdaptivePolicy {
        self.policy
    }

    /// How many requests may await an answer now; at least 1.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.limit as u32
    }

    /// The best latency that the service has shown; `None` before the first window is over.
    #[must_use]
    pub fn best(&self) -> Option<Duration> {
        self.best.map(|best| Duration::from_secs_f64(best.latency_us / 1e6))
    }

    /// Records that an answer took `latency`, and that `awaiting` requests, including this one, awaited theirs until then.
    ///
    /// O(1), and O(n) in the at most 512 latencies of a window at its end.
    pub fn observe(&mut self, now: Duration, latency: Duration, awaiting: u32) {
        let shortest =
            self.best.map_or(Duration::ZERO, |best| Duration::from_micros(2 * best.latency_us as u64));
        if let Some(window) = self.window.add(now, latency, awaiting, shortest) {
            let next = match self.phase {
                Phase::Following => self.follow(now, window),
                Phase::Probing { limit, latency_us } => self.probe(now, window, limit / latency_us),
            };
            self.limit = self.bounded(next);
        }
    }

    /// Records a failure, or a missing answer, after `latency`.
    ///
    /// It counts only if it took long, as an answer that would have taken even longer: an instant failure must not pass for a fast answer. If it
    /// never counted, a service whose clients all give up would look as if it had no requests.
    pub fn observe_failure(&mut self, now: Duration, latency: Duration, awaiting: u32) {
        let slow = self.best.map(|best| best.latency_us * self.tolerated());
        if slow.is_some_and(|slow_us| latency.as_secs_f64() * 1e6 > slow_us) {
            self.observe(now, latency, awaiting);
        }
    }

    /// The next limit by the gradient.
    fn follow(&mut self, now: Duration, window: WindowStats) -> f64 {
        let best = self.best.get_or_insert(Best::of(window.latency_us, None));
        best.add(window.latency_us);
        let Best { latency_us, measured, .. } = *best;
        let gradient = (latency_us * self.tolerated() / window.latency_us).clamp(0.5, 2.0);
        let is_slow = gradient < 1.0;
        if !is_slow {
            self.baseline = None;
        } else if self.has_descended_without_effect(window) {
            self.best = Some(Best::of(window.latency_us, Some(now)));
            self.baseline = None;
            return self.limit;
        }
        // A best latency that was never measured on purpose may come from a time of overload.
        let is_due = measured.is_none_or(|at| is_slow && now.saturating_sub(at) >= PROBE_INTERVAL);
        if is_due && window.most >= self.get() {
            self.baseline = Some(window);
            self.phase = Phase::Probing { limit: self.limit, latency_us: window.latency_us };
            return self.limit / 2.0;
        }
        let scaled = self.limit * gradient;
        let next = scaled + scaled.sqrt();
        // A limit of which not even half is used does not show whether more would do.
        let is_used = f64::from(window.most) >= self.limit / 2.0;
        if is_used { next } else { next.min(self.limit) }
    }

    /// Whether half as many requests are answered no faster; records what the next window is compared with.
    fn has_descended_without_effect(&mut self, window: WindowStats) -> bool {
        let is_half = |baseline: WindowStats| window.mean <= baseline.mean / 2.0;
        let is_least = |baseline: WindowStats| self.is_lowest() && window.mean < baseline.mean;
        match self.baseline {
            Some(baseline) if !is_half(baseline) && !is_least(baseline) => false,
            Some(baseline) if !window.is_faster_than(baseline) => true,
            Some(_) | None => {
                self.baseline = Some(window);
                false
            }
        }
    }

    /// The next limit of a probe for the best latency, or the limit after it.
    ///
    /// `rate` is the number of answers per microsecond before. By Little's law it is sustained by as many concurrent requests as are answered at
    /// this rate within the tolerated latency.
    fn probe(&mut self, now: Duration, window: WindowStats, rate: f64) -> f64 {
        let baseline = self.baseline.unwrap_or(window);
        let is_faster = window.is_faster_than(baseline);
        if is_faster && !self.is_lowest() {
            self.baseline = Some(window);
            return self.limit / 2.0;
        }
        let least_us = window.latency_us.min(baseline.latency_us);
        // At the lowest limit even fewer requests might be faster, but cannot be tried: the best seen before may be better.
        let known_us = self.best.filter(|_| is_faster).map_or(least_us, |best| best.latency_us);
        let best_us = least_us.min(known_us);
        self.best = Some(Best::of(best_us, Some(now)));
        self.baseline = None;
        self.phase = Phase::Following;
        rate * best_us * self.tolerated()
    }

    fn is_lowest(&self) -> bool {
        self.get() <= self.policy.min.get()
    }

    /// The multiple of the best latency up to which answers do not count as slow; at least 1.
    fn tolerated(&self) -> f64 {
        1.0 + f64::from(self.policy.tolerance_percent) / 100.0
    }

    fn bounded(&self, limit: f64) -> f64 {
        limit.min(self.policy.max.get().into()).max(self.policy.min.get().into())
    }
}

impl Best {
    fn of(latency_us: f64, measured: Option<Duration>) -> Self {
        Self { latency_us, measured, medians: (0.0, 0) }
    }

    fn add(&mut self, latency_us: f64) {
        let (sum, windows) = (self.medians.0 + latency_us, self.medians.1 + 1);
        if windows < BEST_WINDOWS {
            self.medians = (sum, windows);
            return;
        }
        self.medians = (0.0, 0);
        self.latency_us = self.latency_us.min(sum / f64::from(windows));
    }
}
