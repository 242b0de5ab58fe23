//! Steps: how many replicas are added or removed by how far a metric has gone.
//!
//! Source: AWS EC2 Auto Scaling, "Step and simple scaling policies"; Nomad Autoscaler, "Threshold Strategy Plugin". What is chosen where
//! they differ is in docs/decisions/0024.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Found;
use super::pace::{Cooldown, Evaluation};
use crate::resource::{MetricSpec, Percent, Quantity, REPLICAS_MAX};

/// Steps each way at most. Nobody can follow more, and each is looked at in every evaluation.
const STEPS_MAX: usize = 32;

/// Most that a step may add, in percent of the replicas: a hundred times as many, past which a typing error is likelier than a wish.
const STEP_PERCENT_MAX: u32 = 10_000;

/// Replicas are added or removed in steps, by how high or how low one metric is. A single step each way is a plain threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepPolicy {
    /// The name of the metric to look at; required where there are several. The type of its target says how it is read (in
    /// percent of what is requested, as a mean over the replicas, or as a total); the value of the target is not used.
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

/// A range of a metric, and what is done while the metric lies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StepFields", into = "StepFields")]
pub struct ScaleStep {
    /// Its least value; `None` for none.
    pub from: Option<Quantity>,
    /// The value that is no part of it any more; `None` for none.
    pub to: Option<Quantity>,
    /// What is done.
    pub change: StepChange,
}

/// What a step does: above it adds, below it removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepChange {
    /// So many replicas.
    Replicas(u32),
    /// A share of the replicas there are. Adding is rounded up, removing down.
    Percent {
        /// The share.
        percent: Percent,
        /// At least so many replicas.
        at_least: u32,
    },
    /// To this many; never the other way round.
    Exactly(u32),
}

/// A range of a metric, and what is done while the metric lies in it: exactly one of `replicas`, `percent` and `exactly`.
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

/// Why the fields of a step are none.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("a step does one thing: give exactly one of replicas, percent and exactly")]
    Changes,
    #[error("atLeast goes beside percent only")]
    AtLeast,
    #[error("{field} lies between {least} and {most}, not {it}")]
    Range { field: &'static str, least: u32, most: u32, it: u32 },
    #[error("a step ends above its beginning, not at {to} after {from}")]
    Order { from: Quantity, to: Quantity },
    #[error("a threshold is at least 0, not {0}")]
    Negative(Quantity),
}

impl TryFrom<StepFields> for ScaleStep {
    type Error = StepError;

    fn try_from(fields: StepFields) -> Result<Self, StepError> {
        let StepFields { from, to, replicas, percent, at_least, exactly } = fields;
        let range = |field, least, most, it| {
            if (least..=most).contains(&it) {
                Ok(it)
            } else {
                Err(StepError::Range { field, least, most, it })
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
    /// What is wrong with it as the policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], found: &mut Found) {
        found.metric(at, self.metric.as_deref(), metrics);
        if self.above.is_empty() && self.below.is_empty() {
            found.add(at, "it has no step: give above, below or both");
        }
        for (side, steps) in [("above", &self.above), ("below", &self.below)] {
            if steps.len() > STEPS_MAX {
                found.add(format!("{at}.{side}"), format!("{STEPS_MAX} steps at most, not {}", steps.len()));
            }
            contiguous(&format!("{at}.{side}"), steps, found);
        }
        if let (Some(first), Some(step)) = (self.above.first(), self.above.last()) {
            let last = self.above.len() - 1;
            if first.from.is_none() {
                found.add(
                    format!("{at}.above[0]"),
                    "it needs from, the value from which on replicas are added",
                );
            }
            if let Some(to) = step.to {
                let text = format!(
                    "from {to} on no step adds anything: the last one goes on without an end; take to out"
                );
                found.add(format!("{at}.above[{last}].to"), text);
            }
        }
        if let (Some(first), Some(step)) = (self.below.first(), self.below.last()) {
            let last = self.below.len() - 1;
            if let Some(from) = first.from.filter(|from| *from > Quantity::ZERO) {
                let text = format!(
                    "below {from} no step removes anything: the first one has no beginning; take from out"
                );
                found.add(format!("{at}.below[0].from"), text);
            }
            if step.to.is_none() {
                found.add(
                    format!("{at}.below[{last}]"),
                    "it needs to, the value below which replicas are removed",
                );
            }
        }
        further_is_more(&format!("{at}.above"), self.above.iter().enumerate(), found);
        further_is_more(&format!("{at}.below"), self.below.iter().enumerate().rev(), found);
        self.quiet(at, found);
        self.evaluation.problems(at, found);
        self.cooldown.problems(at, found);
    }

    /// Between the steps of both sides the number stays.
    fn quiet(&self, at: &str, found: &mut Found) {
        let low = self.below.last().and_then(|step| step.to);
        let high = self.above.first().and_then(|step| step.from);
        let (Some(low), Some(high)) = (low, high) else { return };
        if low >= high {
            let text = format!(
                "replicas are removed below {low} and added from {high} on, so that the number never rests: leave a range between them"
            );
            found.add(format!("{at}.below[{}].to", self.below.len() - 1), text);
        }
    }
}

/// Each step begins where the one before ends.
fn contiguous(at: &str, steps: &[ScaleStep], found: &mut Found) {
    for (i, pair) in steps.windows(2).enumerate() {
        let (end, begin) = (pair[0].to, pair[1].from);
        match (end, begin) {
            (None, _) => found.add(format!("{at}[{i}]"), "it needs to: a step comes after it"),
            (_, None) => found.add(format!("{at}[{}]", i + 1), "it needs from: a step comes before it"),
            (Some(end), Some(begin)) if begin < end => {
                let text = format!("it begins at {begin} and overlaps the step before, which ends at {end}");
                found.add(format!("{at}[{}].from", i + 1), text);
            }
            (Some(end), Some(begin)) if begin > end => {
                let text = format!("from {end} to {begin} there is a gap: let it begin at {end}");
                found.add(format!("{at}[{}].from", i + 1), text);
            }
            (Some(_), Some(_)) => {}
        }
    }
}

/// What is further off changes no less than what is nearer, as far as the two can be compared.
fn further_is_more<'s>(
    at: &str,
    steps: impl Iterator<Item = (usize, &'s ScaleStep)> + Clone,
    found: &mut Found,
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
            found.add(format!("{at}[{i}]"), "it is further off and changes less than the step next to it");
        }
    }
}
