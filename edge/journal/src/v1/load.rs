//! The stored form of the past load of a service.

use std::time::Duration;

use model::memory::{DemandCurve, LOAD_STEPS_MAX, LoadRecord, LoadSource, Octave, StepLoad};
use serde::{Deserialize, Serialize};

/// The past load of a service; also the form in which the store keeps it.
///
/// At most 100 KiB: a number of up to five digits for each step.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredLoad {
    source: StoredSource,
    step_ms: u64,
    first: u64,
    /// See [`StepLoad::code`].
    loads: Vec<u16>,
    /// The power of two, the loads, and the demand of each.
    #[serde(default)]
    exchange: Vec<(u8, u64, u64)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredSource {
    Requests,
    Need,
}

impl From<&LoadRecord> for StoredLoad {
    fn from(record: &LoadRecord) -> Self {
        Self {
            source: match record.source {
                LoadSource::Requests => StoredSource::Requests,
                LoadSource::Replicas => StoredSource::Need,
            },
            step_ms: u64::try_from(record.step.as_millis()).unwrap_or(u64::MAX),
            first: record.first,
            loads: record.loads.iter().map(|load| load.code()).collect(),
            exchange: record.demand.octaves.iter().map(|it| (it.power, it.load, it.need)).collect(),
        }
    }
}

/// Keeps the latest steps if there are more than are remembered.
impl From<StoredLoad> for LoadRecord {
    fn from(stored: StoredLoad) -> Self {
        let excess = stored.loads.len().saturating_sub(LOAD_STEPS_MAX);
        let octave = |(power, load, need)| Octave { power, load, need };
        let mut octaves: Vec<Octave> = stored.exchange.into_iter().map(octave).collect();
        octaves.sort_unstable_by_key(|octave| octave.power);
        octaves.dedup_by_key(|octave| octave.power);
        Self {
            source: match stored.source {
                StoredSource::Requests => LoadSource::Requests,
                StoredSource::Need => LoadSource::Replicas,
            },
            step: Duration::from_millis(stored.step_ms),
            first: stored.first.saturating_add(excess as u64),
            loads: stored.loads.into_iter().skip(excess).map(StepLoad::from_code).collect(),
            demand: DemandCurve { octaves },
        }
    }
}
