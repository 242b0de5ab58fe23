//! The models that compete.

use std::fmt;

/// A way to forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// The load stays as it is: the baseline that others must beat.
    Persistence,
    /// The load returns to its recent mean.
    Level,
    /// The load goes on rising or falling as it does, more and more slowly.
    Trend,
    /// The load repeats itself after a period of its own, at the present level.
    Season,
    /// The load repeats itself after a day, at the present level.
    Day,
    /// The load repeats itself after a week, at the present level.
    Week,
    /// A regression over the inputs of all models above.
    Regression,
    /// All models above, weighted by how good each has been.
    Blend,
}

/// The number of models that forecast by themselves.
pub(crate) const POINTS: usize = 7;

impl Model {
    /// The models that forecast by themselves, each at its index.
    pub(crate) const POINTS: [Self; POINTS] =
        [Self::Persistence, Self::Level, Self::Trend, Self::Season, Self::Day, Self::Week, Self::Regression];
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Persistence => "persistence",
            Self::Level => "level",
            Self::Trend => "trend",
            Self::Season => "season",
            Self::Day => "day",
            Self::Week => "week",
            Self::Regression => "regression",
            Self::Blend => "blend",
        })
    }
}
