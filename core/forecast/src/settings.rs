//! The settings of a forecaster: step, horizons and quantiles.

use std::time::Duration;

use thiserror::Error;

/// Most horizons of one forecaster.
///
/// 4: the start time of a replica, and those that people look at. Each costs about a microsecond a step.
pub const HORIZONS_MAX: usize = 4;

/// Most quantiles of one forecaster.
///
/// 7: six from which a distribution is interpolated, and the one that sizes the service. Each costs a quantile of every model, with both
/// kinds of band, at each horizon and step.
pub const LEVELS_MAX: usize = 7;

/// Most steps that a horizon may lie ahead.
///
/// 512: forecasts are kept until they can be scored, at 944 bytes a step.
pub const AHEAD_MAX: usize = 512;

/// Steps of load in the history.
///
/// 16,384 = eleven days of minutes, which show a week, or eight weeks of five minutes; 80 KiB.
pub const HISTORY_STEPS: usize = 16_384;

/// The time for which the load is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// The mean load of the step that lies so many steps ahead; at least 1.
    At(usize),
    /// The highest load of the next so many steps; at least 1. A service has to be sized for it when a start takes that long.
    PeakWithin(usize),
}

impl Horizon {
    /// After how many steps the outcome is known.
    #[must_use]
    pub fn steps(self) -> usize {
        match self {
            Self::At(steps) | Self::PeakWithin(steps) => steps,
        }
    }

    /// The steps ahead that it covers.
    #[must_use]
    pub fn range(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::At(steps) => steps..=steps,
            Self::PeakWithin(steps) => 1..=steps,
        }
    }
}

/// The step, the horizons and the quantiles of a [`Forecaster`](crate::Forecaster).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    step: Duration,
    horizons: Vec<Horizon>,
    levels: Vec<f64>,
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SettingsError {
    /// Shorter than a second, or longer than an hour.
    #[error("a step of {0:?} cannot be forecast with; use one between a second and an hour")]
    Step(Duration),
    /// None or too many, or one that is not 1 to [`AHEAD_MAX`] steps ahead.
    #[error(
        "a forecaster takes one to {HORIZONS_MAX} horizons of 1 to {AHEAD_MAX} steps; take a longer step to look further"
    )]
    Horizons,
    /// None or too many, not between 0 and 1, or not in ascending order.
    #[error("a forecaster takes one to {LEVELS_MAX} quantiles in ascending order, each above 0 and below 1")]
    Levels,
}

impl Settings {
    /// Forecasts of the load in steps of `step`, at each of `horizons`, at the quantiles `levels` (0.95: exceeded once in twenty), in ascending
    /// order.
    ///
    /// # Errors
    ///
    /// When the step, a horizon or a level is out of its range, or there are too many of them.
    pub fn new(step: Duration, horizons: &[Horizon], levels: &[f64]) -> Result<Self, SettingsError> {
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&step) {
            return Err(SettingsError::Step(step));
        }
        let is_near = |horizon: &Horizon| (1..=AHEAD_MAX).contains(&horizon.steps());
        if !(1..=HORIZONS_MAX).contains(&horizons.len()) || !horizons.iter().all(is_near) {
            return Err(SettingsError::Horizons);
        }
        let is_level = |level: &f64| *level > 0.0 && *level < 1.0;
        let is_in_range = (1..=LEVELS_MAX).contains(&levels.len()) && levels.iter().all(is_level);
        if !is_in_range || !levels.is_sorted() {
            return Err(SettingsError::Levels);
        }
        Ok(Self { step, horizons: horizons.to_vec(), levels: levels.to_vec() })
    }

    /// How long a step is.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.step
    }

    /// The length of a step in milliseconds, at least 1.
    pub(crate) fn step_ms(&self) -> u64 {
        u64::try_from(self.step.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// The times for which the load is forecast.
    #[must_use]
    pub fn horizons(&self) -> &[Horizon] {
        &self.horizons
    }

    /// The levels of the quantiles.
    #[must_use]
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// How many whole steps `span` is, at least 1.
    pub(crate) fn steps_in(&self, span: Duration) -> usize {
        let steps = (span.as_millis() / self.step.as_millis().max(1)).max(1);
        usize::try_from(steps).unwrap_or(usize::MAX)
    }
}
