//! Time in the core: an argument of each input, never read from a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the loop's own clock, in milliseconds.
///
/// It never goes back, neither within a run nor over a restart: it starts at the later of the wall clock and the last time in the
/// journal. It is close to Unix time, but not calendar time. All waits, windows and deadlines use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// Wall-clock time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// It may jump in either direction at any moment. It is for display and for calendars; no wait is measured with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(u64);

/// Both clocks at the time of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// For waits, windows and deadlines.
    pub time: Time,
    /// For display and calendars.
    pub wall: Wall,
}

impl Time {
    /// The start of the clock, before every input.
    pub const ZERO: Self = Self(0);

    /// The time `ms` milliseconds after the start of the clock.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the start of the clock.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to this time; zero when `earlier` is not earlier.
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Rounds down to whole milliseconds; saturates.
impl Add<Duration> for Time {
    type Output = Self;

    #[inline]
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

/// Rounds down to whole milliseconds; stops at the start of the clock.
impl Sub<Duration> for Time {
    type Output = Self;

    #[inline]
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

impl Wall {
    /// The time `ms` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to this time; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The time in UTC for who reads it at `now`, rounded up to the second: `09:00:00 UTC`, or `2026-12-01 09:00:00 UTC` on another day.
    pub fn show(self, now: Self) -> String {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let up = Self(self.0.div_ceil(1000).saturating_mul(1000));
        let form = if up.0 / DAY_MS == now.0 / DAY_MS { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" };
        let time = i64::try_from(up.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        time.map_or_else(|| "the end of the calendar".to_owned(), |time| time.strftime(form).to_string())
    }
}

/// The time of day in UTC by the loop's clock: `06:20:15.250`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        time_of_day(self.0, f)
    }
}

/// The time of day in UTC: `06:20:15.250`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        time_of_day(self.0, f)
    }
}

fn time_of_day(ms: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    write!(f, "{:02}:{:02}:{:02}.{ms:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// A span in whole milliseconds; saturates.
#[inline]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_on_another_day_is_shown_with_its_date() {
        let now = Wall::from_millis(1_795_937_829_123);
        for (ms, shown) in [
            (1_795_942_800_000, "09:00:00 UTC"),
            (1_795_942_799_001, "09:00:00 UTC"),
            (1_795_996_799_000, "23:59:59 UTC"),
            (1_795_996_799_001, "2026-11-30 00:00:00 UTC"),
            (1_795_910_399_000, "2026-11-28 23:59:59 UTC"),
            (u64::MAX, "the end of the calendar"),
        ] {
            assert_eq!(Wall::from_millis(ms).show(now), shown, "{ms}");
        }
    }
}
