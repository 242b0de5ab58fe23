//! The stored form of what replicas have used.

use std::time::Duration;

use model::histogram::DecayingHistogram;
use model::identity::{Incarnation, Ordinal, ReplicaId};
use model::input::{Throttling, Usage};
use model::memory::{ThrottlingMemory, UsageProfile};
use model::name::ServiceName;
use model::quantity::{Bytes, MilliCpu};
use model::time::Time;
use serde::{Deserialize, Serialize};

/// What a replica uses, if no replica of the report has a limit.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredUsageSample {
    replica: (ServiceName, u32),
    incarnation: u32,
    cpu_us: u64,
    memory: u64,
}

impl From<&Usage> for StoredUsageSample {
    fn from(usage: &Usage) -> Self {
        Self {
            replica: (usage.replica.service.clone(), usage.replica.ordinal.0),
            incarnation: usage.incarnation.0,
            cpu_us: u64::try_from(usage.cpu_time.as_micros()).unwrap_or(u64::MAX),
            memory: usage.memory.0,
        }
    }
}

impl From<StoredUsageSample> for Usage {
    fn from(sample: StoredUsageSample) -> Self {
        let (service, ordinal) = sample.replica;
        Self {
            replica: ReplicaId { service, ordinal: Ordinal(ordinal) },
            incarnation: Incarnation(sample.incarnation),
            cpu_time: Duration::from_micros(sample.cpu_us),
            memory: Bytes(sample.memory),
            throttling: None,
        }
    }
}

/// What a replica uses, and its throttling: the periods in which it ran, those in which it was throttled, and for how many microseconds;
/// `None` for a replica without a limit.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredThrottled {
    used: StoredUsageSample,
    throttling: Option<(u64, u64, u64)>,
}

impl From<&Usage> for StoredThrottled {
    fn from(usage: &Usage) -> Self {
        let stored = |Throttling { windows, throttled, waited }| {
            (windows, throttled, u64::try_from(waited.as_micros()).unwrap_or(u64::MAX))
        };
        Self { used: StoredUsageSample::from(usage), throttling: usage.throttling.map(stored) }
    }
}

impl From<StoredThrottled> for Usage {
    fn from(stored: StoredThrottled) -> Self {
        let read = |(windows, throttled, waited_us)| Throttling {
            windows,
            throttled,
            waited: Duration::from_micros(waited_us),
        };
        Self { throttling: stored.throttling.map(read), ..stored.used.into() }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredThrottling {
    /// In thousandths of a core.
    limit: u64,
    shares: StoredHistogram,
    minutes: u64,
}

impl From<&ThrottlingMemory> for StoredThrottling {
    fn from(memory: &ThrottlingMemory) -> Self {
        let ThrottlingMemory { limit, shares, minutes } = memory;
        Self { limit: limit.0, shares: StoredHistogram::from(shares), minutes: *minutes }
    }
}

impl From<StoredThrottling> for ThrottlingMemory {
    fn from(stored: StoredThrottling) -> Self {
        let StoredThrottling { limit, shares, minutes } = stored;
        Self { limit: MilliCpu(limit), shares: shares.into(), minutes }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredUsage {
    cpu: StoredHistogram,
    memory: StoredHistogram,
    since: Option<u64>,
    samples: u64,
}

/// The non-zero weights of the buckets, by number: most are zero.
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
