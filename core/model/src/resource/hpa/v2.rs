//! `autoscaling/v2`: the current version, and the schema of `scale` in a Service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::normal::normalize;
use super::shapes::{
    CrossVersionObjectReference, HPAScalingPolicy, MetricIdentifier, MetricSourceType, MetricTarget,
    ScalingPolicySelect,
};
use crate::resource::Quantity;

/// The desired state of an autoscaler in this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HorizontalPodAutoscalerSpec {
    /// The object that is scaled.
    pub scale_target_ref: CrossVersionObjectReference,
    /// The minimum of replicas; 0 requires a metric of type Object or External. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// The maximum of replicas, at least `minReplicas`.
    pub max_replicas: i32,
    /// The metrics; the one that proposes the most replicas counts. Default: cpu utilization at 80 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricSpec>,
    /// The scaling behavior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// Which pods count; stored, without effect: Homeostat always counts the replicas of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_strategy: Option<SelectionStrategy>,
}

/// Which pods count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectionStrategy {
    /// All that match the labels of the target.
    LabelSelector,
    /// Only those that the target owns.
    OwnerReference,
}

/// One metric: its type, and the field of that type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricSpec {
    /// The type, which defines the other field.
    #[serde(rename = "type")]
    pub kind: MetricSourceType,
    /// A metric of another object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectMetricSource>,
    /// A metric that the replicas report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsMetricSource>,
    /// The resource usage of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceMetricSource>,
    /// The resource usage of one container of each replica. A replica is a single process here, whatever the name of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ContainerResourceMetricSource>,
    /// An external metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMetricSource>,
}

impl MetricSpec {
    /// A metric of type `kind` without a source yet.
    pub const fn empty(kind: MetricSourceType) -> Self {
        Self { kind, object: None, pods: None, resource: None, container_resource: None, external: None }
    }
}

/// A metric of another object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectMetricSource {
    /// The object.
    pub described_object: CrossVersionObjectReference,
    /// The target, as a value or as a mean over the replicas.
    pub target: MetricTarget,
    /// The metric.
    pub metric: MetricIdentifier,
}

/// A metric that the replicas report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodsMetricSource {
    /// The metric; `http_requests_per_second` and `http_response_time_p99_seconds` are what Homeostat's proxy measures.
    pub metric: MetricIdentifier,
    /// The target of the mean over the replicas.
    pub target: MetricTarget,
}

/// The resource usage of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResourceMetricSource {
    /// cpu or memory.
    pub name: String,
    /// The target of the usage.
    pub target: MetricTarget,
}

/// The resource usage of one container of each replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerResourceMetricSource {
    /// cpu or memory.
    pub name: String,
    /// The target of the usage.
    pub target: MetricTarget,
    /// The container.
    pub container: String,
}

/// An external metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalMetricSource {
    /// The metric.
    pub metric: MetricIdentifier,
    /// The target, as a value or divided by the number of replicas.
    pub target: MetricTarget,
    /// The proposed replicas while the metric cannot be measured. Default: the number does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ExternalMetricFallback>,
}

/// The proposal while a metric cannot be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalMetricFallback {
    /// How long measurements must have failed without interruption: at least 180 seconds in a HorizontalPodAutoscaler, at least 1 in a
    /// Service. Default: 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_duration_seconds: Option<i32>,
    /// The proposed replicas from then on; above 0.
    pub replicas: i32,
}

/// The scaling behavior in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "HorizontalPodAutoscalerBehavior")]
pub struct Behavior {
    /// Scale-out. Default: 4 replicas or 100 %, whichever is more, in 15 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<HPAScalingRules>,
    /// Scale-in. Default: 100 % in 15 seconds, with a stabilization window of 300 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<HPAScalingRules>,
}

/// The scaling rules in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HPAScalingRules {
    /// The window from which the recommendation with the smallest change is taken, 0 to 3600 seconds. Default: 0 up, 300 down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<i32>,
    /// The policy that applies. Default: Max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<ScalingPolicySelect>,
    /// The allowed changes within a time; a list replaces the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<HPAScalingPolicy>>,
    /// The relative deviation from the target that causes no change, at least 0. Default: 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Quantity>,
}
