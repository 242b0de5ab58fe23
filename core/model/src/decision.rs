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
    /// The verdict on each metric; empty when no metric was asked.
    pub metrics: Vec<MetricVerdict>,
    /// How far a ratio may be from 1 without a change; `None` when no ratio was taken.
    pub tolerance: Option<Tolerance>,
    /// What changed the number after the metrics, in order.
    pub limits: Vec<Limit>,
    /// Earlier decisions that caused those limits, latest first; at most [`EVIDENCE_MAX`].
    pub evidence: Vec<Evidence>,
    /// Kubernetes' conditions of a HorizontalPodAutoscaler; empty for other policies.
    pub conditions: Vec<Condition>,
    /// What the guard refused of it; `None` when nothing.
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
    /// The decision, whole.
    pub decision: Decision,
}

/// A decision that is put into words only when somebody asks: most decisions equal the last one and are never read.
pub trait Account: std::fmt::Debug + Send + Sync {
    /// The record, in words.
    fn decision(&self) -> Decision;

    /// Replicas wanted from then on: [`Decision::desired`] without its words.
    fn desired(&self) -> u32;

    /// A number that two decisions on a service share when they have the same outcome for the same reason, whatever was measured.
    fn fingerprint(&self) -> u64;

    /// The size that the metrics ask for and that may not run; `None` when the metrics were followed.
    fn unmet(&self) -> Option<Unmet>;

    /// How far each metric is from its target: measured ÷ target, `None` when nothing was measured. In the order of [`Decision::metrics`].
    fn ratios(&self) -> Vec<Option<f64>>;

    /// What would have to change for another outcome, found by deciding again with only that changed.
    ///
    /// Costs some thousand decisions: meant for people who ask and for the history, not for each decision.
    fn prospects(&self) -> Vec<Prospect>;

    /// Why the number that is `asked` about was not decided, and what it would take. Costs as much as [`Self::prospects`].
    fn why_not(&self, asked: Asked) -> WhyNot;
}

/// More replicas than may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unmet {
    /// How many the metrics ask for; above `most`.
    pub asked: u32,
    /// How many run, and may; at least 1.
    pub most: u32,
}

/// A decision that was made, and what became of it.
#[derive(Clone, Debug)]
pub struct Decided {
    /// On which service.
    pub service: ServiceName,
    /// When.
    pub at: Now,
    /// The decision.
    pub account: Arc<dyn Account>,
    /// What the guard refused of it; `None` when nothing.
    pub guard: Option<Reason>,
}

/// Equal when service, time, outcome and reason are.
impl PartialEq for Decided {
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.at, it.account.fingerprint());
        self.service == other.service && of(self) == of(other) && self.guard == other.guard
    }
}

/// A number of replicas that was not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// More than was decided.
    Out,
    /// Fewer than was decided.
    In,
    /// Just so many.
    Exactly(u32),
}

/// Why something was not decided.
#[derive(Clone, Debug, PartialEq)]
pub struct WhyNot {
    /// The reasons against it, in sentences, from the first cause to the last.
    pub because: Vec<Arc<str>>,
    /// What it would take.
    pub prospects: Vec<Prospect>,
}

/// Another outcome, and what would have to change for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// Replicas wanted then; the same as now when no change leads elsewhere.
    pub desired: u32,
    /// What has to change.
    pub need: Need,
    /// The levels that metrics would have to reach; empty when the load need not change.
    pub levels: Vec<MetricLevel>,
    /// When it would be decided; `None` for at once.
    pub at: Option<Wall>,
    /// All of it in one sentence.
    pub note: Arc<str>,
}

/// What has to change for another outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing but the time.
    Time,
    /// The load.
    Load,
    /// The hold or the pause of a person has to end.
    Release,
    /// A request has to come.
    Request,
    /// `spec.scale.mode` has to be `on`.
    Mode,
    /// The declaration: no load and no time leads there.
    Declaration,
}

