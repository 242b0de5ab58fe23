//! From recorded load to a profile: how values are interpreted, and how time and rate are scaled.

use std::time::Duration;

use thiserror::Error;

use crate::profile::{Line, Profile, ProfileError};
use crate::rate::{Factor, Rate, RateError};
use crate::trace::{Row, Trace, between};

/// How a trace is replayed.
///
/// By default values are requests per interval, in real time and unscaled, with linear interpolation between
/// rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// What the values count.
    pub reading: Reading,
    /// The time that each value covers, which is also how long the last row lasts; `None` takes it from the rows ([`Trace::interval`]).
    pub interval: Option<Duration>,
    /// What lies between the rows.
    pub shape: Shape,
    /// How much faster than recorded the trace is replayed. The *rate* does not change with it: at 60, a minute of the
    /// trace lasts a second and sends a sixtieth of its requests, at the recorded requests per second.
    pub speed: Factor,
    /// How the recorded rate is scaled.
    pub scale: Scale,
}

/// What the values of a trace count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Requests in the interval that begins at the row: rate = value / interval.
    Count,
    /// Requests per second already, the mean of the interval.
    Rate,
}

/// What lies between two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// A straight line from rate to rate: no jumps that the recording did not have. A run's total may differ
    /// from the trace's by up to half of the first and the last row's. The last row holds for its interval.
    #[default]
    Linear,
    /// Each rate until the next row: exactly the recorded count in each interval.
    Hold,
}

/// How the recorded rate is scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// The recorded rate times a factor.
    By(Factor),
    /// The factor that makes this the highest rate.
    PeakAt(Rate),
}

/// Why a trace cannot be replayed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ReplayError {
    /// One row, and no interval given.
    #[error(
        "the trace has a single row, so its interval is not known; give the interval that the value covers"
    )]
    NoInterval,
    /// The interval is zero.
    #[error("the interval that the values cover is zero; give one longer than zero")]
    ZeroInterval,
    /// Every value is zero, but a peak was requested.
    #[error("every value of the trace is zero, so no factor brings its peak to {} requests per second", .peak.get())]
    NothingToScale {
        /// The requested peak.
        peak: Rate,
    },
    /// A rate is too high.
    #[error("at {at} the load is more than can be sent; lower its scale or check what its values count")]
    Rate {
        /// The time of the row.
        at: jiff::Timestamp,
        /// Why.
        source: RateError,
    },
    /// It lasts too long.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            reading: Reading::Count,
            interval: None,
            shape: Shape::default(),
            speed: Factor::ONE,
            scale: Scale::By(Factor::ONE),
        }
    }
}

impl Replay {
    /// Returns the profile of the replayed `trace`.
    pub fn profile_of(&self, trace: &Trace) -> Result<Profile, ReplayError> {
        let rows = trace.rows();
        let interval = self.interval.or_else(|| trace.interval()).ok_or(ReplayError::NoInterval)?;
        if interval.is_zero() {
            return Err(ReplayError::ZeroInterval);
        }
        let per_second = match self.reading {
            Reading::Count => 1.0 / interval.as_secs_f64(),
            Reading::Rate => 1.0,
        };
        let times = per_second * self.factor_for(rows, per_second)?;
        let rate_of = |row: &Row| {
            Rate::per_second(row.value * times).map_err(|source| ReplayError::Rate { at: row.at, source })
        };
        let rates = rows.iter().map(rate_of).collect::<Result<Vec<Rate>, _>>()?;
        let lines = rates.iter().enumerate().map(|(index, &from)| {
            let lasts = rows.get(index + 1).map_or(interval, |next| between(&rows[index], next));
            let to = match self.shape {
                Shape::Linear => rates.get(index + 1).copied().unwrap_or(from),
                Shape::Hold => from,
            };
            Line { seconds: lasts.as_secs_f64() / self.speed.get(), from, to }
        });
        Ok(Profile::of_lines(lines)?)
    }

