//! The record of a scaling decision: its inputs, its arithmetic, and what changed it on the way.

use std::sync::Arc;

use crate::name::ServiceName;
use crate::reason::Reason;
use crate::resource::ObjectName;
use crate::time::{Now, Wall};

/// One scaling decision, with enough detail to follow the arithmetic by hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The service.
    pub service: ServiceName,
    /// When it was made.
    pub at: Now,
    /// Replicas wanted from now on.
    pub desired: u32,
    /// Replicas wanted before.
    pub previous: u32,
    /// Which policy decided.
    pub policy: Policy,
    /// The verdict on each metric; empty when no metric was evaluated.
    pub metrics: Vec<MetricVerdict>,
    /// How far a ratio may be from 1 without a change; `None` when no ratio was computed.
    pub tolerance: Option<Tolerance>,
    /// The limits that changed the number after the metrics, in order.
    pub limits: Vec<Limit>,
    /// Earlier decisions that caused those limits, latest first; at most [`EVIDENCE_MAX`].
    pub evidence: Vec<Evidence>,
    /// Kubernetes' conditions of a HorizontalPodAutoscaler; empty for other policies.
    pub conditions: Vec<Condition>,
    /// Why the guard refused the change of size; `None` when it did not.
    pub guard: Option<Reason>,
    /// The decision in one sentence.
    pub summary: Arc<str>,
    /// What the shadow autoscalers would have decided.
    pub shadows: Vec<ShadowDecision>,
}

/// What a shadow autoscaler would have decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowDecision {
    /// Its name.
    pub name: ObjectName,
    /// The full record of its decision.
    pub decision: Decision,
}

/// A decision whose record is composed only on request: most decisions equal the previous one and are never read.
pub trait Explanation: std::fmt::Debug + Send + Sync {
    /// The full record.
    fn decision(&self) -> Decision;

    /// Replicas wanted from then on: [`Decision::desired`] without composing the record.
    fn desired(&self) -> u32;

    /// A hash of the outcome and its reason, without the measurements: equal for two decisions on a service with the same outcome for
    /// the same reason.
    fn fingerprint(&self) -> u64;

    /// The size that the metrics ask for beyond what is allowed; `None` when the metrics were followed.
    fn unmet(&self) -> Option<UnmetDemand>;

    /// How far each metric is from its target: measured ÷ target, `None` when nothing was measured. In the order of [`Decision::metrics`].
    fn ratios(&self) -> Vec<Option<f64>>;

    /// What would have to change for another outcome, found by deciding again with only that changed.
    ///
    /// Costs some thousand decisions: meant for requests of users and for the history, not for each decision.
    fn prospects(&self) -> Vec<Prospect>;

    /// Why the size was not decided to be `alternative`, and what that would take. Costs as much as [`Self::prospects`].
    fn why_not(&self, alternative: AlternativeSize) -> WhyNot;
}

/// A demand for more replicas than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnmetDemand {
    /// Replicas that the metrics ask for; above `allowed`.
    pub requested: u32,
    /// Replicas that are allowed, and wanted; at least 1.
    pub allowed: u32,
}

/// A decision as it is handed to the history.
#[derive(Clone, Debug)]
pub struct DecisionEntry {
    /// The service.
    pub service: ServiceName,
    /// When it was made.
    pub at: Now,
    /// The decision.
    pub explanation: Arc<dyn Explanation>,
    /// Why the guard refused the change of size; `None` when it did not.
    pub guard: Option<Reason>,
}

/// Equal when service, time, outcome, reason and the guard's refusal are.
impl PartialEq for DecisionEntry {
    fn eq(&self, other: &Self) -> bool {
        self.service == other.service
            && self.at == other.at
            && self.explanation.fingerprint() == other.explanation.fingerprint()
            && self.guard == other.guard
    }
}

/// A size other than the one that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlternativeSize {
    /// Any larger size.
    Larger,
    /// Any smaller size.
    Smaller,
    /// Exactly this many replicas.
    Exactly(u32),
}

/// Why an alternative was not decided.
#[derive(Clone, Debug, PartialEq)]
pub struct WhyNot {
    /// The reasons against it, in sentences, in the order of cause and effect.
    pub reasons: Vec<Arc<str>>,
    /// What it would take instead.
    pub prospects: Vec<Prospect>,
}

/// Another outcome, and what would have to change for it (a counterfactual).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// Replicas that would be wanted; the same as now when no change has another outcome.
    pub desired: u32,
    /// What has to change.
    pub requires: RequiredChange,
    /// The levels that metrics would have to reach; empty when the load need not change.
    pub levels: Vec<MetricLevel>,
    /// When it would be decided; `None` for immediately.
    pub at: Option<Wall>,
    /// The whole in one sentence.
    pub note: Arc<str>,
}

/// What has to change for another outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequiredChange {
    /// Only time has to pass.
    Time,
    /// The load has to change.
    Load,
    /// An operator's hold or pause has to end.
    Release,
    /// A request has to arrive.
    Request,
    /// `spec.scale.mode` has to be `on`.
    Mode,
    /// The declaration has to change: no load and no time has this outcome.
    Declaration,
}

/// The level that a metric would have to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricLevel {
    /// Which metric.
    pub name: Arc<str>,
    /// The level, with its unit.
    pub level: Arc<str>,
}

