//! Steps: replicas are added or removed by the value of a metric.
//!
//! Source: AWS EC2 Auto Scaling, "Step and simple scaling policies"; Nomad Autoscaler, "Threshold Strategy Plugin". The choice where they differ
//! is in docs/decisions/0024.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyProblems;
use super::evaluation::{Cooldown, Evaluation};
use crate::resource::{MetricSpec, Percent, Quantity, REPLICAS_MAX};

/// The most steps in each direction. More are hard to follow, and each is checked in every evaluation.
const STEPS_MAX: usize = 32;

/// The most that a step may add, in percent of the replicas: more than a hundred times as many is most likely a typing error.
const STEP_PERCENT_MAX: u32 = 10_000;

/// Replicas are added or removed in steps, by the value of one metric. A single step in each direction is a simple threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepPolicy {
    /// The name of the metric; required if there are several. The type of its target defines its unit (percent of the requested
    /// resources, a mean over the replicas, or a total); the value of the target is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Steps that add replicas while the metric is high, in ascending order and without a gap. The last one has no `to`. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<ScaleStep>,
    /// Steps that remove replicas while the metric is low, in ascending order and without a gap. The first one has no `from`, and
    /// the last one ends below the first of `above`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<ScaleStep>,
    /// How often the metric is evaluated, and how many evaluations must agree. Default: those of its fields.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// How long to wait after a change before the next one. Default: those of its fields.
    #[serde(default)]
    pub cooldown: Cooldown,
}

/// A range of a metric, and the change while the metric is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StepFields", into = "StepFields")]
pub struct ScaleStep {
    /// Its lowest value; `None` for no bound.
    pub from: Option<Quantity>,
    /// Its end, which is not part of it; `None` for no bound.
    pub to: Option<Quantity>,
    /// The change.
    pub change: StepChange,
}

/// The change of a step: a step of `above` adds, a step of `below` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepChange {
    /// By this number of replicas.
    Replicas(u32),
    /// By a percentage of the replicas: rounded up when added, down when removed.
    Percent {
        /// The percentage.
        percent: Percent,
        /// The minimum of replicas.
        at_least: u32,
    },
    /// To this number; never in the opposite direction.
    Exactly(u32),
}

/// A range of a metric, and the change while the metric is in it: exactly one of `replicas`, `percent` and `exactly`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{"required": ["replicas"]}, {"required": ["percent"]}, {"required": ["exactly"]}]))]
struct StepFields {
    /// The lowest value of the range, at least 0. Default: none; allowed only in the first step of `below`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Quantity>,
    /// The end of the range; this value itself is outside of it. Default: none; allowed only in the last step of `above`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Quantity>,
    /// Adds (above) or removes (below) this many replicas, 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
    /// Adds (above) or removes (below) this percentage of the replicas, 1 to 10000: rounded up when added, down when removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<u32>,
    /// The fewest replicas that `percent` adds or removes, 1 to 1000000; only together with it. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_least: Option<u32>,
    /// Changes to this many replicas, 0 to 1000000; a step of `above` never lowers the number, a step of `below` never raises it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exactly: Option<u32>,
}

/// Why the fields of a step are invalid.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("give exactly one of replicas, percent and exactly")]
    Changes,
    #[error("atLeast is allowed only with percent")]
    AtLeast,
    #[error("{field} must be between {min} and {max}, not {value}")]
    Range { field: &'static str, min: u32, max: u32, value: u32 },
    #[error("to must be above from ({from}), not {to}")]
    Order { from: Quantity, to: Quantity },
    #[error("a threshold must be at least 0, not {0}")]
    Negative(Quantity),
}

impl TryFrom<StepFields> for ScaleStep {
    type Error = StepError;

    fn try_from(fields: StepFields) -> Result<Self, StepError> {
        let StepFields { from, to, replicas, percent, at_least, exactly } = fields;
        let range = |field, min, max, value| {
            if (min..=max).contains(&value) {
                Ok(value)
            } else {
                Err(StepError::Range { field, min, max, value })
            }
        };
        if let Some(threshold) = [from, to].into_iter().flatten().find(|it| *it < Quantity::ZERO) {
            return Err(StepError::Negative(threshold));
        }
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(StepError::Order { from, to });
        }
        let change = match (replicas, percent, exactly) {
            (None, Some(percent), None) => StepChange::Percent {
                percent: Percent(range("percent", 1, STEP_PERCENT_MAX, percent)?),
                at_least: range("atLeast", 1, REPLICAS_MAX, at_least.unwrap_or(1))?,
            },
            _ if at_least.is_some() => return Err(StepError::AtLeast),
            (Some(replicas), None, None) => {
                StepChange::Replicas(range("replicas", 1, REPLICAS_MAX, replicas)?)
            }
            (None, None, Some(exactly)) => StepChange::Exactly(range("exactly", 0, REPLICAS_MAX, exactly)?),
            (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return Err(StepError::Changes);
            }
        };
        Ok(Self { from, to, change })
    }
}

