//! One autoscaler in its normal form, whichever manifest it was written in.
//!
//! The words and defaults are those of `autoscaling/v2`. Every door checks before it makes one, so that the planner
//! meets only metrics with a target, bounds in order, and rules with at least one policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hpa::shapes::{CrossVersionObjectReference, LabelSelector};
use super::{Bounds, Quantity, ScalePolicy};
use crate::name::ServiceName;

/// The Pods metric that the proxy's own counters answer: requests that a replica served, per second.
pub const REQUEST_RATE_METRIC: &str = "http_requests_per_second";

/// The Pods metric that the proxy measures besides: how long a replica takes for 99 of 100 requests, in seconds; 0 while it is asked for nothing.
pub const RESPONSE_TIME_METRIC: &str = "http_response_time_p99_seconds";

/// Fewest replicas when a manifest does not say.
pub const MIN_REPLICAS_DEFAULT: u32 = 1;

/// Target of the cpu metric that stands in where a manifest gives no metric.
pub const CPU_UTILIZATION_DEFAULT: Percent = Percent(80);

/// How long scale-in waits for a higher recommendation to age when `behavior` does not say.
///
/// Source: kube-controller-manager `--horizontal-pod-autoscaler-downscale-stabilization`.
pub const SCALE_IN_STABILIZATION_DEFAULT: Duration = Duration::from_secs(300);

/// A whole number of hundredths, above 0. 100 is all that was requested; more is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Percent(pub u32);

/// What an autoscaler keeps, for which service, between which bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerSpec {
    /// The service that it scales.
    pub service: ServiceName,
    /// Fewest replicas, at most `max`; 0 only with a metric of type Object or External.
    pub min: u32,
    /// Most replicas, at least 1.
    pub max: u32,
    /// What is measured, at least one.
    pub metrics: Vec<MetricSpec>,
    /// How a number follows from what they measure.
    #[serde(default, skip_serializing_if = "ScalePolicy::is_hpa")]
    pub policy: ScalePolicy,
    /// How fast the number may change; none means HPA's rules from before `behavior` existed.
    pub behavior: Option<Behavior>,
}

impl AutoscalerSpec {
    /// Between how many replicas it scales.
    pub fn bounds(&self) -> Bounds {
        Bounds { min: self.min, max: self.max }
    }
}

/// One metric and the value that it should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricSpec {
    /// What whole replicas use.
    Resource {
        /// What they use.
        resource: MeteredResource,
        /// How much of it.
        target: ResourceTarget,
    },
    /// What one container of each replica uses.
    ContainerResource {
        /// Which container.
        container: String,
        /// What it uses.
        resource: MeteredResource,
        /// How much of it.
        target: ResourceTarget,
    },
    /// What replicas report of themselves, averaged over them.
    Pods {
        /// Which metric; [`REQUEST_RATE_METRIC`] and [`RESPONSE_TIME_METRIC`] are the proxy's.
        metric: MetricIdentifier,
        /// The mean that it should have.
        average: Quantity,
    },
    /// What is reported of one other object.
    Object {
        /// Of which.
        object: CrossVersionObjectReference,
        /// Which metric.
        metric: MetricIdentifier,
        /// The value that it should have.
        target: TotalTarget,
    },
    /// What is measured outside.
    External {
        /// Which metric.
        metric: MetricIdentifier,
        /// The value that it should have.
        target: TotalTarget,
        /// What stands in while it gives nothing; none means that the size is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<Fallback>,
    },
}

/// What a metric asks for that has given nothing for long.
///
/// Source: Kubernetes KEP-5679, `external.fallback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// For how long it must have given nothing, without a break.
    pub after: Duration,
    /// This many replicas, at least 1.
    pub replicas: u32,
}

/// Whether the proxy measures the Pods metric of this name.
pub fn is_of_proxy(name: &str) -> bool {
    name == REQUEST_RATE_METRIC || name == RESPONSE_TIME_METRIC
}

impl MetricSpec {
    /// The resource of which it aims at a share of what is requested.
    pub fn shared(&self) -> Option<MeteredResource> {
        match self {
            Self::Resource { resource, target } | Self::ContainerResource { resource, target, .. } => {
                match target {
                    ResourceTarget::Utilization(_) => Some(*resource),
                    ResourceTarget::Average(_) => None,
                }
            }
            Self::Pods { .. } | Self::Object { .. } | Self::External { .. } => None,
        }
    }

    /// What stands in while it gives nothing, where that is declared.
    pub fn fallback(&self) -> Option<Fallback> {
        match self {
            Self::External { fallback, .. } => *fallback,
            Self::Resource { .. }
            | Self::ContainerResource { .. }
            | Self::Pods { .. }
            | Self::Object { .. } => None,
        }
    }

    /// The name that policies know it by: the resource's, or the metric's.
    pub fn name(&self) -> &str {
        match self {
            Self::Resource { resource, .. } | Self::ContainerResource { resource, .. } => resource.as_str(),
            Self::Pods { metric, .. } | Self::Object { metric, .. } | Self::External { metric, .. } => {
                &metric.name
            }
        }
    }
}

/// What replicas use and Homeostat meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MeteredResource {
    /// Processor, in cores.
    Cpu,
    /// Memory, in bytes.
    Memory,
}

impl MeteredResource {
    /// The name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// How much of a resource should be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceTarget {
    /// Of what is requested, as a mean over the replicas.
    Utilization(Percent),
    /// As a plain amount, as a mean over the replicas. Above 0.
    Average(Quantity),
}

/// The value that a metric of the whole service should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TotalTarget {
    /// As it is. Above 0.
    Value(Quantity),
    /// Divided by the number of replicas. Above 0.
    Average(Quantity),
}

/// Which metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricIdentifier {
    /// Its name; never empty.
    pub name: String,
    /// Which of its series; none means all that the name has.
    pub selector: Option<LabelSelector>,
}

/// How fast the number of replicas may change, each way, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Towards more replicas.
    pub scale_up: ScalingRules,
    /// Towards fewer replicas.
    pub scale_down: ScalingRules,
}

/// How fast the number of replicas may change one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRules {
    /// The window whose least change is taken, 0 to 3600 s.
    pub stabilization: Duration,
    /// Which of the policies holds.
    pub select: SelectPolicy,
    /// How much change is allowed in which time; at least one.
    pub policies: Vec<ScalingPolicy>,
    /// The part by which a metric may miss its target without a change, at least 0; none means the loop's default of 0.1.
    pub tolerance: Option<Quantity>,
}

/// Which of several policies holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SelectPolicy {
    /// The one that allows most change.
    Max,
    /// The one that allows least change.
    Min,
    /// None: no change this way.
    Disabled,
}

/// How much change is allowed in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// How much.
    pub change: PolicyChange,
    /// In which time, 1 to 1800 s.
    pub period: Duration,
}

/// How much change a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyChange {
    /// This many replicas, at least 1.
    Pods(u32),
    /// This share of the replicas there were.
    Percent(Percent),
}
