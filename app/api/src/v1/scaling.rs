//! The comparison of autoscalers, the learned capacity, and the recommended resources of a replica.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limit, Metric};

/// The comparison of the autoscalers of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// The number of replicas that the acting autoscaler wants now.
    pub desired_replicas: u32,
    /// The policy that decides, such as `hpa`, `formula`, `hold` or `fixed`.
    pub policy: String,
    /// The shadow autoscalers, in the order of the declaration.
    pub shadows: Vec<ShadowStatus>,
}

/// A shadow autoscaler, which decides without effect, compared with the acting one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// Its name.
    pub name: String,
    /// Its policy, such as `hpa` or `formula`.
    pub policy: String,
    /// The number of replicas that it would run now.
    pub desired_replicas: u32,
    /// The begin of the comparison.
    pub since: String,
    /// The length of the comparison in seconds, without the time in which the service was at zero or Homeostat did not run.
    pub counted_seconds: f64,
    /// The result of the shadow autoscaler.
    pub own: ScalingTally,
    /// The result of the acting autoscaler over the same time.
    pub acting: ScalingTally,
    /// How long, and by how much, it would have run fewer replicas than the acting autoscaler.
    pub below: ScalingDifference,
    /// How long, and by how much, it would have run more replicas.
    pub above: ScalingDifference,
    /// Its latest changes, oldest first.
    pub changes: Vec<ShadowChange>,
    /// Its latest decision in one sentence; null while it is not evaluated.
    pub summary: Option<String>,
}

/// The result of an autoscaler over a period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingTally {
    /// Replica-hours.
    pub replica_hours: f64,
    /// The number of scale-outs.
    pub scale_outs: u32,
    /// The number of scale-ins.
    pub scale_ins: u32,
    /// How often the direction of scaling reversed.
    pub reversals: u32,
    /// How long a metric exceeded its target by more than its tolerance, in seconds. For a shadow, as if its replicas shared the load.
    pub over_target_seconds: f64,
    /// How long its metrics proposed no number, in seconds.
    pub without_number_seconds: f64,
}

/// How long the number of replicas differed, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingDifference {
    /// The duration, in seconds.
    pub seconds: f64,
    /// The difference in replica-hours.
    pub replica_hours: f64,
}

/// A change that a shadow autoscaler would have made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowChange {
    /// The time of the change.
    pub at: String,
    /// The number of replicas before.
    pub from: u32,
    /// The number of replicas after.
    pub to: u32,
}

/// The latest decision of a shadow autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowExplanation {
    /// Its name.
    pub name: String,
    /// The number of replicas that it would run after the decision.
    pub desired: u32,
    /// The number of replicas that it would have run before.
    pub previous: u32,
    /// Its policy.
    pub policy: String,
    /// The evaluation of each metric, as if its own replicas shared the load.
    pub metrics: Vec<Metric>,
    /// The limits that changed the number after the metrics were evaluated, in order.
    pub limits: Vec<Limit>,
    /// The decision in one sentence.
    pub summary: String,
}

/// The load that one replica carries within the SLO of its service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// The SLO, such as `p99 < 200ms`.
    pub promise: String,
    /// The capacity that scaling acts on; null while nothing is known.
    pub acting: Option<LearnedCapacity>,
    /// The learned capacity of each version, oldest first.
    pub versions: Vec<LearnedCapacity>,
}

/// The capacity of one replica, in requests per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearnedCapacity {
    /// The generation that it was learned from; null for a declared capacity.
    pub generation: Option<u64>,
    /// The estimated capacity.
    pub requests_per_second: f64,
    /// The lower bound: a rate that was carried within the SLO.
    pub lower: f64,
    /// The upper bound: higher rates missed the SLO, or are not known yet.
    pub upper: f64,
    /// The number of observed windows that it was learned from; each covers one replica for at least five seconds.
    pub windows: u64,
    /// The basis of the estimate: `curve` (carried rates and the growth of latency), `kept` (carried rates), `overload` (rates that missed
    /// the SLO), `before` (a part of the capacity of the previous version) or `declared`.
    pub ground: String,
}

/// The recommended resources of a replica, learned from its usage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// How it is applied: `recommend` (not at all), `initial` (to new replicas) or `auto` (to running replicas as well).
    pub mode: String,
    /// CPU, in millicores; null before the first sample.
    pub cpu_millicores: Option<RecommendedAmount>,
    /// Memory, in bytes; null before the first sample.
    pub memory_bytes: Option<RecommendedAmount>,
    /// The number of CPU samples; each replica gives one per minute.
    pub samples: u64,
    /// The confidence, in days of samples of one replica.
    pub confidence_days: f64,
    /// How the recommendation is currently applied, in one sentence.
    pub message: String,
}

/// A recommended amount of a resource, with confidence bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecommendedAmount {
    /// The declared amount; null when none is declared.
    pub declared: Option<u64>,
    /// The lower bound: a smaller amount is too little.
    pub lower: u64,
    /// The target: the 90th percentile of the samples plus a margin.
    pub target: u64,
    /// The upper bound: a larger amount is wasted; null while there is no confidence.
    pub upper: Option<u64>,
    /// The amount that new replicas get in place of the declared one; null when they get the declared one.
    pub given: Option<u64>,
    /// The range of limits of the running replicas; null when unknown or not limited.
    #[serde(default)]
    pub running: Option<AmountSpan>,
}

/// A range of amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmountSpan {
    /// The lowest amount.
    pub least: u64,
    /// The highest amount.
    pub most: u64,
}
