//! The parts of an explained decision: samples, evidence, alternatives, and the history of decisions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Explanation;

/// How far a ratio may deviate from 1 without a change, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tolerance {
    /// The tolerance above 1.
    pub up: f64,
    /// The tolerance below 1.
    pub down: f64,
}

/// The number of replicas by whether their samples were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SampleCount {
    /// Replicas whose samples were used.
    pub used: u32,
    /// Replicas that are not ready yet.
    pub unready: u32,
    /// Replicas without a sample, or with one that is too old or unreadable.
    pub missing: u32,
    /// Replicas that are being removed.
    pub ignored: u32,
}

/// An earlier recommendation or change that limits the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// When it was made.
    pub at: String,
    /// `recommended`, `added` or `removed`.
    pub kind: String,
    /// The number of replicas.
    pub replicas: u32,
}

/// An alternative outcome and the change that would lead to it, found by repeating the decision with only that change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prospect {
    /// The number of replicas wanted in that case; the current number if no change leads to another one.
    pub desired: u32,
    /// What would have to change: `time`, `load`, `release`, `request`, `mode`, or `declaration` when neither load nor time suffices.
    pub need: String,
    /// The metric values that would be needed; empty when no other load is needed.
    pub levels: Vec<MetricLevel>,
    /// When that would be decided if everything else stays the same; null for immediately.
    pub at: Option<String>,
    /// The alternative in one sentence.
    pub message: String,
}

/// The value that a metric would have to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricLevel {
    /// The name of the metric.
    pub name: String,
    /// The value, with its unit.
    pub level: String,
}

/// Why another number of replicas was not chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyNot {
    /// The question: `out`, `in`, or a number of replicas.
    pub asked: String,
    /// The reasons against it, from the first cause to the last.
    pub because: Vec<String>,
    /// The changes that would lead to it.
    pub prospects: Vec<Prospect>,
}

/// A run of decisions with the same outcome and the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptSpan {
    /// When the first decision of the run was made.
    pub from: String,
    /// When the last decision of the run was made.
    pub to: String,
    /// The number of decisions in the run.
    pub count: u64,
}

/// The history of decisions on a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The service, as `service/NAME`.
    pub target: String,
    /// Whether older decisions were left out; request them with an earlier `until`.
    pub is_cut: bool,
    /// The runs of decisions, oldest first. Where their times overlap, the decisions alternated.
    pub items: Vec<KeptDecision>,
}

/// A run of decisions with the same outcome and the same reason, shown by the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeptDecision {
    /// When the first decision of the run was made.
    pub from: String,
    /// When the last decision of the run was made.
    pub to: String,
    /// The number of decisions in the run.
    pub count: u64,
    /// The range of each metric's ratio, in the order of the decision's metrics; null for a metric that was never measured.
    pub ratios: Vec<Option<Range>>,
    /// The first decision of the run.
    pub decision: Explanation,
}

/// A range of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// The lowest value.
    pub low: f64,
    /// The highest value.
    pub high: f64,
}

/// The decisions that changed declarations would lead to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trials {
    /// The services that would change; new services are not included.
    pub items: Vec<Trial>,
}

/// The decisions on one service under a changed declaration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// The service, as `service/NAME`.
    pub target: String,
    /// The number of replicas wanted now, by the current declaration.
    pub wanted: u32,
    /// The number of replicas that the changed declaration would want now.
    pub desired: u32,
    /// The decision under the changed declaration in one sentence.
    pub summary: String,
    /// The comparison over the last hour; null when the journal has no decisions of that time.
    pub hour: Option<TrialHour>,
}

/// The current and a changed declaration, compared by replaying the inputs of the last hour. The recorded load is assumed to be spread
/// evenly over the replicas that there would have been, and not to depend on their number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialHour {
    /// The time of the first decision.
    pub since: String,
    /// The time of the last decision.
    pub until: String,
    /// The number of decisions.
    pub decisions: u64,
    /// The result of the current declaration.
    pub holds: TrialSide,
    /// The result of the changed declaration.
    pub tried: TrialSide,
    /// At most 600 decisions, evenly spaced, oldest first.
    pub points: Vec<TrialPoint>,
}

/// The result of one declaration over the decisions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialSide {
    /// The lowest number of replicas wanted.
    pub least: u32,
    /// The highest number of replicas wanted.
    pub most: u32,
    /// The mean number of replicas wanted over the decisions.
    pub mean: f64,
    /// How often the number of replicas changed.
    pub changes: u32,
}

/// The decisions of both declarations at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrialPoint {
    /// The time of the decisions.
    pub at: String,
    /// The number of replicas wanted by the current declaration.
    pub holds: u32,
    /// The number of replicas wanted by the changed declaration.
    pub tried: u32,
}
