//! What is learned from observing a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LearnedCapacity;

/// What is learned from observing a service; `homeostat simulate` uses it in place of assumed figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Learned {
    /// The service, as `service/NAME`.
    pub target: String,
    /// The time of this response.
    pub at: String,
    /// The load that one replica carries within the SLO; null without an SLO, and while nothing is known.
    pub capacity: Option<LearnedCapacity>,
    /// The times from start to ready of the latest replicas, in seconds, oldest first; at most 32.
    pub starts_seconds: Vec<f64>,
    /// The 90th percentile of these times; null before the first.
    pub start_seconds: Option<f64>,
    /// The warm-up times of the latest replicas, in seconds, oldest first: from ready until their CPU usage was no higher than that of
    /// the other replicas; at most 8.
    pub warmups_seconds: Vec<f64>,
    /// The 75th percentile of these times; null before the first.
    pub warmup_seconds: Option<f64>,
    /// The recorded load; null when none is recorded.
    pub load: Option<RecordedLoad>,
}

/// The recorded load of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedLoad {
    /// The unit of the loads: `requests/s`, as counted by the proxy, or `replicas`, as proposed by the metrics, not rounded.
    pub unit: String,
    /// The begin of the first step; the current time before the first step is complete.
    pub from: String,
    /// The length of a step, in seconds.
    pub step_seconds: f64,
    /// The mean load of each complete step, oldest first; null where it was not measured. At most 16,400 steps.
    pub loads: Vec<Option<f64>>,
}
