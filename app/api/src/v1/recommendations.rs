//! What a look back shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What had better be declared differently, judged by what was decided and used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendations {
    /// The beginning of the time that was looked at.
    pub since: String,
    /// Its end.
    pub until: String,
    /// The recommendations for each service, bottlenecks first; empty when there are none.
    pub items: Vec<Advice>,
}

/// One recommendation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// Of what, such as `service/shop`.
    pub target: String,
    /// `MaxReached`, `CpuThrottled`, `CpuTight`, `MemoryTight`, `MetricUnmeasured`, `SlowStarts`, `SlowProbe`, `NoSpare`, `Flapping`,
    /// `MinNeverLeft`, `CpuOverAsked`, `MemoryOverAsked`, `ScheduleOverAsked`, `MetricNeverDecided`, `ScheduleNeverDecided`, `StepNeverTaken`,
    /// `LowNeverReached` or `SpareNeverUsed`.
    pub kind: String,
    /// What was seen, in a sentence.
    pub message: String,
    /// What following it would have been worth in that time.
    pub worth: AdviceWorth,
    /// What the manifest would say instead.
    pub changes: Vec<FieldChange>,
}

/// What following advice would have been worth; empty when that cannot be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdviceWorth {
    /// Replicas times hours that were asked for and did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacked_replica_hours: Option<f64>,
    /// Replicas times hours that were not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_replica_hours: Option<f64>,
    /// Cores that are lacking, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacked_cores: Option<f64>,
    /// Cores that are kept and not used, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_cores: Option<f64>,
    /// Memory that is kept and not used, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_bytes: Option<u64>,
    /// Memory that is lacking, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacked_bytes: Option<u64>,
    /// Replicas that need not have been stopped and started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_starts: Option<u32>,
}

/// One field of a manifest that would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// Where, such as `spec.scale.max`.
    pub path: String,
    /// What it is; null where it is not there.
    pub old: Option<Value>,
    /// What it becomes; null where it is no longer there.
    pub new: Option<Value>,
}
