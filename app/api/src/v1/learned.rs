//! What was learned of a service as it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LearnedCapacity;

/// What was learned of a service as it runs: what a policy is tried on, instead of figures that somebody declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Learned {
    /// Such as `service/shop`.
    pub target: String,
    /// When this is said.
    pub at: String,
    /// What one replica carries within what is promised; null where nothing is promised, or nothing known of it.
    pub capacity: Option<LearnedCapacity>,
    /// How long each of the latest replicas took from its start until it was ready, oldest first; at most 32.
    pub starts_seconds: Vec<f64>,
    /// What nine of ten of them have not exceeded; null before one was seen.
    pub start_seconds: Option<f64>,
    /// How long each of the latest replicas took from being ready until it used no more than its fellows, oldest first; at most 8.
    pub warmups_seconds: Vec<f64>,
    /// What three of four of them have not exceeded; null before one was seen.
    pub warmup_seconds: Option<f64>,
    /// Its load; null where none is remembered.
    pub load: Option<RecordedLoad>,
}

/// The load of a service, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedLoad {
    /// What it is: `requests/s`, as asked of the proxy, or `replicas`, as the metrics ask for, not rounded.
    pub unit: String,
    /// When the first step begins; now, before one is over.
    pub from: String,
    /// How long a step is.
    pub step_seconds: f64,
    /// The mean load of each step that is over, oldest first; null where it was not measured. At most 16,400.
    pub loads: Vec<Option<f64>>,
}
