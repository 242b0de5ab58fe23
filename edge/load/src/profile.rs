//! The shape of a load: a rate for each moment of a run.

use std::time::Duration;

use thiserror::Error;

use crate::rate::Rate;
use crate::schedule::{Arrivals, Schedule, Segment};

/// A rate for each moment from the start of a run to its end, made of straight lines.
///
/// Every shape of a load becomes a profile, so that there is one way to turn it into send times
/// ([`Profile::schedule`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Never empty, in order of time, without holes.
    segments: Vec<Segment>,
}

/// Why a shape is not a [`Profile`]. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// All durations were zero, or there were none.
    #[error("a load needs a duration longer than zero")]
    Empty,
    /// Longer than [`Profile::DURATION_MAX`].
    #[error("a load lasts at most {} hours; this one would last {} hours: raise its speed or take a part of it",
        Profile::DURATION_MAX.as_secs() / 3600, .seconds / 3600)]
    TooLong {
        /// How long it would last.
        seconds: u64,
    },
}

/// One level of a staircase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The rate while it lasts.
    pub rate: Rate,
    /// How long it lasts; zero leaves it out.
    pub hold: Duration,
}

/// A flash sale: quiet, a steep rise, a plateau, a fall, and quiet again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlashSale {
    /// The rate before and after.
    pub base: Rate,
    /// The rate of the plateau.
    pub peak: Rate,
    /// How long `base` lasts before the rise.
    pub lead: Duration,
    /// How long the rise from `base` to `peak` takes; zero is a jump.
    pub rise: Duration,
    /// How long `peak` lasts.
    pub hold: Duration,
    /// How long the fall from `peak` to `base` takes; zero is a jump.
    pub fall: Duration,
    /// How long `base` lasts after the fall.
    pub tail: Duration,
}

impl Profile {
    /// The longest run.
    ///
    /// 31 days: a month of a recorded trace in real time. It bounds the sums of the schedule, which stay exact
    /// to a microsecond there (10⁶ requests/s × 2.7·10⁶ s < 2⁵³ / 1000).
    pub const DURATION_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

    /// Returns one rate that lasts for `duration`.
    pub fn constant(rate: Rate, duration: Duration) -> Result<Self, ProfileError> {
        Self::steps(&[Step { rate, hold: duration }])
    }

    /// Returns a staircase: each step after the one before it.
    pub fn steps(steps: &[Step]) -> Result<Self, ProfileError> {
        Self::of_lines(steps.iter().map(|step| Line {
            seconds: step.hold.as_secs_f64(),
            from: step.rate,
            to: step.rate,
        }))
    }

    /// Returns the shape of a flash sale.
    pub fn flash_sale(shape: &FlashSale) -> Result<Self, ProfileError> {
        let FlashSale { base, peak, lead, rise, hold, fall, tail } = *shape;
        let lines = [
            (lead, base, base),
            (rise, base, peak),
            (hold, peak, peak),
            (fall, peak, base),
            (tail, base, base),
        ];
        Self::of_lines(lines.into_iter().map(|(lasts, from, to)| Line {
            seconds: lasts.as_secs_f64(),
            from,
            to,
        }))
    }

    /// Returns the profile made of `lines`, one after the other; those of no duration are left out.
    pub(crate) fn of_lines(lines: impl IntoIterator<Item = Line>) -> Result<Self, ProfileError> {
        let mut segments = Vec::new();
        let (mut starts_at, mut requests_before) = (0.0, 0.0);
        for Line { seconds, from, to } in lines {
            if seconds > 0.0 {
                let segment = Segment { starts_at, seconds, requests_before, from: from.get(), to: to.get() };
                starts_at += seconds;
                requests_before += segment.requests();
                segments.push(segment);
            }
        }
        if segments.is_empty() {
            return Err(ProfileError::Empty);
        }
        if starts_at > Self::DURATION_MAX.as_secs_f64() {
            return Err(ProfileError::TooLong { seconds: starts_at as u64 });
        }
        Ok(Self { segments })
    }

