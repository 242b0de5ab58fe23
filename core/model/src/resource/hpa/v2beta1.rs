//! `autoscaling/v2beta1`: several metrics, with the targets beside the names. Manifests of this version are still common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapes::{
    CrossVersionObjectReference, LabelSelector, MetricIdentifier, MetricSourceType, MetricTarget,
    MetricTargetType,
};
use super::{annotations, v2};
use crate::resource::metadata::ObjectMeta;
use crate::resource::{Problems, Quantity};

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

/// A metric of another object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectMetricSource {
    /// The object.
    pub target: CrossVersionObjectReference,
    /// The metric.
    pub metric_name: String,
    /// The target value; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_value: Option<Quantity>,
    /// The selector of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// The target of the mean over the replicas; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<Quantity>,
}

/// A metric that the replicas report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodsMetricSource {
    /// The metric; `http_requests_per_second` and `http_response_time_p99_seconds` are what Homeostat's proxy measures.
    pub metric_name: String,
    /// The target of the mean over the replicas; above 0.
    pub target_average_value: Quantity,
    /// The selector of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// The resource usage of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResourceMetricSource {
    /// cpu or memory.
    pub name: String,
    /// The target of the mean over the replicas, in percent of their requests; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_average_utilization: Option<i32>,
    /// The target of the mean over the replicas, as an amount; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_average_value: Option<Quantity>,
}

/// The resource usage of one container of each replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerResourceMetricSource {
    /// cpu or memory.
    pub name: String,
    /// The target of the mean over the replicas, in percent of their requests; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_average_utilization: Option<i32>,
    /// The target of the mean over the replicas, as an amount; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_average_value: Option<Quantity>,
    /// The container.
    pub container: String,
}

/// An external metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalMetricSource {
    /// The metric.
    pub metric_name: String,
    /// The selector of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_selector: Option<LabelSelector>,
    /// The target value; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_value: Option<Quantity>,
    /// The target of the value divided by the number of replicas; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_average_value: Option<Quantity>,
}

pub(super) fn to_v2(
    spec: &HorizontalPodAutoscalerSpec,
    metadata: &ObjectMeta,
) -> Result<v2::HorizontalPodAutoscalerSpec, Problems> {
    let mut problems = Vec::new();
    let behavior = annotations::read(metadata, annotations::BEHAVIOR, &mut problems);
    let v2 = v2::HorizontalPodAutoscalerSpec {
        scale_target_ref: spec.scale_target_ref.clone(),
        min_replicas: spec.min_replicas,
        max_replicas: spec.max_replicas,
        metrics: spec.metrics.iter().cloned().map(v2::MetricSpec::from).collect(),
        behavior,
        selection_strategy: None,
    };
    Problems::or(problems, v2)
}

/// The targets are beside the names in this version, and the behavior is in an annotation.
pub(super) fn written_path(path: &str) -> String {
    if path.starts_with("spec.behavior") {
        return format!("metadata.annotations.{}", annotations::BEHAVIOR);
    }
    let average_value = if path.contains(".object.") { ".averageValue" } else { ".targetAverageValue" };
    let endings = [
        (".target.averageUtilization", ".targetAverageUtilization"),
        (".target.averageValue", average_value),
        (".target.value", ".targetValue"),
        (".target", ""),
        (".metric.name", ".metricName"),
    ];
    let found = endings.into_iter().find_map(|(newer, older)| Some((path.strip_suffix(newer)?, older)));
    found.map_or_else(|| path.to_owned(), |(start, older)| format!("{start}{older}"))
}

impl From<MetricSpec> for v2::MetricSpec {
    fn from(metric: MetricSpec) -> Self {
        Self {
            kind: metric.kind,
            object: metric.object.map(v2::ObjectMetricSource::from),
            pods: metric.pods.map(v2::PodsMetricSource::from),
            resource: metric.resource.map(v2::ResourceMetricSource::from),
            container_resource: metric.container_resource.map(v2::ContainerResourceMetricSource::from),
            external: metric.external.map(v2::ExternalMetricSource::from),
        }
    }
}

impl From<ObjectMetricSource> for v2::ObjectMetricSource {
    /// An average decides the type if there is one; both values are kept.
    fn from(source: ObjectMetricSource) -> Self {
        let kind = match source.average_value {
            Some(_) => MetricTargetType::AverageValue,
            None => MetricTargetType::Value,
        };
        Self {
            described_object: source.target,
            target: MetricTarget {
                kind,
                value: source.target_value,
                average_value: source.average_value,
                average_utilization: None,
            },
            metric: MetricIdentifier { name: source.metric_name, selector: source.selector },
        }
    }
}

impl From<PodsMetricSource> for v2::PodsMetricSource {
    fn from(source: PodsMetricSource) -> Self {
        Self {
            metric: MetricIdentifier { name: source.metric_name, selector: source.selector },
            target: MetricTarget {
                kind: MetricTargetType::AverageValue,
                value: None,
                average_value: Some(source.target_average_value),
                average_utilization: None,
            },
        }
    }
}

fn resource_target(utilization: Option<i32>, average_value: Option<Quantity>) -> MetricTarget {
    let kind = match utilization {
        Some(_) => MetricTargetType::Utilization,
        None => MetricTargetType::AverageValue,
    };
    MetricTarget { kind, value: None, average_value, average_utilization: utilization }
}

impl From<ResourceMetricSource> for v2::ResourceMetricSource {
    fn from(source: ResourceMetricSource) -> Self {
        let target = resource_target(source.target_average_utilization, source.target_average_value);
        Self { name: source.name, target }
    }
}

impl From<ContainerResourceMetricSource> for v2::ContainerResourceMetricSource {
    fn from(source: ContainerResourceMetricSource) -> Self {
        let target = resource_target(source.target_average_utilization, source.target_average_value);
        Self { name: source.name, target, container: source.container }
    }
}

impl From<ExternalMetricSource> for v2::ExternalMetricSource {
    fn from(source: ExternalMetricSource) -> Self {
        let kind = match source.target_value {
            Some(_) => MetricTargetType::Value,
            None => MetricTargetType::AverageValue,
        };
        Self {
            metric: MetricIdentifier { name: source.metric_name, selector: source.metric_selector },
            target: MetricTarget {
                kind,
                value: source.target_value,
                average_value: source.target_average_value,
                average_utilization: None,
            },
            fallback: None,
        }
    }
}
