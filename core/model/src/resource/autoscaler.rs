//! The normal form of an autoscaler, independent of the version of its manifest.
//!
//! The terms and defaults are those of `autoscaling/v2`. It is created only after validation, so that the planner gets only metrics with
//! a target, ordered bounds, and rules with at least one policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hpa::shapes::{CrossVersionObjectReference, LabelSelector};
use super::{Bounds, Quantity, ScalePolicy};
use crate::name::ServiceName;

/// The Pods metric from the proxy's counters: requests that a replica served, per second.
pub const REQUEST_RATE_METRIC: &str = "http_requests_per_second";

/// The Pods metric of the proxy's latencies: the 99th percentile of a replica in seconds; 0 while it has no requests.
pub const RESPONSE_TIME_METRIC: &str = "http_response_time_p99_seconds";

/// The default minimum of replicas.
pub const MIN_REPLICAS_DEFAULT: u32 = 1;

/// The target of the default cpu metric of a manifest without metrics.
pub const CPU_UTILIZATION_DEFAULT: Percent = Percent(80);

/// The default stabilization window of scale-in.
///
/// Source: kube-controller-manager `--horizontal-pod-autoscaler-downscale-stabilization`.
pub const SCALE_IN_STABILIZATION_DEFAULT: Duration = Duration::from_secs(300);

/// A whole percentage, above 0. 100 is all of the request; more is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Percent(pub u32);

/// The targets, the service and the bounds of an autoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerSpec {
    /// The service that it scales.
    pub service: ServiceName,
    /// The minimum of replicas, at most `max`; 0 only with a metric of type Object or External.
    pub min: u32,
    /// The maximum of replicas, at least 1.
    pub max: u32,
    /// The metrics, at least one.
    pub metrics: Vec<MetricSpec>,
    /// How the number of replicas follows from them.
    #[serde(default, skip_serializing_if = "ScalePolicy::is_hpa")]
    pub policy: ScalePolicy,
    /// The scaling behavior; `None` means HPA's rules from before `behavior` existed.
    pub behavior: Option<Behavior>,
}

impl AutoscalerSpec {
    /// Its bounds.
    pub fn bounds(&self) -> Bounds {
        Bounds { min: self.min, max: self.max }
    }
}

/// A metric and its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricSpec {
    /// The resource usage of replicas.
    Resource {
        /// The resource.
        resource: MeteredResource,
        /// The target.
        target: ResourceTarget,
    },
    /// The resource usage of one container of each replica.
    ContainerResource {
        /// The container.
        container: String,
        /// The resource.
        resource: MeteredResource,
        /// The target.
        target: ResourceTarget,
    },
    /// A metric that the replicas report, averaged over them.
    Pods {
        /// The metric; [`REQUEST_RATE_METRIC`] and [`RESPONSE_TIME_METRIC`] are measured by the proxy.
        metric: MetricIdentifier,
        /// The target of the mean.
        average: Quantity,
    },
    /// A metric of another object.
    Object {
        /// The object.
        object: CrossVersionObjectReference,
        /// The metric.
        metric: MetricIdentifier,
        /// The target.
        target: TotalTarget,
    },
    /// An external metric.
    External {
        /// The metric.
        metric: MetricIdentifier,
        /// The target.
        target: TotalTarget,
        /// The fallback while it has no measurement; `None` means that the size does not change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<Fallback>,
    },
}

/// The fallback of a metric that could not be measured for some time.
///
/// Source: Kubernetes KEP-5679, `external.fallback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// How long measurements must have failed without interruption.
    pub after: Duration,
    /// The proposed replicas, at least 1.
    pub replicas: u32,
}

/// Whether the proxy measures the Pods metric of this name.
pub fn is_of_proxy(name: &str) -> bool {
    name == REQUEST_RATE_METRIC || name == RESPONSE_TIME_METRIC
}

impl MetricSpec {
    /// The resource whose utilization, relative to the request, is the target.
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

    /// The declared fallback while it has no measurement.
    pub fn fallback(&self) -> Option<Fallback> {
        match self {
            Self::External { fallback, .. } => *fallback,
            Self::Resource { .. }
            | Self::ContainerResource { .. }
            | Self::Pods { .. }
            | Self::Object { .. } => None,
        }
    }

    /// Its name in policies: that of the resource or of the metric.
    pub fn name(&self) -> &str {
        match self {
            Self::Resource { resource, .. } | Self::ContainerResource { resource, .. } => resource.as_str(),
            Self::Pods { metric, .. } | Self::Object { metric, .. } | Self::External { metric, .. } => {
                &metric.name
            }
        }
    }
}

/// The resources of replicas that Homeostat measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MeteredResource {
    /// Processor, in cores.
    Cpu,
    /// Memory, in bytes.
    Memory,
}

impl MeteredResource {
    /// Its name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// The target of a resource usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceTarget {
    /// A percentage of the request, as a mean over the replicas.
    Utilization(Percent),
    /// An amount, as a mean over the replicas. Above 0.
    Average(Quantity),
}

/// The target of a metric of the service as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TotalTarget {
    /// The value itself. Above 0.
    Value(Quantity),
    /// The value divided by the number of replicas. Above 0.
    Average(Quantity),
}

/// Identifies a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricIdentifier {
    /// Its name; never empty.
    pub name: String,
    /// The selector of its series; `None` means all.
    pub selector: Option<LabelSelector>,
}

/// The scaling behavior in both directions, with all defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Scale-out.
    pub scale_up: ScalingRules,
    /// Scale-in.
    pub scale_down: ScalingRules,
}

/// The scaling rules in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRules {
    /// The window from which the smallest change is taken, 0 to 3600 s.
    pub stabilization: Duration,
    /// The policy that applies.
    pub select: SelectPolicy,
    /// The allowed changes within a time; at least one.
    pub policies: Vec<ScalingPolicy>,
    /// The relative deviation from the target that causes no change, at least 0; `None` means the default of 0.1.
    pub tolerance: Option<Quantity>,
}

/// The selection among several policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SelectPolicy {
    /// The policy that allows the largest change.
    Max,
    /// The policy that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// An allowed change within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// The change.
    pub change: PolicyChange,
    /// The time, 1 to 1800 s.
    pub period: Duration,
}

/// The change that a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyChange {
    /// This many replicas, at least 1.
    Pods(u32),
    /// This percentage of the replicas at the begin of the time.
    Percent(Percent),
}
