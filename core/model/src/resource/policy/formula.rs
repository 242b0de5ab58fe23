//! One number out of several metrics, by a formula.
//!
//! Source: KEDA 2.20, `scalingModifiers`. What differs is in docs/decisions/0025.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Found;
use crate::nearest;
use crate::resource::{Formula, MetricSpec, Quantity};

/// The name of the number of replicas wanted until now, in formulas.
pub const REPLICAS_NAME: &str = "replicas";

/// The name of the number of replicas that answer requests, in formulas.
pub const READY_REPLICAS_NAME: &str = "ready_replicas";

/// A formula makes one number of several metrics; it is compared with a target, or is itself the number of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FormulaPolicy {
    /// The formula, such as `max(cpu / 60, queue_length / 30)`, over the metrics by their names, `replicas` (wanted so far) and
    /// `ready_replicas`. A metric stands for its measured value in the unit of its target: percent of what is requested, the mean
    /// over the replicas, or the total of an Object or External metric. The value of the target is not used.
    pub expression: Formula,
    /// The value that the expression should have, above 0. Without it, the expression is the number of replicas itself, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Quantity>,
    /// How the value is compared with the target. Default: Value.
    #[serde(default, skip_serializing_if = "FormulaTarget::is_default")]
    pub metric_type: FormulaTarget,
}

/// How the value of a formula is held against its target. The words are those of `autoscaling/v2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FormulaTarget {
    /// It should be the target: twice the target asks for twice the replicas. For shares, means, and what is made of them.
    #[default]
    Value,
    /// Divided by the number of replicas it should be the target. For totals, such as the length of a queue.
    AverageValue,
}

impl FormulaTarget {
    /// Whether it is what holds when nothing is said.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FormulaPolicy {
    /// What is wrong with it as the policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], found: &mut Found) {
        let path = format!("{at}.expression");
        let mut is_measured = false;
        for name in self.expression.names() {
            let called = metrics.iter().filter(|metric| metric.name() == name).count();
            let is_ours = name == REPLICAS_NAME || name == READY_REPLICAS_NAME;
            is_measured |= called > 0;
            match called {
                0 if is_ours => {}
                0 => found.add(&path, unknown(name, metrics)),
                _ if is_ours => {
                    let text = format!(
                        "{name} is both a number of replicas and a metric here: give the metric another name where it is measured"
                    );
                    found.add(&path, text);
                }
                1 => {}
                several => {
                    let text = format!(
                        "{several} metrics here are called {name:?}, and the formula cannot tell them apart: give each a name of its own \
                         where it is measured, or leave one out"
                    );
                    found.add(&path, text);
                }
            }
        }
        if !is_measured && found.is_empty() {
            found.add(&path, "it names no metric, so that nothing that is measured could change the number");
        }
        match self.target {
            Some(target) if target <= Quantity::ZERO => {
                found.add(format!("{at}.target"), format!("a target is above 0, not {target}"));
            }
            None if self.metric_type != FormulaTarget::default() => {
                let text = "it says how a value is held against target, which is not given: add target, or take this out";
                found.add(format!("{at}.metricType"), text);
            }
            Some(_) | None => {}
        }
    }
}

fn unknown(name: &str, metrics: &[MetricSpec]) -> String {
    let mut known: Vec<&str> = metrics.iter().map(MetricSpec::name).collect();
    known.extend([REPLICAS_NAME, READY_REPLICAS_NAME]);
    let meant = nearest(name, known.iter().copied()).map(|name| format!("; did you mean {name}?"));
    let known = format!("; there are {}", known.join(", "));
    format!("no metric here is called {name:?}{}", meant.unwrap_or(known))
}
