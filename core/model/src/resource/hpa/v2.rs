//! `autoscaling/v2`: the form of today, and the words of `scale` in a Service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::normal::normalize;
use super::shapes::{
    CrossVersionObjectReference, HPAScalingPolicy, MetricIdentifier, MetricSourceType, MetricTarget,
    ScalingPolicySelect,
};
use crate::resource::Quantity;

/// What an autoscaler of this form asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HorizontalPodAutoscalerSpec {
    /// What is scaled.
    pub scale_target_ref: CrossVersionObjectReference,
    /// Fewest replicas; 0 needs a metric of type Object or External. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Most replicas, at least `minReplicas`.
    pub max_replicas: i32,
    /// What is measured; the metric that asks for most wins. Default: cpu utilization at 80 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricSpec>,
    /// How fast the number may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// Which pods count; kept, and without effect: Homeostat always counts the service's own replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_strategy: Option<SelectionStrategy>,
}

/// Which pods count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectionStrategy {
    /// All that the target's labels select.
    LabelSelector,
    /// Only those that the target owns.
    OwnerReference,
}

/// One metric: its type, and the field of that type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricSpec {
    /// Which of the other fields is meant.
    #[serde(rename = "type")]
    pub kind: MetricSourceType,
    /// What is reported of one other object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectMetricSource>,
    /// What replicas report of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsMetricSource>,
    /// What whole replicas use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceMetricSource>,
    /// What one container of each replica uses. A replica is one program here, which is meant whatever the name of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ContainerResourceMetricSource>,
    /// What is measured outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMetricSource>,
}

impl MetricSpec {
    /// A metric of type `kind` whose source is still to be filled in.
    pub const fn empty(kind: MetricSourceType) -> Self {
        Self { kind, object: None, pods: None, resource: None, container_resource: None, external: None }
    }
}

/// What is reported of one other object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectMetricSource {
    /// The object.
    pub described_object: CrossVersionObjectReference,
    /// The value that the metric should have, as it is or as a mean over the replicas.
    pub target: MetricTarget,
    /// The metric.
    pub metric: MetricIdentifier,
}

/// What replicas report of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodsMetricSource {
    /// The metric; `http_requests_per_second` and `http_response_time_p99_seconds` are what Homeostat's proxy measures.
    pub metric: MetricIdentifier,
    /// The mean over the replicas that it should have.
    pub target: MetricTarget,
}

/// What whole replicas use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResourceMetricSource {
    /// cpu or memory.
    pub name: String,
    /// How much should be used.
    pub target: MetricTarget,
}

/// What one container of each replica uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerResourceMetricSource {
    /// cpu or memory.
    pub name: String,
    /// How much should be used.
    pub target: MetricTarget,
    /// The container.
    pub container: String,
}

/// What is measured outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalMetricSource {
    /// The metric.
    pub metric: MetricIdentifier,
    /// The value that it should have, as it is or divided by the number of replicas.
    pub target: MetricTarget,
    /// How many replicas are asked for while the metric cannot be measured. Default: the number is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ExternalMetricFallback>,
}

/// What is asked for while a metric cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalMetricFallback {
    /// How long measuring must have failed, without a break: at least 180 seconds in a HorizontalPodAutoscaler, at least 1 in a
    /// Service. Default: 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_duration_seconds: Option<i32>,
    /// How many replicas are asked for from then on; above 0.
    pub replicas: i32,
}

/// How fast the number of replicas may change, each way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "HorizontalPodAutoscalerBehavior")]
pub struct Behavior {
    /// Towards more replicas. Default: 4 or 100 %, whichever is more, in 15 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<HPAScalingRules>,
    /// Towards fewer replicas. Default: 100 % in 15 seconds, after 300 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<HPAScalingRules>,
}

/// How fast the number of replicas may change one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HPAScalingRules {
    /// The window over which the recommendation with the least change is taken, 0 to 3600 seconds. Default: 0 up, 300 down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<i32>,
    /// Which of the policies holds. Default: Max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<ScalingPolicySelect>,
    /// How much change is allowed within which time; a list given here replaces the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<HPAScalingPolicy>>,
    /// How far a metric may be off its target without a change, as a part of the target, at least 0. Default: 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Quantity>,
}
