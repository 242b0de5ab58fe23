//! How far the load of a service rises while a replica starts.

use std::time::Duration;

use crate::histogram::DecayingHistogram;
use crate::quantity::Milli;
use crate::time::Time;

/// The interval of recorded loads: the largest load of each is kept.
pub const RISE_STEP: Duration = Duration::from_secs(5);

/// Most steps over which a rise is measured: five minutes, longer than most programs take to start.
pub const RISE_STEPS_MAX: usize = 60;

/// How far the load rises while a replica starts.
///
/// Bounded: [`RISE_STEPS_MAX`] + 2 peaks, and two histograms of at most 176 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RiseMemory {
    /// How long a replica takes from its start until it serves: the slowest recent start; zero before the first.
    pub start: Duration,
    /// When `start` was last updated.
    pub start_at: Time,
    /// The largest loads of the latest steps, oldest first.
    pub peaks: Vec<LoadPeak>,
    /// Rises of the load within the time of a start, in thousandths of the load before.
    pub rises: DecayingHistogram,
    /// Excess of the largest load of a minute over the mean of that minute, in thousandths of the mean.
    pub bursts: DecayingHistogram,
    /// The number of observations in `rises`, including those without a rise.
    pub observed: u64,
    /// How much of the error budget was spent recently.
    pub error_budget: ErrorBudgetMemory,
}

/// Recent requests, and those that arrived while the service lacked capacity: decaying sums, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ErrorBudgetMemory {
    /// When the sums were last updated.
    pub at: Time,
    /// Requests that arrived.
    pub requests: u64,
    /// Those that missed the SLO; at most `requests`.
    pub late: u64,
}

/// The largest load of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadPeak {
    /// The number of the step, counted from the start of the clock.
    pub step: u64,
    /// The load.
    pub load: Milli,
}
