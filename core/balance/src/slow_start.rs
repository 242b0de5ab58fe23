//! Slow start: the weight of an endpoint that has just become ready grows to its full value.
//!
//! A program that was just started has cold caches, empty pools and code that is not compiled yet; its full share at once would make its
//! first requests slow or overload it.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// The time in which an endpoint reaches its full weight.
///
/// weight = declared weight × max(10 %, time since it became ready ÷ window). Source: Envoy, "Slow start mode", with its defaults:
/// `min_weight_percent` 10 and `aggression` 1, which makes the growth linear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlowStart {
    window: Duration,
}

impl SlowStart {
    /// No slow start: every endpoint has its full weight at once.
    pub const OFF: Self = Self { window: Duration::ZERO };

    /// A slow start that lasts for `window`; none if that is zero.
    #[must_use]
    pub const fn over(window: Duration) -> Self {
        Self { window }
    }

    /// The ramp of an endpoint that became ready at `since`.
    #[must_use]
    pub fn ramp(self, since: Duration, now: Duration) -> Ramp {
        let age = now.saturating_sub(since);
        if age >= self.window {
            return Ramp::FULL;
        }
        // Below 100, because the age is below the window.
        let percent = (age.as_nanos() * 100 / self.window.as_nanos()) as u8;
        Ramp((percent - percent % Ramp::STEP_PERCENT).max(Ramp::FLOOR.0))
    }

    /// When the ramp of an endpoint that became ready at `since` grows next; `None` once it is full.
    #[must_use]
    pub fn next_step(self, since: Duration, now: Duration) -> Option<Duration> {
        let ramp = self.ramp(since, now);
        if ramp == Ramp::FULL {
            return None;
        }
        let percent = u128::from(ramp.0 + Ramp::STEP_PERCENT);
        // Rounded up, so that the ramp has grown at that time.
        let nanos = (self.window.as_nanos() * percent).div_ceil(100);
        Some(since.saturating_add(Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))))
    }
}

/// The effective part of an endpoint's weight, in percent: 10 to 100, in steps of 5.
///
/// Each step costs a new [`EndpointSet`](crate::EndpointSet); 18 steps are fine enough for a window of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ramp(u8);

impl Default for Ramp {
    fn default() -> Self {
        Self::FULL
    }
}

impl Ramp {
    /// The ramp at the beginning of a slow start.
    pub const FLOOR: Self = Self(10);
    /// The full weight.
    pub const FULL: Self = Self(100);
    const STEP_PERCENT: u8 = 5;

    /// The ramp in percent.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }
}
