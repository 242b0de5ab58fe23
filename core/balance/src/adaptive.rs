//! Load shedding: a limit on the concurrent requests of a service, derived from its latency.
//!
//! The latency of an overloaded service grows until clients give up and its work is wasted. Its capacity is visible from outside: up to that
//! point more concurrent requests do not slow it down, beyond it each one waits for the others. So the limit follows the **gradient** of
//! latency, the best observed latency divided by the present one:
//!
//! limit ← limit × gradient + √(limit × gradient), with gradient = best × (1 + tolerance) ÷ median, between ½ and 2
//!
//! The root is headroom: without it the limit would never grow. Source: Envoy, "Adaptive Concurrency", the gradient controller
//! (`docs/root/configuration/http/http_filters/adaptive_concurrency_filter.rst`). The wide tolerance, and that a limit grows only while it is used,
//! are from Netflix (`concurrency-limits`, `Gradient2Limit`).
//!
//! Everything depends on the **best latency**, which is measured differently here. Envoy measures it once a minute by admitting almost no
//! requests, and so refuses requests even of healthy services. Here it mostly follows from normal operation:
//!
//! - A lower latency over some windows is the new best.
//! - If the limit has shrunk until half as many requests are in flight, and latency is no better, concurrency is not the cause: the service
//!   itself has become slower, and the present latency is the new best.
//! - Only while the limit is reached, so that requests are refused already, the best is probed: the first time, and then, if latency is high,
//!   once in [`PROBE_INTERVAL`]. The limit is halved as long as that lowers the latency. TCP's BBR does the same (`PROBE_RTT`).
//!
//! An answer counts only if its request began under the present limit, so that the limit is never changed twice for one queue.

use std::num::NonZeroU32;
use std::time::Duration;

use self::window::{Window, WindowStats};

mod window;

#[cfg(test)]
mod tests;

/// The bounds of the limit, and what counts as slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptivePolicy {
    /// The lowest limit.
    pub min: NonZeroU32,
    /// The highest limit; `min` if this is less.
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

/// The limit before the first measurement: Netflix'.
const INITIAL_LIMIT: f64 = 20.0;

/// How often the best latency is probed while a service is saturated.
///
/// A probe takes a few windows, of which the last has about half of the service's throughput: it costs at most 1 % of that of 30 s.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Consecutive windows whose mean may be the new best: enough that it is too low by a few percent at most.
const BEST_WINDOWS: u32 = 8;

/// The limit of one service.
#[derive(Debug, Clone)]
pub struct AdaptiveLimit {
    policy: AdaptivePolicy,
    limit: f64,
    best: Option<Best>,
    /// The window that a descending limit is compared with; `None` while the limit does not descend.
    baseline: Option<WindowStats>,
    phase: Phase,
    window: Window,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The limit follows the gradient.
    Following,
    /// The limit is lowered to measure the best latency; these are the limit and the median before the probe.
    Probing { limit: f64, latency_us: f64 },
}

/// The latency of the service without queueing.
#[derive(Debug, Clone, Copy)]
struct Best {
    latency_us: f64,
    /// When it was last measured by lowering the limit.
    measured: Option<Duration>,
    /// The sum of the medians since it was set or last lowered, and the number of their windows.
    medians: (f64, u32),
}

impl AdaptiveLimit {
    /// A limit before the first measurement.
    #[must_use]
    pub fn new(policy: AdaptivePolicy, now: Duration) -> Self {
        let mut new = Self {
            policy,
            limit: 0.0,
            best: None,
            baseline: None,
            phase: Phase::Following,
            window: Window::starting_at(now),
        };
        new.limit = new.bounded(INITIAL_LIMIT);
        new
    }

    /// The policy of the limit.
    #[must_use]
    pub fn policy(&self) -> AdaptivePolicy {
        self.policy
    }

