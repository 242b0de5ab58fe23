//! A formula over metrics.
//!
//! Source: KEDA 2.20, `scalingModifiers`. What differs is in docs/decisions/0025.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyProblems;
use crate::nearest;
use crate::resource::{Formula, MetricSpec, Quantity};

/// The name of the desired number of replicas so far, in formulas.
pub const REPLICAS_NAME: &str = "replicas";

/// The name of the number of serving replicas, in formulas.
pub const READY_REPLICAS_NAME: &str = "ready_replicas";

/// A formula computes one number from metrics. It is compared with a target, or is the number of replicas itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FormulaPolicy {
    /// The formula, such as `max(cpu / 60, queue_length / 30)`, over the metrics by their names, `replicas` (desired so far) and
    /// `ready_replicas`. A metric has its measured value in the unit of its target: percent of the requested resources, the mean
    /// over the replicas, or the total of an Object or External metric. The value of the target is not used.
    pub expression: Formula,
    /// The value that the expression should have, above 0. Without it, the expression is the number of replicas itself, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Quantity>,
    /// How the value is compared with the target. Default: Value.
    #[serde(default, skip_serializing_if = "FormulaTarget::is_default")]
    pub metric_type: FormulaTarget,
}

/// How the value of a formula is compared with its target, named as in `autoscaling/v2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FormulaTarget {
    /// The value should be the target: twice the target requires twice the replicas. For ratios and means.
    #[default]
    Value,
    /// The value divided by the number of replicas should be the target. For totals, such as the length of a queue.
    AverageValue,
}

impl FormulaTarget {
    /// Whether it is the default.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FormulaPolicy {
    /// The problems of this policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], problems: &mut PolicyProblems) {
        let path = format!("{at}.expression");
        let mut uses_metric = false;
        for name in self.expression.names() {
            let count = metrics.iter().filter(|metric| metric.name() == name).count();
            let is_built_in = name == REPLICAS_NAME || name == READY_REPLICAS_NAME;
            uses_metric |= count > 0;
            match count {
                0 if is_built_in => {}
                0 => problems.add(&path, unknown(name, metrics)),
                _ if is_built_in => {
                    let text = format!(
                        "{name} is both a built-in name and a metric: give the metric another name where it is measured"
                    );
                    problems.add(&path, text);
                }
                1 => {}
                several => {
                    let text = format!(
                        "{several} metrics are named {name:?}, so the formula is ambiguous: give each a unique name where it is measured, \
                         or remove one"
                    );
                    problems.add(&path, text);
                }
            }
        }
        if !uses_metric && problems.is_empty() {
            problems.add(&path, "it names no metric, so no measurement can change the number of replicas");
        }
        match self.target {
            Some(target) if target <= Quantity::ZERO => {
                problems.add(format!("{at}.target"), format!("a target must be above 0, not {target}"));
            }
            None if self.metric_type != FormulaTarget::default() => {
                let text = "it has no effect without target: add target, or remove this field";
                problems.add(format!("{at}.metricType"), text);
            }
            Some(_) | None => {}
        }
    }
}

fn unknown(name: &str, metrics: &[MetricSpec]) -> String {
    let mut known: Vec<&str> = metrics.iter().map(MetricSpec::name).collect();
    known.extend([REPLICAS_NAME, READY_REPLICAS_NAME]);
    let suggestion = nearest(name, known.iter().copied()).map(|name| format!("; did you mean {name}?"));
    let known = format!("; the names are {}", known.join(", "));
    format!("there is no metric {name:?}{}", suggestion.unwrap_or(known))
}
