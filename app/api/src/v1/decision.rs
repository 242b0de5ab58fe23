//! A decision whole: what was counted, what stood behind its limits, and what would have led elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Explanation;

/// How far a ratio may be from 1 without a change, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tolerance {
    /// Above 1.
    pub up: f64,
    /// Below 1.
    pub down: f64,
}

/// Replicas by whether their samples counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SampleCount {
    /// Counted with their sample.
    pub used: u32,
    /// Not at work yet.
    pub unready: u32,
    /// Without a sample, or with one that is too old or could not be read.
    pub missing: u32,
    /// On their way out.
    pub ignored: u32,
}

/// An earlier recommendation or change that limits the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// When it was.
    pub at: String,
    /// `recommended`, `added` or `removed`.
    pub kind: String,
    /// How many replicas.
    pub replicas: u32,
}

/// Another outcome, and what would have to change for it, found by deciding again with only that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prospect {
    /// Replicas wanted then; the number wanted now if nothing leads to another.
    pub desired: u32,
    /// `time`, `load`, `release`, `request`, `mode`, or `declaration` when no load and no time leads there.
    pub need: String,
    /// The values that metrics would need; empty when it takes no other load.
    pub levels: Vec<MetricLevel>,
    /// From when on that would be decided, if everything else stays; null for at once.
    pub at: Option<String>,
    /// All of it in one sentence.
    pub message: String,
}

/// The value that a metric would need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricLevel {
    /// Which metric.
    pub name: String,
    /// The value, with its unit.
    pub level: String,
}

/// Why a number was not decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyNot {
    /// `out`, `in`, or a number.
    pub asked: String,
    /// What speaks against it, from the first cause to the last.
    pub because: Vec<String>,
    /// What it would take.
    pub prospects: Vec<Prospect>,
}

/// For how long and how often decisions were made with one outcome and one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptSpan {
    /// When the first was made.
    pub from: String,
    /// When the last was made.
    pub to: String,
    /// How many.
    pub count: u64,
}

/// What was decided on a service, as the history has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// As `service/NAME`.
    pub target: String,
    /// Whether there are older ones: ask with an earlier `until`.
    pub is_cut: bool,
    /// Oldest first. Where times overlap, the decisions of the overlapping runs alternated.
    pub items: Vec<KeptDecision>,
}

/// Decisions of one outcome and one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeptDecision {
    /// When the first was made.
    pub from: String,
    /// When the last was made.
    pub to: String,
    /// How many.
    pub count: u64,
    /// The range of each metric's ratio, in the order of the decision's metrics; null for one that was never measured.
    pub ratios: Vec<Option<Range>>,
    /// The first of them, whole.
    pub decision: Explanation,
}

/// The least and the largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

/// What changed declarations would decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trials {
    /// Each service that would change; none that is new.
    pub items: Vec<Trial>,
}

/// What a changed declaration would decide on one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// As `service/NAME`.
    pub target: String,
    /// Replicas wanted now, by the declaration that holds.
    pub wanted: u32,
    /// Replicas that the changed one would want now.
    pub desired: u32,
    /// Why, in one sentence.
    pub summary: String,
    /// Over the last hour; null when the journal has no decision of it.
    pub hour: Option<TrialHour>,
}

/// A changed declaration beside the one that holds, fed with every input of the last hour. The load is the one that was: it is taken to
/// spread evenly over the replicas that there would have been, and not to change with their number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialHour {
    /// The first decision.
    pub since: String,
    /// The last decision.
    pub until: String,
    /// How many times was decided.
    pub decisions: u64,
    /// By what holds.
    pub holds: TrialSide,
    /// By what is tried.
    pub tried: TrialSide,
    /// At most 600 of the decisions, evenly chosen, oldest first.
    pub points: Vec<TrialPoint>,
}

/// How one declaration did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialSide {
    /// Fewest replicas wanted.
    pub least: u32,
    /// Most replicas wanted.
    pub most: u32,
    /// Replicas wanted on average over the decisions.
    pub mean: f64,
    /// How often the number changed.
    pub changes: u32,
}

/// Two decisions at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrialPoint {
    /// When.
    pub at: String,
    /// Replicas wanted by what holds.
    pub holds: u32,
    /// Replicas wanted by what is tried.
    pub tried: u32,
}