    /// How many requests may be in flight now; at least 1.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.limit as u32
    }

    /// The best latency of the service; `None` before the end of the first window.
    #[must_use]
    pub fn best(&self) -> Option<Duration> {
        self.best.map(|best| Duration::from_secs_f64(best.latency_us / 1e6))
    }

    /// Records an answer after `latency`, until which `awaiting` requests were in flight, this one included.
    ///
    /// O(1); at the end of a window O(n) in its latencies, of which at most 512 are kept.
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
    /// A slow failure counts as an answer with at least that latency; a fast one is ignored, because it is not a fast answer. If no failure
    /// counted, a service whose clients all give up would look idle.
    pub fn observe_failure(&mut self, now: Duration, latency: Duration, awaiting: u32) {
        let slow_us = self.best.map(|best| best.latency_us * self.tolerated_factor());
        if slow_us.is_some_and(|slow_us| latency.as_secs_f64() * 1e6 > slow_us) {
            self.observe(now, latency, awaiting);
        }
    }

    /// The next limit by the gradient.
    fn follow(&mut self, now: Duration, window: WindowStats) -> f64 {
        let best = self.best.get_or_insert(Best::of(window.latency_us, None));
        best.add(window.latency_us);
        let Best { latency_us, measured, .. } = *best;
        let gradient = (latency_us * self.tolerated_factor() / window.latency_us).clamp(0.5, 2.0);
        let is_slow = gradient < 1.0;
        if !is_slow {
            self.baseline = None;
        } else if self.has_descended_without_effect(window) {
            self.best = Some(Best::of(window.latency_us, Some(now)));
            self.baseline = None;
            return self.limit;
        }
        // A best latency that was never probed may come from a time of overload.
        let is_due = measured.is_none_or(|at| is_slow && now.saturating_sub(at) >= PROBE_INTERVAL);
        if is_due && window.awaiting_max >= self.get() {
            self.baseline = Some(window);
            self.phase = Phase::Probing { limit: self.limit, latency_us: window.latency_us };
            return self.limit / 2.0;
        }
        let scaled = self.limit * gradient;
        let next = scaled + scaled.sqrt();
        // A limit that is used by less than half gives no evidence for a higher one.
        let is_used = f64::from(window.awaiting_max) >= self.limit / 2.0;
        if is_used { next } else { next.min(self.limit) }
    }

    /// Whether half as many requests have no lower latency. Otherwise updates the baseline.
    fn has_descended_without_effect(&mut self, window: WindowStats) -> bool {
        let is_half = |baseline: WindowStats| window.awaiting_mean <= baseline.awaiting_mean / 2.0;
        let is_less_at_lowest_limit =
            |baseline: WindowStats| self.is_lowest() && window.awaiting_mean < baseline.awaiting_mean;
        match self.baseline {
            Some(baseline) if !is_half(baseline) && !is_less_at_lowest_limit(baseline) => false,
            Some(baseline) if !window.is_faster_than(baseline) => true,
            Some(_) | None => {
                self.baseline = Some(window);
                false
            }
        }
    }

    /// The next limit of a probe for the best latency, or the limit after the probe.
    ///
    /// `rate` is the number of answers per microsecond before the probe. By Little's law, sustaining it takes rate × latency concurrent requests.
    fn probe(&mut self, now: Duration, window: WindowStats, rate: f64) -> f64 {
        let baseline = self.baseline.unwrap_or(window);
        let is_faster = window.is_faster_than(baseline);
        if is_faster && !self.is_lowest() {
            self.baseline = Some(window);
            return self.limit / 2.0;
        }
        let least_us = window.latency_us.min(baseline.latency_us);
        // At the lowest limit even fewer requests might be faster, but cannot be tried: the former best may be lower.
        let known_us = self.best.filter(|_| is_faster).map_or(least_us, |best| best.latency_us);
        let best_us = least_us.min(known_us);
        self.best = Some(Best::of(best_us, Some(now)));
        self.baseline = None;
        self.phase = Phase::Following;
        rate * best_us * self.tolerated_factor()
    }

    fn is_lowest(&self) -> bool {
        self.get() <= self.policy.min.get()
    }

    /// The multiple of the best latency up to which latency is not high; at least 1.
    fn tolerated_factor(&self) -> f64 {
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
