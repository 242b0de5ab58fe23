//! Shapes that several forms of the HorizontalPodAutoscaler share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::Labels;
use crate::resource::Quantity;

/// Points at one object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CrossVersionObjectReference {
    /// Its kind, such as Deployment or Service; Homeostat looks for a Service of that name whatever is written here.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The version of its API, such as apps/v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
}

/// Selects by labels; all conditions hold together. Empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions that must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// The label.
    pub key: String,
    /// What must hold of it.
    pub operator: SelectorOperator,
    /// The values that In and NotIn compare with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether all its conditions hold of what is labelled so. A label that is not there has none of the values of NotIn.
    ///
    /// Source: Kubernetes `apimachinery/pkg/labels/selector.go`, `Requirement.Matches`.
    pub fn selects(&self, labels: &Labels) -> bool {
        let value = |key: &str| labels.get(key).map(|value| &**value);
        let has_value = |(key, wanted): (&String, &String)| value(key) == Some(wanted);
        self.match_labels.iter().all(has_value)
            && self.match_expressions.iter().all(|requirement| {
                let found = value(&requirement.key);
                let is_one = found.is_some_and(|found| requirement.values.iter().any(|it| it == found));
                match requirement.operator {
                    SelectorOperator::In => is_one,
                    SelectorOperator::NotIn => !is_one,
                    SelectorOperator::Exists => found.is_some(),
                    SelectorOperator::DoesNotExist => found.is_none(),
                }
            })
    }
}

/// What must hold of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// It has one of the values.
    In,
    /// It has none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// Which kind of source a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricSourceType {
    /// What whole replicas use.
    Resource,
    /// What one container of each replica uses.
    ContainerResource,
    /// What replicas report of themselves.
    Pods,
    /// What is reported of one other object.
    Object,
    /// What is measured outside.
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

/// Which metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricIdentifier {
    /// Its name.
    pub name: String,
    /// Which of its series. Default: all that the name has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// The value that a metric should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricTarget {
    /// Which of the three is meant.
    #[serde(rename = "type")]
    pub kind: MetricTargetType,
    /// The value itself; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Quantity>,
    /// The mean over the replicas; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<Quantity>,
    /// The mean over the replicas in percent of what they request; above 0. For Resource and ContainerResource only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_utilization: Option<i32>,
}

/// Which value of a metric is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricTargetType {
    /// Percent of what is requested.
    Utilization,
    /// The value itself.
    Value,
    /// The mean over the replicas.
    AverageValue,
}

/// Which of several policies holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingPolicySelect {
    /// The one that allows most change.
    Max,
    /// The one that allows least change.
    Min,
    /// None: no change this way.
    Disabled,
}

/// How much change is allowed in which time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HPAScalingPolicy {
    /// What the value counts.
    #[serde(rename = "type")]
    pub kind: HPAScalingPolicyType,
    /// How much change is allowed; above 0.
    pub value: i32,
    /// The time within which, 1 to 1800 seconds.
    pub period_seconds: i32,
}

/// What the value of a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HPAScalingPolicyType {
    /// Replicas.
    Pods,
    /// Percent of the replicas at the beginning of the period.
    Percent,
}
