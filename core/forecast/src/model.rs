//! The models that compete.

use std::fmt;

/// A way to forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// The load stays as it is: the one to beat.
    Persistence,
    /// The load returns to its recent mean.
    Level,
    /// The load goes on as it rises or falls, less and less so.
    Trend,
    /// The load repeats itself after a period of its own, at the present level.
    Season,
    /// The same after a day.
    Day,
    /// The same after a week.
    Week,
    /// A regression over all of these.
    Regression,
    /// All of these, weighted by how good each has been.
    Blend,
}

/// Those that forecast by themselves.
pub(crate) const POINTS: usize = 7;

impl Model {
    /// Those that forecast by themselves, each at its place.
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
