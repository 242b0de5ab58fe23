//! The stored form of the observed capacity of replicas.

use std::time::Duration;

use model::identity::Generation;
use model::latency::LATENCY_CLASSES;
use model::memory::{
    CAPACITY_RATES_MAX, CAPACITY_VERSIONS_MAX, CapacityMemory, RateEvidence, VersionCapacity,
};
use model::quantity::MilliRps;
use model::resource::Fraction;
use model::time::Time;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredCapacity {
    below_ms: u64,
    quantile_millionths: u32,
    versions: Vec<StoredVersion>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredVersion {
    generation: u64,
    windows: u64,
    best_milli: u64,
    best_at: u64,
    rates: Vec<StoredRate>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRate {
    bucket: u16,
    well: u32,
    late: u32,
    rates: u64,
    /// The classes that have any, by number.
    classes: Vec<(usize, u16)>,
}

impl From<&CapacityMemory> for StoredCapacity {
    fn from(memory: &CapacityMemory) -> Self {
        Self {
            below_ms: u64::try_from(memory.below.as_millis()).unwrap_or(u64::MAX),
            quantile_millionths: memory.quantile.millionths(),
            versions: memory.versions.iter().map(StoredVersion::from).collect(),
        }
    }
}

impl From<&VersionCapacity> for StoredVersion {
    fn from(version: &VersionCapacity) -> Self {
        let rate = |rate: &RateEvidence| {
            let classes = rate.classes.iter().copied().enumerate().filter(|(_, count)| *count > 0);
            let RateEvidence { bucket, in_time: well, late, rates, .. } = *rate;
            StoredRate { bucket, well, late, rates, classes: classes.collect() }
        };
        Self {
            generation: version.generation.0,
            windows: version.windows,
            best_milli: version.best.0,
            best_at: version.best_at.as_millis(),
            rates: version.rates.iter().map(rate).collect(),
        }
    }
}

impl From<StoredCapacity> for CapacityMemory {
    fn from(stored: StoredCapacity) -> Self {
        let mut versions: Vec<VersionCapacity> = stored.versions.into_iter().map(Into::into).collect();
        versions.sort_by_key(|version| version.generation);
        versions.dedup_by_key(|version| version.generation);
        versions.truncate(CAPACITY_VERSIONS_MAX);
        Self {
            below: Duration::from_millis(stored.below_ms),
            quantile: Fraction::from_millionths(stored.quantile_millionths),
            versions,
        }
    }
}

impl From<StoredVersion> for VersionCapacity {
    fn from(stored: StoredVersion) -> Self {
        let rate = |stored: StoredRate| {
            let mut classes = [0; LATENCY_CLASSES];
            for (class, count) in stored.classes {
                if let Some(kept) = classes.get_mut(class) {
                    *kept = count;
                }
            }
            let StoredRate { bucket, well, late, rates, .. } = stored;
            RateEvidence { bucket, in_time: well, late, rates, classes }
        };
        let mut rates: Vec<RateEvidence> = stored.rates.into_iter().map(rate).collect();
        rates.sort_by_key(|rate| rate.bucket);
        rates.dedup_by_key(|rate| rate.bucket);
        rates.truncate(CAPACITY_RATES_MAX);
        Self {
            generation: Generation(stored.generation),
            windows: stored.windows,
            best: MilliRps(stored.best_milli),
            best_at: Time::from_millis(stored.best_at),
            rates,
        }
    }
}
