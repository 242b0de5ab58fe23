//! Evidence on the load that one replica of a service carries within its SLO.

use std::time::Duration;

use crate::identity::Generation;
use crate::latency::LATENCY_CLASSES;
use crate::quantity::MilliRps;
use crate::resource::Fraction;
use crate::time::Time;

/// Most versions that are kept: the declared one, the previous one, and one that was rolled back.
pub const CAPACITY_VERSIONS_MAX: usize = 3;

/// Most rates that are kept per version: eight per doubling, over a factor of 256.
pub const CAPACITY_RATES_MAX: usize = 64;

/// The observed capacity of replicas under one SLO, by version.
///
/// Bounded: [`CAPACITY_VERSIONS_MAX`] × [`CAPACITY_RATES_MAX`] × 56 bytes, 11 KB at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapacityMemory {
    /// The latency threshold of the SLO.
    pub below: Duration,
    /// The share of requests that must stay below it.
    pub quantile: Fraction,
    /// By version, oldest first.
    pub versions: Vec<VersionCapacity>,
}

/// The observed capacity of the replicas of one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VersionCapacity {
    /// Which version.
    pub generation: Generation,
    /// The number of observed windows.
    pub windows: u64,
    /// The highest rate within the SLO; decays slowly.
    pub best: MilliRps,
    /// When the decay was last applied to `best`.
    pub best_at: Time,
    /// The evidence by rate, lowest first.
    pub rates: Vec<RateEvidence>,
}

/// The evidence about one bucket of rates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RateEvidence {
    /// The number of the rate's bucket.
    pub bucket: u16,
    /// The weight of windows within the SLO, in quarters of a window.
    pub in_time: u32,
    /// The weight of windows that missed the SLO, in quarters of a window.
    pub late: u32,
    /// The sum of the rates of the windows in `classes`, in thousandths of a request per second.
    pub rates: u64,
    /// Windows in this bucket, by latency class of the SLO's quantile.
    pub classes: [u16; LATENCY_CLASSES],
}

impl RateEvidence {
    /// The number of windows in `classes`.
    pub fn windows(&self) -> u32 {
        self.classes.iter().map(|count| u32::from(*count)).sum()
    }
}
