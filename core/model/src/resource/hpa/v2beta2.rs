//! `autoscaling/v2beta2`: the metrics of v2, and its behavior without a tolerance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapes::{CrossVersionObjectReference, HPAScalingPolicy, ScalingPolicySelect};
use super::v2;

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
    pub metrics: Vec<v2::MetricSpec>,
    /// The scaling behavior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
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
