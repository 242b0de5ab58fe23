//! The window of answers that each change of the limit is based on.

use std::time::Duration;

/// Answers after which a window may end at once: Envoy's, so that chance moves their median by some 15 % at most.
const ENOUGH: u32 = 50;

/// Answers that a window has at least, even after [`WINDOW_MAX`]: Netflix's.
const LEAST: u32 = 10;

/// How long a window waits for enough answers.
const WINDOW_MAX: Duration = Duration::from_secs(1);

/// How long a window lasts at least: Envoy's.
const SHORTEST: Duration = Duration::from_millis(100);

/// Latencies kept of a window. When there are more, every second is dropped, and from then on only every second is kept; and so on.
const KEPT_MAX: usize = 512;

#[derive(Debug, Clone)]
pub(super) struct Window {
    since: Duration,
    /// In microseconds, one of every `stride`.
    latencies_us: Vec<u32>,
    stride: u32,
    answers: u32,
    /// The requests without an answer at each answer, summed up.
    awaiting_sum: u64,
    awaiting_most: u32,
}

/// What a window has shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowStats {
    /// The median, at least 1.
    pub(super) latency_us: f64,
    /// How many requests awaited an answer, on average.
    pub(super) mean: f64,
    /// How many requests awaited an answer, at most.
    pub(super) most: u32,
}

impl WindowStats {
    pub(super) fn is_faster_than(self, other: Self) -> bool {
        self.latency_us <= other.latency_us * super::FASTER
    }
}

impl Window {
    pub(super) fn starting(now: Duration) -> Self {
        let latencies_us = Vec::with_capacity(KEPT_MAX);
        Self { since: now, latencies_us, stride: 1, answers: 0, awaiting_sum: 0, awaiting_most: 0 }
    }

    /// Adds an answer. If it ends the window, which lasts for `shortest` at least, returns what that has shown; the next one then begins.
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
        self.awaiting_most = self.awaiting_most.max(awaiting);
        if self.answers.is_multiple_of(self.stride) {
            self.keep(latency.as_micros().try_into().unwrap_or(u32::MAX));
        }
        self.answers += 1;
        let age = now.saturating_sub(self.since);
        let is_enough = self.answers >= ENOUGH || (self.answers >= LEAST && age >= WINDOW_MAX);
        (is_enough && age >= SHORTEST.max(shortest)).then(|| self.end(now))
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
        #[expect(
            clippy::cast_precision_loss,
            reason = "a mean of counts below 2^32 loses nothing that matters"
        )]
        let mean = self.awaiting_sum as f64 / f64::from(self.answers);
        let seen = WindowStats { latency_us: f64::from((*median).max(1)), mean, most: self.awaiting_most };
        self.latencies_us.clear();
        (self.since, self.stride, self.answers) = (now, 1, 0);
        (self.awaiting_sum, self.awaiting_most) = (0, 0);
        seen
    }
}
