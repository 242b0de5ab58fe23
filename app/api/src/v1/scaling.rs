//! How autoscalers compare, and how large a replica should be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limit, Metric};

/// How the autoscalers of a service compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// Replicas that the acting one wants now.
    pub desired_replicas: u32,
    /// Which policy decides, such as `hpa`, `formula`, `hold` or `fixed`.
    pub policy: String,
    /// Those that are tried beside it, in the order of the declaration.
    pub shadows: Vec<ShadowStatus>,
}

/// An autoscaler that is tried without effect, and how it compares with the acting one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// Its name.
    pub name: String,
    /// Its policy, such as `hpa` or `formula`.
    pub policy: String,
    /// Replicas that it would run now.
    pub desired_replicas: u32,
    /// Since when both are compared.
    pub since: String,
    /// How much of the time since then counts: that in which the service rested, or nobody looked, does not.
    pub counted_seconds: f64,
    /// What it would have come to.
    pub own: ScalingTally,
    /// What the acting one has come to in the same time.
    pub acting: ScalingTally,
    /// When it would have run fewer than the acting one.
    pub below: ScalingDifference,
    /// When it would have run more.
    pub above: ScalingDifference,
    /// Its latest changes, oldest first.
    pub changes: Vec<ShadowChange>,
    /// Its last decision in one sentence; null while it is not asked.
    pub summary: Option<String>,
}

/// What an autoscaler has come to over some time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingTally {
    /// Replicas times hours.
    pub replica_hours: f64,
    /// How often it grew.
    pub scale_outs: u32,
    /// How often it shrank.
    pub scale_ins: u32,
    /// How often it went the other way than the last time.
    pub reversals: u32,
    /// How long a metric was above its target by more than its tolerance. Of a shadow, as if its replicas shared the load.
    pub over_target_seconds: f64,
    /// How long its metrics gave no number.
    pub without_number_seconds: f64,
}

/// How long a number differed, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingDifference {
    /// How long.
    pub seconds: f64,
    /// By how many replicas times hours.
    pub replica_hours: f64,
}

/// A change that a shadow would have made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowChange {
    /// When.
    pub at: String,
    /// Replicas before.
    pub from: u32,
    /// Replicas from then on.
    pub to: u32,
}

/// The last decision of an autoscaler that is tried without effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowExplanation {
    /// Its name.
    pub name: String,
    /// Replicas that it would run from then on.
    pub desired: u32,
    /// Replicas that it would have run before.
    pub previous: u32,
    /// Its policy.
    pub policy: String,
    /// What each metric said, as if its own replicas shared the load.
    pub metrics: Vec<Metric>,
    /// What changed the number after the metrics, in order.
    pub limits: Vec<Limit>,
    /// The decision in one sentence.
    pub summary: String,
}

/// What a replica carries within what its service promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// What is promised, such as `p99 < 200ms`.
    pub promise: String,
    /// What is acted on; null while nothing is known.
    pub acting: Option<LearnedCapacity>,
    /// What was learned of each version, oldest first.
    pub versions: Vec<LearnedCapacity>,
}

/// Requests a second that one replica carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearnedCapacity {
    /// Of which generation; null for what is declared.
    pub generation: Option<u64>,
    /// So many.
    pub requests_per_second: f64,
    /// At least so many were carried.
    pub lower: f64,
    /// More were not carried, or cannot be told yet.
    pub upper: f64,
    /// Windows of at least five seconds of one replica that it was learned from.
    pub windows: u64,
    /// What it rests on: `curve` (rates that were carried, and how the latency grew), `kept` (rates that were carried), `overload` (rates that
    /// were not), `before` (most of what the version before carries) or `declared`.
    pub ground: String,
}

/// How large a replica should be by what was learned of its use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// What becomes of it: `recommend`, `initial` or `auto`.
    pub mode: String,
    /// Processor, in thousandths of a core; null before the first sample.
    pub cpu_millicores: Option<RecommendedAmount>,
    /// Memory, in bytes; null before the first sample.
    pub memory_bytes: Option<RecommendedAmount>,
    /// Samples of the processor: a replica gives one a minute.
    pub samples: u64,
    /// In days of samples of one replica.
    pub confidence_days: f64,
    /// What is done with it now, in a sentence.
    pub message: String,
}

/// An amount that should do, and bounds outside of which it is wrong with confidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecommendedAmount {
    /// What is declared; null when nothing is.
    pub declared: Option<u64>,
    /// Less is too little.
    pub lower: u64,
    /// Covers nine of ten samples, with a margin.
    pub target: u64,
    /// More is waste; null before there is any confidence.
    pub upper: Option<u64>,
    /// What replicas that are started now get instead of what is declared; null when that.
    pub given: Option<u64>,
    /// The least and the most that running replicas may use now; null where it is not known or not limited.
    #[serde(default)]
    pub running: Option<AmountSpan>,
}

/// The least and the most of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmountSpan {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}
