//! The record of a scaling decision: its inputs, its arithmetic, and what changed it on the way.

use std::sync::Arc;

use crate::name::ServiceName;
use crate::reason::Reason;
use crate::time::Now;

/// One scaling decision, whole: enough to follow the arithmetic by hand.
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
    /// What each metric said; empty when no metric was asked.
    pub metrics: Vec<MetricVerdict>,
    /// What changed the number after the metrics, in order.
    pub limits: Vec<Limit>,
    /// Kubernetes' conditions of a HorizontalPodAutoscaler; empty for other policies.
    pub conditions: Vec<Condition>,
    /// What the guard refused of it; `None` when nothing.
    pub guard: Option<Reason>,
    /// The decision in one sentence.
    pub summary: Arc<str>,
}

/// A decision whose words are made only when somebody asks for them: most are the same as the last, and unread.
pub trait Account: std::fmt::Debug + Send + Sync {
    /// The record, in words.
    fn decision(&self) -> Decision;
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
    /// A schedule says other than the fixed size.
    Schedule,
    /// Kubernetes' horizontal pod autoscaler algorithm.
    Hpa,
    /// As `Hpa`, but all metrics must agree on a change.
    Unanimous,
    /// Nobody asks for anything, or somebody does again.
    ToZero,
}

/// What one metric said.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricVerdict {
    /// Such as `cpu`, `memory` or `http_requests_per_second`.
    pub name: Arc<str>,
    /// What was measured and what is aimed at, with units: `62 %` of `50 %`.
    pub current: Arc<str>,
    /// The aim.
    pub target: Arc<str>,
    /// Measured ÷ aimed at; `None` when nothing was measured.
    pub ratio: Option<f64>,
    /// Replicas that this metric asks for; `None` when it cannot say.
    pub proposal: Option<u32>,
    /// The arithmetic, or why there is none.
    pub note: Arc<str>,
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

/// A condition in Kubernetes' manner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Such as `ScalingActive`.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Its reason code, such as `ValidMetricFound`.
    pub reason: &'static str,
    /// For people.
    pub message: Arc<str>,
}

impl Policy {
    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Hold => "hold",
            Self::Off => "off",
            Self::Schedule => "schedule",
            Self::Hpa => "hpa",
            Self::Unanimous => "unanimous",
            Self::ToZero => "toZero",
        }
    }
}
