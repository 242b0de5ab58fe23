//! How far the load of a service rises while a replica starts.

use std::time::Duration;

use crate::histogram::DecayingHistogram;
use crate::quantity::Milli;
use crate::time::Time;

/// From one load that is kept to the next: the largest of each such time is.
pub const RISE_STEP: Duration = Duration::from_secs(5);

/// Most steps that a rise is looked for in: five minutes, longer than most programs take to start.
pub const RISE_STEPS_MAX: usize = 60;

/// How far the load rises while a replica starts.
///
/// Bounded: [`RISE_STEPS_MAX`] + 2 peaks, and two histograms of at most 176 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RiseMemory {
    /// How long a replica takes from its start until it serves, as the slowest of late did; zero before one was seen.
    pub start: Duration,
    /// When that was last looked at.
    pub start_at: Time,
    /// The largest loads of the latest steps, oldest first.
    pub peaks: Vec<LoadPeak>,
    /// By how much the load rose within the time of a start, in thousandths of what it was before.
    pub rises: DecayingHistogram,
    /// By how much the largest load of a minute was above the mean of that minute, in thousandths of it.
    pub bursts: DecayingHistogram,
    /// How many rises were seen, those without any rise included.
    pub seen: u64,
    /// How the promise was kept of late.
    pub spent: SpentMemory,
}

/// Requests of late, and those of them that came while the service could not carry them all, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SpentMemory {
    /// When that was last looked at.
    pub at: Time,
    /// Requests that came.
    pub came: u64,
    /// Those of them to whom the promise was broken; at most `came`.
    pub late: u64,
}

/// The largest load of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadPeak {
    /// Which step, counted from the beginning of the clock.
    pub step: u64,
    /// The load.
    pub load: Milli,
}