/// How far a ratio may be from 1 without a change, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above 1.
    pub up: f64,
    /// Below 1.
    pub down: f64,
}

/// Most entries of evidence in one record.
///
/// 8: the latest suffice to understand a rate policy that has counted more changes.
pub const EVIDENCE_MAX: usize = 8;

/// An earlier decision or change that limits this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// When it was.
    pub at: Wall,
    /// What it was.
    pub kind: EvidenceKind,
}

/// What an [`Evidence`] refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    /// A recommendation of this many replicas.
    Recommended(u32),
    /// This many replicas were added.
    Added(u32),
    /// This many replicas were removed.
    Removed(u32),
}

/// Numbers of replicas, by how their samples were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleCount {
    /// Their sample was used.
    pub used: u32,
    /// Not ready yet.
    pub unready: u32,
    /// Without a sample, or with one that is too old or could not be read.
    pub missing: u32,
    /// Being removed.
    pub ignored: u32,
}

/// Which policy decided on the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The declaration names a fixed size.
    Fixed,
    /// An operator holds the size.
    Hold,
    /// The autoscaler is turned off.
    Off,
    /// An operator has paused the autoscaler.
    Paused,
    /// A schedule overrides the fixed size.
    Schedule,
    /// Kubernetes' horizontal pod autoscaler algorithm.
    Hpa,
    /// As `Hpa`, but all metrics must agree on a change.
    Unanimous,
    /// Step scaling by the level of one metric.
    Step,
    /// High and low watermarks of one metric.
    Watermarks,
    /// As `Hpa`, but replicas that are still warming up are waited for.
    TargetTracking,
    /// A long mean of one metric, and a short one during bursts.
    Burst,
    /// A formula over several metrics.
    Formula,
    /// A weighted mean of all metrics.
    Composite,
    /// As many replicas as keep an SLO at the lowest cost.
    Slo,
    /// Scaled to zero while there are no requests, and back when one comes.
    ToZero,
}

/// The verdict on one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricVerdict {
    /// The name of the metric, such as `cpu`, `memory` or `http_requests_per_second`.
    pub name: Arc<str>,
    /// The measured value, with its unit, such as `62 %`.
    pub current: Arc<str>,
    /// The target, with its unit, such as `50 %`.
    pub target: Arc<str>,
    /// Measured ÷ target; `None` when nothing was measured.
    pub ratio: Option<f64>,
    /// Replicas that this metric asks for; `None` when it gives no number.
    pub proposal: Option<u32>,
    /// How the samples of replicas were used; `None` for a metric that is not of replicas.
    pub samples: Option<SampleCount>,
    /// The arithmetic, or why there is none.
    pub note: Arc<str>,
}

impl MetricVerdict {
    /// The value of [`Self::current`] when nothing was measured.
    pub const UNKNOWN: &str = "unknown";

    /// Whether anything was measured.
    pub fn is_measured(&self) -> bool {
        &*self.current != Self::UNKNOWN
    }
}

/// A limit that changed the number of replicas after the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Which limit: a reason code of the HPA (`ScaleDownStabilized`, `ScaleUpLimit`, `TooManyReplicas` …).
    pub name: &'static str,
    /// Replicas before it.
    pub from: u32,
    /// Replicas after it.
    pub to: u32,
    /// The details in a sentence.
    pub note: Arc<str>,
}

/// The type of a HorizontalPodAutoscaler condition, as in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionKind {
    /// Its target can be read, and its size can be set.
    AbleToScale,
    /// Its metrics give a number of replicas.
    ScalingActive,
    /// Bounds or rates keep it from that number.
    ScalingLimited,
    /// The fallback of an external metric is in use.
    ExternalMetricFallbackActive,
    /// The autoscaler itself scaled to zero.
    ScaledToZero,
}

/// A condition as in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub holds: bool,
    /// Its reason code, such as `ValidMetricFound`.
    pub reason: &'static str,
    /// A message for users.
    pub message: Arc<str>,
    /// When `holds` last changed; `None` when that is not recorded.
    pub since: Option<Wall>,
}

impl ConditionKind {
    /// All of them, in the order of the declaration.
    pub const ALL: [Self; 5] = [
        Self::AbleToScale,
        Self::ScalingActive,
        Self::ScalingLimited,
        Self::ExternalMetricFallbackActive,
        Self::ScaledToZero,
    ];

    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::AbleToScale => "AbleToScale",
            Self::ScalingActive => "ScalingActive",
            Self::ScalingLimited => "ScalingLimited",
            Self::ExternalMetricFallbackActive => "ExternalMetricFallbackActive",
            Self::ScaledToZero => "ScaledToZero",
        }
    }
}

impl RequiredChange {
    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Load => "load",
            Self::Release => "release",
            Self::Request => "request",
            Self::Mode => "mode",
            Self::Declaration => "declaration",
        }
    }
}

impl Policy {
    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Hold => "hold",
            Self::Off => "off",
            Self::Paused => "paused",
            Self::Schedule => "schedule",
            Self::Hpa => "hpa",
            Self::Unanimous => "unanimous",
            Self::Step => "step",
            Self::Watermarks => "watermarks",
            Self::TargetTracking => "targetTracking",
            Self::Burst => "burst",
            Self::Formula => "formula",
            Self::Composite => "composite",
            Self::Slo => "slo",
            Self::ToZero => "toZero",
        }
    }
}