impl From<ScaleStep> for StepFields {
    fn from(step: ScaleStep) -> Self {
        let ScaleStep { from, to, change } = step;
        let none = Self { from, to, replicas: None, percent: None, at_least: None, exactly: None };
        match change {
            StepChange::Replicas(replicas) => Self { replicas: Some(replicas), ..none },
            StepChange::Percent { percent, at_least } => {
                Self { percent: Some(percent.0), at_least: (at_least > 1).then_some(at_least), ..none }
            }
            StepChange::Exactly(exactly) => Self { exactly: Some(exactly), ..none },
        }
    }
}

impl StepPolicy {
    /// The problems of this policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], problems: &mut PolicyProblems) {
        problems.metric(at, self.metric.as_deref(), metrics);
        if self.above.is_empty() && self.below.is_empty() {
            problems.add(at, "it has no steps: give above, below or both");
        }
        for (side, steps) in [("above", &self.above), ("below", &self.below)] {
            if steps.len() > STEPS_MAX {
                problems.add(
                    format!("{at}.{side}"),
                    format!("must have at most {STEPS_MAX} steps, not {}", steps.len()),
                );
            }
            check_contiguous(&format!("{at}.{side}"), steps, problems);
        }
        if let (Some(first), Some(step)) = (self.above.first(), self.above.last()) {
            let last = self.above.len() - 1;
            if first.from.is_none() {
                problems.add(
                    format!("{at}.above[0]"),
                    "from is missing, the value from which replicas are added",
                );
            }
            if let Some(to) = step.to {
                let text = format!("no step covers values from {to}: remove to from the last step");
                problems.add(format!("{at}.above[{last}].to"), text);
            }
        }
        if let (Some(first), Some(step)) = (self.below.first(), self.below.last()) {
            let last = self.below.len() - 1;
            if let Some(from) = first.from.filter(|from| *from > Quantity::ZERO) {
                let text = format!("no step covers values below {from}: remove from from the first step");
                problems.add(format!("{at}.below[0].from"), text);
            }
            if step.to.is_none() {
                problems.add(
                    format!("{at}.below[{last}]"),
                    "to is missing, the value below which replicas are removed",
                );
            }
        }
        check_monotonic(&format!("{at}.above"), self.above.iter().enumerate(), problems);
        check_monotonic(&format!("{at}.below"), self.below.iter().enumerate().rev(), problems);
        self.check_gap(at, problems);
        self.evaluation.problems(at, problems);
        self.cooldown.problems(at, problems);
    }

    /// Checks that there is a range between the two sides in which the number does not change.
    fn check_gap(&self, at: &str, problems: &mut PolicyProblems) {
        let low = self.below.last().and_then(|step| step.to);
        let high = self.above.first().and_then(|step| step.from);
        let (Some(low), Some(high)) = (low, high) else { return };
        if low >= high {
            let text = format!(
                "replicas are removed below {low} and added from {high} on, so the number would never stabilize: leave a range between them"
            );
            problems.add(format!("{at}.below[{}].to", self.below.len() - 1), text);
        }
    }
}

/// Checks that each step begins where the one before ends.
fn check_contiguous(at: &str, steps: &[ScaleStep], problems: &mut PolicyProblems) {
    for (i, pair) in steps.windows(2).enumerate() {
        let (end, begin) = (pair[0].to, pair[1].from);
        match (end, begin) {
            (None, _) => problems.add(format!("{at}[{i}]"), "to is missing: another step follows"),
            (_, None) => problems.add(format!("{at}[{}]", i + 1), "from is missing: another step precedes"),
            (Some(end), Some(begin)) if begin < end => {
                let text = format!("must be {end}, the end of the step before, not {begin}: they overlap");
                problems.add(format!("{at}[{}].from", i + 1), text);
            }
            (Some(end), Some(begin)) if begin > end => {
                let text = format!("must be {end}, the end of the step before, not {begin}: there is a gap");
                problems.add(format!("{at}[{}].from", i + 1), text);
            }
            (Some(_), Some(_)) => {}
        }
    }
}

/// Checks that a step further from the target changes no less than a nearer one, as far as they are comparable.
fn check_monotonic<'s>(
    at: &str,
    steps: impl Iterator<Item = (usize, &'s ScaleStep)> + Clone,
    problems: &mut PolicyProblems,
) {
    for ((_, nearer), (i, further)) in steps.clone().zip(steps.skip(1)) {
        let is_less = match (nearer.change, further.change) {
            (StepChange::Replicas(near), StepChange::Replicas(far)) => far < near,
            (StepChange::Percent { percent: near, .. }, StepChange::Percent { percent: far, .. }) => {
                far < near
            }
            (StepChange::Replicas(_) | StepChange::Percent { .. } | StepChange::Exactly(_), _) => false,
        };
        if is_less {
            problems.add(format!("{at}[{i}]"), "it is further away and changes less than the adjacent step");
        }
    }
}
