//! What replicas have used, as it is stored.

use model::histogram::DecayingHistogram;
use model::memory::UsageProfile;
use model::time::Time;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredUsage {
    cpu: StoredHistogram,
    memory: StoredHistogram,
    since: Option<u64>,
    samples: u64,
}

/// The weights of the buckets that have one, by their numbers: most have none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredHistogram {
    reference: u64,
    weights: Vec<(usize, u64)>,
}

impl From<&UsageProfile> for StoredUsage {
    fn from(usage: &UsageProfile) -> Self {
        Self {
            cpu: StoredHistogram::from(&usage.cpu),
            memory: StoredHistogram::from(&usage.memory),
            since: usage.since.map(Time::as_millis),
            samples: usage.samples,
        }
    }
}

impl From<StoredUsage> for UsageProfile {
    fn from(stored: StoredUsage) -> Self {
        Self {
            cpu: stored.cpu.into(),
            memory: stored.memory.into(),
            since: stored.since.map(Time::from_millis),
            samples: stored.samples,
        }
    }
}

impl From<&DecayingHistogram> for StoredHistogram {
    fn from(histogram: &DecayingHistogram) -> Self {
        let weights = histogram.weights().iter().copied().enumerate();
        Self {
            reference: histogram.reference().as_millis(),
            weights: weights.filter(|(_, weight)| *weight > 0).collect(),
        }
    }
}

impl From<StoredHistogram> for DecayingHistogram {
    fn from(stored: StoredHistogram) -> Self {
        Self::from_parts(stored.weights, Time::from_millis(stored.reference))
    }
}
