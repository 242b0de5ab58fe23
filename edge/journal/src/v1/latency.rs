//! The stored form of the latencies of replicas.

use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::latency::{LATENCY_CLASSES, Latencies};
use model::name::ServiceName;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredLatencies {
    replica: (ServiceName, u32),
    incarnation: u32,
    promised: Duration,
    failed: u64,
    /// By class; additional classes of a later version count as the last.
    answered: Vec<u64>,
}

impl From<&Latencies> for StoredLatencies {
    fn from(latencies: &Latencies) -> Self {
        let Latencies { service, ordinal, incarnation, threshold, failed, answered } = latencies;
        Self {
            replica: (service.clone(), ordinal.0),
            incarnation: incarnation.0,
            promised: *threshold,
            failed: *failed,
            answered: answered.to_vec(),
        }
    }
}

impl From<StoredLatencies> for Latencies {
    fn from(stored: StoredLatencies) -> Self {
        let mut answered = [0_u64; LATENCY_CLASSES];
        for (class, count) in stored.answered.into_iter().enumerate() {
            let kept = &mut answered[class.min(LATENCY_CLASSES - 1)];
            *kept = kept.saturating_add(count);
        }
        let (service, ordinal) = stored.replica;
        Self {
            service,
            ordinal: Ordinal(ordinal),
            incarnation: Incarnation(stored.incarnation),
            threshold: stored.promised,
            failed: stored.failed,
            answered,
        }
    }
}