    /// Returns the number to multiply recorded rates by.
    fn factor_for(&self, rows: &[Row], per_second: f64) -> Result<f64, ReplayError> {
        match self.scale {
            Scale::By(factor) => Ok(factor.get()),
            Scale::PeakAt(peak) => {
                let highest = rows.iter().map(|row| row.value * per_second).fold(0.0, f64::max);
                if highest > 0.0 {
                    Ok(peak.get() / highest)
                } else {
                    Err(ReplayError::NothingToScale { peak })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::Arrivals;

    fn trace(text: &str) -> Trace {
        Trace::read(text.as_bytes(), "t.csv").unwrap()
    }

    fn factor(value: f64) -> Factor {
        Factor::new(value).unwrap()
    }

    fn rates(profile: &Profile, at_seconds: &[f64]) -> Vec<f64> {
        at_seconds.iter().map(|at| profile.rate_at(Duration::from_secs_f64(*at)).get()).collect()
    }

    #[test]
    fn a_count_is_divided_by_its_interval_and_a_rate_is_not() {
        let minutes = trace("0,600\n60,1200\n");
        let counts = Replay::default().profile_of(&minutes).unwrap();
        assert_eq!(rates(&counts, &[0.0, 30.0, 60.0, 90.0]), [10.0, 15.0, 20.0, 20.0]);
        let already = Replay { reading: Reading::Rate, ..Replay::default() }.profile_of(&minutes).unwrap();
        assert_eq!(rates(&already, &[0.0, 60.0]), [600.0, 1200.0]);
    }

    #[test]
    fn a_given_interval_is_how_long_the_last_row_lasts() {
        for (reading, rate) in [(Reading::Count, 1.0), (Reading::Rate, 5.0)] {
            let replay = Replay { reading, interval: Some(Duration::from_secs(5)), ..Replay::default() };
            let profile = replay.profile_of(&trace("0,5\n")).unwrap();
            assert_eq!(
                (profile.duration(), rates(&profile, &[0.0, 4.0])),
                (Duration::from_secs(5), vec![rate; 2])
            );
            let profile = replay.profile_of(&trace("0,5\n60,5\n")).unwrap();
            assert_eq!(profile.duration(), Duration::from_secs(65));
        }
    }

    #[test]
    fn speed_shortens_the_time_and_leaves_the_rate() {
        let replay = Replay { speed: factor(60.0), ..Replay::default() };
        let profile = replay.profile_of(&trace("0,600\n60,1200\n")).unwrap();
        assert_eq!(profile.duration(), Duration::from_secs(2));
        assert_eq!(rates(&profile, &[0.0, 0.5, 1.0]), [10.0, 15.0, 20.0]);
    }

    #[test]
    fn held_rows_send_exactly_what_was_counted() {
        let recorded = trace("0,7\n60,0\n120,31\n180,2\n");
        let profile = Replay { shape: Shape::Hold, ..Replay::default() }.profile_of(&recorded).unwrap();
        let times: Vec<f64> = profile.schedule(Arrivals::Even).map(|at| at.as_secs_f64()).collect();
        let in_minute = |minute: f64| times.iter().filter(|at| (**at / 60.0).floor() == minute).count();
        assert_eq!([in_minute(0.0), in_minute(1.0), in_minute(2.0), in_minute(3.0)], [7, 0, 31, 2]);
    }

    #[test]
    fn a_requested_peak_is_reached() {
        let peak = Rate::per_second(250.0).unwrap();
        let replay = Replay { scale: Scale::PeakAt(peak), ..Replay::default() };
        assert!((replay.profile_of(&trace("0,1\n60,8\n120,4\n")).unwrap().peak().get() - 250.0).abs() < 1e-9);
        let silence = replay.profile_of(&trace("0,0\n60,0\n"));
        assert_eq!(silence, Err(ReplayError::NothingToScale { peak }));
    }

    #[test]
    fn an_impossible_replay_fails_with_its_cause() {
        let one_row = trace("0,5\n");
        assert_eq!(Replay::default().profile_of(&one_row), Err(ReplayError::NoInterval));
        let interval = Some(Duration::ZERO);
        assert_eq!(
            Replay { interval, ..Replay::default() }.profile_of(&one_row),
            Err(ReplayError::ZeroInterval)
        );
        let too_high = Replay::default().profile_of(&trace("0,1\n1,9e9\n"));
        assert!(matches!(too_high, Err(ReplayError::Rate { .. })), "{too_high:?}");
        let too_long = Replay::default().profile_of(&trace("0,1\n4000000000,1\n"));
        assert!(matches!(too_long, Err(ReplayError::Profile(ProfileError::TooLong { .. }))), "{too_long:?}");
    }

    proptest! {
        #[test]
        fn held_rows_keep_the_total_at_any_speed_and_scale(
            counts in prop::collection::vec(0_u32..500, 1..40), speed in 0.1..100.0_f64, scale in 0.1..100.0_f64,
        ) {
            let text: String = counts.iter().enumerate().map(|(n, count)| format!("{},{count}\n", n * 60)).collect();
            let replay = Replay {
                reading: Reading::Count, interval: Some(Duration::from_secs(60)),
                shape: Shape::Hold, speed: factor(speed), scale: Scale::By(factor(scale)),
            };
            let profile = replay.profile_of(&trace(&text)).unwrap();
            let recorded = f64::from(counts.iter().sum::<u32>());
            let expected = recorded * scale / speed;
            prop_assert!((profile.requests() - expected).abs() <= 1e-6 * (1.0 + expected));
        }
    }
}
