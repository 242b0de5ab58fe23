//! Types that several versions of the HorizontalPodAutoscaler share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::Labels;
use crate::resource::Quantity;

/// A reference to an object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CrossVersionObjectReference {
    /// Its kind, such as Deployment or Service; Homeostat uses the Service of that name for any kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The version of its API, such as apps/v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
}

/// Selects by labels; all conditions must be met. An empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions that must be met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// The label.
    pub key: String,
    /// The condition.
    pub operator: SelectorOperator,
    /// The values that In and NotIn compare with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether `labels` meet all conditions. A missing label has none of the values of NotIn.
    ///
    /// Source: Kubernetes `apimachinery/pkg/labels/selector.go`, `Requirement.Matches`.
    pub fn selects(&self, labels: &Labels) -> bool {
        let value = |key: &str| labels.get(key).map(|value| &**value);
        let has_value = |(key, wanted): (&String, &String)| value(key) == Some(wanted);
        self.match_labels.iter().all(has_value)
            && self.match_expressions.iter().all(|requirement| {
                let value = value(&requirement.key);
                let is_one = value.is_some_and(|value| requirement.values.iter().any(|it| it == value));
                match requirement.operator {
                    SelectorOperator::In => is_one,
                    SelectorOperator::NotIn => !is_one,
                    SelectorOperator::Exists => value.is_some(),
                    SelectorOperator::DoesNotExist => value.is_none(),
                }
            })
    }
}

/// A condition on a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// It has one of the values.
    In,
    /// It has none of the values.
    NotIn,
    /// It exists.
    Exists,
    /// It does not exist.
    DoesNotExist,
}

/// The type of the source of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricSourceType {
    /// The resource usage of replicas.
    Resource,
    /// The resource usage of one container of each replica.
    ContainerResource,
    /// A metric that the replicas report.
    Pods,
    /// A metric of another object.
    Object,
    /// An external metric.
    External,
}

impl MetricSourceType {
    /// The field that holds a source of this type.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::ContainerResource => "containerResource",
            Self::Pods => "pods",
            Self::Object => "object",
            Self::External => "external",
        }
    }
}

/// Identifies a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricIdentifier {
    /// Its name.
    pub name: String,
    /// The selector of its series. Default: all series of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// The target of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricTarget {
    /// The type, which defines which of the values is used.
    #[serde(rename = "type")]
    pub kind: MetricTargetType,
    /// The value itself; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Quantity>,
    /// The mean over the replicas; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<Quantity>,
    /// The mean over the replicas in percent of their requests; above 0. For Resource and ContainerResource only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_utilization: Option<i32>,
}

/// Which value of a metric is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricTargetType {
    /// Percent of the request.
    Utilization,
    /// The value itself.
    Value,
    /// The mean over the replicas.
    AverageValue,
}

/// The selection among several policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingPolicySelect {
    /// The policy that allows the largest change.
    Max,
    /// The policy that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// An allowed change within a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HPAScalingPolicy {
    /// The unit of the value.
    #[serde(rename = "type")]
    pub kind: HPAScalingPolicyType,
    /// The allowed change; above 0.
    pub value: i32,
    /// The time, 1 to 1800 seconds.
    pub period_seconds: i32,
}

/// The unit of the value of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HPAScalingPolicyType {
    /// Replicas.
    Pods,
    /// Percent of the replicas at the begin of the period.
    Percent,
}