/// Where a metric would have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricLevel {
    /// Which metric.
    pub name: Arc<str>,
    /// Where it would be, with its unit.
    pub level: Arc<str>,
}

/// How far a ratio may be from 1 without a change, as parts of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above 1.
    pub up: f64,
    /// Below 1.
    pub down: f64,
}

/// Most earlier decisions that a record names as causes of its limits.
///
/// 8: a rate policy that has counted more changes is understood from the latest.
pub const EVIDENCE_MAX: usize = 8;

/// Something earlier that limits a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// When it was.
    pub at: Wall,
    /// What.
    pub what: Earlier,
}

/// What was earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Earlier {
    /// So many replicas were recommended.
    Recommended(u32),
    /// So many were added.
    Added(u32),
    /// So many were taken away.
    Removed(u32),
}

/// The number of replicas, by what became of their samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleCount {
    /// Counted with their sample.
    pub used: u32,
    /// Not at work yet.
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
    /// A person holds it.
    Hold,
    /// A person has turned its autoscaler off.
    Off,
    /// A person has paused its autoscaler.
    Paused,
    /// A schedule says other than the fixed size.
    Schedule,
    /// Kubernetes' horizontal pod autoscaler algorithm.
    Hpa,
    /// As `Hpa`, but all metrics must agree on a change.
    Unanimous,
    /// Steps by how high or how low one metric is.
    Step,
    /// High and low watermark of one metric.
    Watermarks,
    /// As `Hpa`, but replicas that have just begun are waited for.
    TargetTracking,
    /// A long mean of one metric, and a short one while load multiplies.
    Burst,
    /// A formula over several metrics.
    Formula,
    /// A weighted mean of all metrics.
    Composite,
    /// As many as keep an SLO at the least cost.
    Slo,
    /// Scaled to zero while there are no requests, and back when one comes.
    ToZero,
}

/// The verdict on one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricVerdict {
    /// Such as `cpu`, `memory` or `http_requests_per_second`.
    pub name: Arc<str>,
    /// What was measured, with its unit, such as `62 %`.
    pub current: Arc<str>,
    /// The target, with its unit, such as `50 %`.
    pub target: Arc<str>,
    /// Measured ÷ target; `None` when nothing was measured.
    pub ratio: Option<f64>,
    /// Replicas that this metric asks for; `None` when it cannot say.
    pub proposal: Option<u32>,
    /// Whose samples counted; `None` for a metric of no replicas.
    pub samples: Option<SampleCount>,
    /// The arithmetic, or why there is none.
    pub note: Arc<str>,
}

impl MetricVerdict {
    /// What stands for [`Self::current`] where nothing was measured.
    pub const UNKNOWN: &str = "unknown";

    /// Whether anything was measured.
    pub fn is_measured(&self) -> bool {
        &*self.current != Self::UNKNOWN
    }
}

/// A step that changed the number after the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Which limit: a reason code of the HPA (`ScaleDownStabilized`, `ScaleUpLimit`, `TooManyReplicas` …).
    pub name: &'static str,
    /// Replicas before it.
    pub from: u32,
    /// Replicas after it.
    pub to: u32,
    /// Its numbers in a sentence.
    pub note: Arc<str>,
}

/// What a condition of a HorizontalPodAutoscaler is about, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionKind {
    /// Its target can be read and its size be set.
    AbleToScale,
    /// Its metrics give a number.
    ScalingActive,
    /// Bounds or rates keep it from that number.
    ScalingLimited,
    /// Something stands in for an external metric.
    ExternalMetricFallbackActive,
    /// It took the last replica away itself.
    ScaledToZero,
}

/// A condition in Kubernetes' manner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// What it is about.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub holds: bool,
    /// Its reason code, such as `ValidMetricFound`.
    pub reason: &'static str,
    /// For people.
    pub message: Arc<str>,
    /// Since when it holds, or does not; `None` where nothing is remembered.
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

impl Need {
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
