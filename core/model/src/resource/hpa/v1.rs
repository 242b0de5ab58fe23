//! `autoscaling/v1`: one target for the processor; newer fields are in annotations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapes::{CrossVersionObjectReference, MetricSourceType, MetricTarget, MetricTargetType};
use super::{annotations, v2, v2beta1};
use crate::resource::Problems;
use crate::resource::metadata::ObjectMeta;

/// The desired state of an autoscaler in this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HorizontalPodAutoscalerSpec {
    /// The object that is scaled.
    pub scale_target_ref: CrossVersionObjectReference,
    /// The minimum of replicas. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// The maximum of replicas, at least `minReplicas`.
    pub max_replicas: i32,
    /// The mean processor usage of the replicas, in percent of their requests. Default: 80, if no annotation has metrics.
    #[serde(default, rename = "targetCPUUtilizationPercentage", skip_serializing_if = "Option::is_none")]
    pub target_cpu_utilization_percentage: Option<i32>,
}

/// The metrics of the annotation come first, then the target for the processor, as in Kubernetes' conversion.
pub(super) fn to_v2(
    spec: &HorizontalPodAutoscalerSpec,
    metadata: &ObjectMeta,
) -> Result<v2::HorizontalPodAutoscalerSpec, Problems> {
    let mut problems = Vec::new();
    let older: Vec<v2beta1::MetricSpec> =
        annotations::read(metadata, annotations::METRICS, &mut problems).unwrap_or_default();
    let mut metrics: Vec<v2::MetricSpec> = older.into_iter().map(v2::MetricSpec::from).collect();
    metrics.extend(spec.target_cpu_utilization_percentage.map(cpu_utilization));
    let behavior = annotations::read(metadata, annotations::BEHAVIOR, &mut problems);
    let v2 = v2::HorizontalPodAutoscalerSpec {
        scale_target_ref: spec.scale_target_ref.clone(),
        min_replicas: spec.min_replicas,
        max_replicas: spec.max_replicas,
        metrics,
        behavior,
        selection_strategy: None,
    };
    Problems::or(problems, v2)
}

/// Fields that do not exist in this version are in annotations.
pub(super) fn written_path(path: &str, metadata: &ObjectMeta) -> String {
    let annotation = |key: &str| format!("metadata.annotations.{key}");
    if path.starts_with("spec.behavior") {
        annotation(annotations::BEHAVIOR)
    } else if !path.starts_with("spec.metrics") {
        path.to_owned()
    } else if metadata.annotations.contains_key(annotations::METRICS) {
        annotation(annotations::METRICS)
    } else {
        "spec.targetCPUUtilizationPercentage".to_owned()
    }
}

fn cpu_utilization(percent: i32) -> v2::MetricSpec {
    let target = MetricTarget {
        kind: MetricTargetType::Utilization,
        value: None,
        average_value: None,
        average_utilization: Some(percent),
    };
    v2::MetricSpec {
        resource: Some(v2::ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..v2::MetricSpec::empty(MetricSourceType::Resource)
    }
}
