//! `autoscaling/v2beta2`: the metrics of v2, and its behavior without a tolerance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapes::{CrossVersionObjectReference, HPAScalingPolicy, ScalingPolicySelect};
use super::v2;

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
    pub metrics: Vec<v2::MetricSpec>,
    /// How fast the number may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
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
}

impl From<HorizontalPodAutoscalerSpec> for v2::HorizontalPodAutoscalerSpec {
    fn from(spec: HorizontalPodAutoscalerSpec) -> Self {
        Self {
            scale_target_ref: spec.scale_target_ref,
            min_replicas: spec.min_replicas,
            max_replicas: spec.max_replicas,
            metrics: spec.metrics,
            behavior: spec.behavior.map(v2::Behavior::from),
            selection_strategy: None,
        }
    }
}

impl From<Behavior> for v2::Behavior {
    fn from(behavior: Behavior) -> Self {
        Self {
            scale_up: behavior.scale_up.map(v2::HPAScalingRules::from),
            scale_down: behavior.scale_down.map(v2::HPAScalingRules::from),
        }
    }
}

impl From<HPAScalingRules> for v2::HPAScalingRules {
    fn from(rules: HPAScalingRules) -> Self {
        Self {
            stabilization_window_seconds: rules.stabilization_window_seconds,
            select_policy: rules.select_policy,
            policies: rules.policies,
            tolerance: None,
        }
    }
}
