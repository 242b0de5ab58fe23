//! The load that replicas of a service were seen to carry within its SLO.

use std::time::Duration;

use crate::identity::Generation;
use crate::latency::LATENCY_CLASSES;
use crate::quantity::MilliRps;
use crate::resource::Fraction;
use crate::time::Time;

/// Most versions that are remembered: the declared one, the one before, and one that was rolled back.
pub const CAPACITY_VERSIONS_MAX: usize = 3;

/// Most rates that are remembered of a version: eight to each doubling, over a factor of 256.
pub const CAPACITY_RATES_MAX: usize = 64;

/// What replicas were seen to carry within a promise, by version.
///
/// Bounded: [`CAPACITY_VERSIONS_MAX`] × [`CAPACITY_RATES_MAX`] × 56 bytes, 11 KB at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapacityMemory {
    /// The latency that was promised.
    pub below: Duration,
    /// The share of the requests that it was promised for.
    pub quantile: Fraction,
    /// By version, oldest first.
    pub versions: Vec<VersionCapacity>,
}

/// What replicas of one version were seen to carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VersionCapacity {
    /// Which version.
    pub generation: Generation,
    /// Windows seen.
    pub windows: u64,
    /// The highest rate at which the promise was kept; decays slowly.
    pub best: MilliRps,
    /// Up to when it has decayed.
    pub best_at: Time,
    /// What was seen by rate, lowest first.
    pub rates: Vec<RateEvidence>,
}

/// What was seen at about one rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RateEvidence {
    /// The number of the rate's bucket.
    pub bucket: u16,
    /// The evidence that the promise is kept at it, in quarters of a window.
    pub well: u32,
    /// The evidence that it is broken, in quarters of a window.
    pub late: u32,
    /// The sum of the rates of the windows in `classes`, in thousandths of a request a second.
    pub rates: u64,
    /// Windows at it, by the class of the promised quantile of their latencies.
    pub classes: [u16; LATENCY_CLASSES],
}

impl RateEvidence {
    /// Windows in `classes`.
    pub fn windows(&self) -> u32 {
        self.classes.iter().map(|count| u32::from(*count)).sum()
    }
}
