//! Recommendations for declarations, from past decisions and usage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Recommended changes of declarations, based on past decisions and usage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendations {
    /// The begin of the period that was analyzed.
    pub since: String,
    /// The end of the period that was analyzed.
    pub until: String,
    /// The recommendations, by service, bottlenecks first.
    pub items: Vec<Advice>,
}

/// One recommendation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// The service, as `service/NAME`.
    pub target: String,
    /// The kind of the recommendation: `MaxReached`, `CpuThrottled`, `CpuTight`, `MemoryTight`, `MetricUnmeasured`, `SlowStarts`, `SlowProbe`, `NoSpare`, `Flapping`,
    /// `MinNeverLeft`, `CpuOverAsked`, `MemoryOverAsked`, `ScheduleOverAsked`, `MetricNeverDecided`, `ScheduleNeverDecided`, `StepNeverTaken`,
    /// `LowNeverReached` or `SpareNeverUsed`.
    pub kind: String,
    /// The observation in one sentence.
    pub message: String,
    /// The estimated benefit over the period.
    pub worth: AdviceWorth,
    /// The recommended changes of the manifest.
    pub changes: Vec<FieldChange>,
}

/// The estimated benefit of a recommendation; empty when it cannot be estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdviceWorth {
    /// Replica-hours that were needed but not provided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacked_replica_hours: Option<f64>,
    /// Replica-hours that were not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_replica_hours: Option<f64>,
    /// Cores that are missing, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacked_cores: Option<f64>,
    /// Cores that are reserved but not used, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_cores: Option<f64>,
    /// Bytes of memory that are reserved but not used, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_bytes: Option<u64>,
    /// Bytes of memory that are missing, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacked_bytes: Option<u64>,
    /// Starts of replicas that could have been avoided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_starts: Option<u32>,
}

/// A change of one field of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// The path of the field, such as `spec.scale.max`.
    pub path: String,
    /// The current value; null when the field is absent.
    pub old: Option<Value>,
    /// The recommended value; null to remove the field.
    pub new: Option<Value>,
}
