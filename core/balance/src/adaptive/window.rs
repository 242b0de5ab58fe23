//! Windows of answers, on which each change of the limit is based.

use std::time::Duration;

/// Answers after which a window ends: Envoy's number, whose median has a sampling error of some 15 % at most.
const ANSWERS_ENOUGH: u32 = 50;

/// Answers after which a window ends when it is older than [`WINDOW_MAX`]: Netflix's number.
const ANSWERS_MIN: u32 = 10;

/// How long a window waits for [`ANSWERS_ENOUGH`].
const WINDOW_MAX: Duration = Duration::from_secs(1);

/// The shortest window: Envoy's.
const WINDOW_MIN: Duration = Duration::from_millis(100);

/// The maximum of latencies that a window keeps. When it is reached, every second one is dropped, and the sampling stride is doubled.
const KEPT_MAX: usize = 512;

/// The share of the former latency up to which half as many requests count as faster: midway between the expectation with a queue (half)
/// and without one (all).
const FASTER_SHARE: f64 = 0.75;

#[derive(Debug, Clone)]
pub(super) struct Window {
    since: Duration,
    /// In microseconds, every `stride`-th one.
    latencies_us: Vec<u32>,
    stride: u32,
    answers: u32,
    /// Σ over answers of the requests in flight.
    awaiting_sum: u64,
    awaiting_max: u32,
}

/// The statistics of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowStats {
    /// The median latency, at least 1.
    pub(super) latency_us: f64,
    /// The mean of the requests in flight.
    pub(super) awaiting_mean: f64,
    /// The maximum of the requests in flight.
    pub(super) awaiting_max: u32,
}

impl WindowStats {
    pub(super) fn is_faster_than(self, other: Self) -> bool {
        self.latency_us <= other.latency_us * FASTER_SHARE
    }
}

impl Window {
    pub(super) fn starting_at(now: Duration) -> Self {
        let latencies_us = Vec::with_capacity(KEPT_MAX);
        Self { since: now, latencies_us, stride: 1, answers: 0, awaiting_sum: 0, awaiting_max: 0 }
    }

    /// Adds an answer. If it ends the window, returns the statistics and begins the next window. A window lasts for `shortest` at least.
    pub(super) fn add(
        &mut self,
        now: Duration,
        latency: Duration,
        awaiting: u32,
        shortest: Duration,
    ) -> Option<WindowStats> {
        if now.saturating_sub(latency) < self.since {
            return None;
        }
        self.awaiting_sum += u64::from(awaiting);
        self.awaiting_max = self.awaiting_max.max(awaiting);
        if self.answers.is_multiple_of(self.stride) {
            self.keep(latency.as_micros().try_into().unwrap_or(u32::MAX));
        }
        self.answers += 1;
        let age = now.saturating_sub(self.since);
        let is_enough = self.answers >= ANSWERS_ENOUGH || (self.answers >= ANSWERS_MIN && age >= WINDOW_MAX);
        (is_enough && age >= WINDOW_MIN.max(shortest)).then(|| self.end(now))
    }

    fn keep(&mut self, latency_us: u32) {
        if self.latencies_us.len() == KEPT_MAX {
            let mut is_kept = false;
            self.latencies_us.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.stride = self.stride.saturating_mul(2);
        }
        self.latencies_us.push(latency_us);
    }

    fn end(&mut self, now: Duration) -> WindowStats {
        let middle = self.latencies_us.len() / 2;
        let (_, median, _) = self.latencies_us.select_nth_unstable(middle);
        #[expect(clippy::cast_precision_loss, reason = "a mean of counts below 2^32 is precise enough")]
        let awaiting_mean = self.awaiting_sum as f64 / f64::from(self.answers);
        let latency_us = f64::from((*median).max(1));
        let stats = WindowStats { latency_us, awaiting_mean, awaiting_max: self.awaiting_max };
        self.latencies_us.clear();
        (self.since, self.stride, self.answers) = (now, 1, 0);
        (self.awaiting_sum, self.awaiting_max) = (0, 0);
        stats
    }
}