    /// Returns how long it lasts.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.segments.last().map_or(0.0, |last| last.starts_at + last.seconds))
    }

    /// Returns how many requests are due in all; a fraction is possible.
    #[must_use]
    pub fn requests(&self) -> f64 {
        self.segments.last().map_or(0.0, |last| last.requests_before + last.requests())
    }

    /// Returns the highest rate that it reaches.
    #[must_use]
    pub fn peak(&self) -> Rate {
        let highest = self.segments.iter().map(|segment| segment.from.max(segment.to)).fold(0.0, f64::max);
        Rate::per_second(highest).unwrap_or(Rate::MAX)
    }

    /// Returns the rate at a moment of the run; zero after its end.
    #[must_use]
    pub fn rate_at(&self, since_start: Duration) -> Rate {
        let seconds = since_start.as_secs_f64();
        let after = self.segments.partition_point(|segment| segment.starts_at <= seconds);
        let Some(segment) = after.checked_sub(1).and_then(|index| self.segments.get(index)) else {
            return Rate::ZERO;
        };
        let share = (seconds - segment.starts_at) / segment.seconds;
        if share > 1.0 {
            return Rate::ZERO;
        }
        Rate::per_second(segment.from + (segment.to - segment.from) * share).unwrap_or(Rate::ZERO)
    }

    /// Returns the times to send at, from the first to the last.
    #[must_use]
    pub fn schedule(&self, arrivals: Arrivals) -> Schedule<'_> {
        Schedule::new(&self.segments, arrivals)
    }
}

/// A linear piece of the rate, before its start is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// How long it lasts, in seconds.
    pub(crate) seconds: f64,
    /// The rate at its beginning.
    pub(crate) from: Rate,
    /// The rate at its end.
    pub(crate) to: Rate,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(value: f64) -> Rate {
        Rate::per_second(value).expect("a rate of the test")
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn sale() -> FlashSale {
        FlashSale {
            base: rate(20.0),
            peak: rate(250.0),
            lead: 10 * SECOND,
            rise: 5 * SECOND,
            hold: 30 * SECOND,
            fall: 5 * SECOND,
            tail: 20 * SECOND,
        }
    }

    #[test]
    fn a_flash_sale_rises_holds_and_falls() {
        let profile = Profile::flash_sale(&sale()).unwrap();
        let at = |seconds: f64| profile.rate_at(Duration::from_secs_f64(seconds)).get();
        assert_eq!(
            [at(0.0), at(9.9), at(12.5), at(15.0), at(44.0), at(47.5), at(60.0)],
            [20.0, 20.0, 135.0, 250.0, 250.0, 135.0, 20.0]
        );
        assert_eq!(profile.duration(), 70 * SECOND);
        assert_eq!(profile.peak(), rate(250.0));
        assert!((profile.requests() - (30.0 * 20.0 + 10.0 * 135.0 + 30.0 * 250.0)).abs() < 1e-6);
    }

    #[test]
    fn a_rise_of_no_duration_is_a_jump() {
        let profile = Profile::flash_sale(&FlashSale { rise: Duration::ZERO, ..sale() }).unwrap();
        assert_eq!(profile.rate_at(10 * SECOND), rate(250.0));
    }

    #[test]
    fn after_its_end_the_rate_is_zero() {
        let profile = Profile::constant(rate(5.0), SECOND).unwrap();
        assert_eq!(profile.rate_at(2 * SECOND), Rate::ZERO);
    }

    #[test]
    fn a_load_of_no_duration_or_without_end_is_refused() {
        assert_eq!(Profile::steps(&[]), Err(ProfileError::Empty));
        assert_eq!(Profile::constant(rate(5.0), Duration::ZERO), Err(ProfileError::Empty));
        let endless = Profile::constant(rate(5.0), Duration::MAX);
        assert!(matches!(endless, Err(ProfileError::TooLong { .. })), "{endless:?}");
    }
}
