//! The models that compete.

use std::fmt;

/// One way to say what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// The load stays as it is: what every other has to beat.
    Persistence,
    /// The load stays as it was on average of late.
    Level,
    /// The load goes on the way it goes, less and less so.
    Trend,
    /// The load repeats itself after a period of its own, at the present level.
    Season,
    /// The same after a day.
    Day,
    /// The same after a week.
    Week,
    /// What a regression has learnt from all of these.
    Regression,
    /// All of these together, each by what it has been worth.
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
