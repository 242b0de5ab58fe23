//! How a number of replicas follows from what the metrics measure.

mod burst;
mod composite;
mod formula;
mod found;
mod pace;
mod step;
mod tracking;
mod watermarks;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::burst::{BurstPolicy, PANICS_PER_STABLE_MAX};
pub use self::composite::CompositePolicy;
pub use self::formula::{FormulaPolicy, FormulaTarget, READY_REPLICAS_NAME, REPLICAS_NAME};
use self::found::Found;
pub use self::pace::{Cooldown, EVALUATIONS_MAX, Evaluation};
pub use self::step::{ScaleStep, StepChange, StepPolicy};
pub use self::tracking::TrackingPolicy;
pub use self::watermarks::WatermarkPolicy;
use super::{MetricSpec, Problem, Slo};

/// How the number of replicas follows from what the metrics measure. Stabilisation, bounds and rates are applied afterwards,
/// whichever policy it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScalePolicy {
    /// Kubernetes' algorithm: each metric asks for replicas in the ratio of its value to its target, and the metric that asks for
    /// the most replicas wins. So one metric suffices to scale out, and all must agree to scale in.
    #[default]
    Hpa,
    /// As `hpa`, but replicas are added only when all metrics ask for more, and then as many as the metric asks for that asks for
    /// the fewest. While they disagree, or one of them cannot be measured, the number stays.
    Unanimous,
    /// Replicas are added or removed in steps, by how high or how low one metric is.
    Step(StepPolicy),
    /// Replicas are added above a high watermark and removed below a low one.
    Watermarks(WatermarkPolicy),
    /// As `hpa`, but replicas that have just begun are waited for.
    TargetTracking(TrackingPolicy),
    /// The number follows a long mean of one metric, and a short one while load multiplies.
    Burst(BurstPolicy),
    /// The number follows from a formula over several metrics.
    Formula(FormulaPolicy),
    /// The number follows from a weighted mean of all metrics, each as a part of its target.
    Composite(CompositePolicy),
    /// As many replicas as keep a promise at least cost, by what one is seen to carry. It looks at the requests that come, and at no metric.
    Slo(Slo),
}

impl ScalePolicy {
    /// Whether it is Kubernetes' own.
    pub fn is_hpa(&self) -> bool {
        *self == Self::Hpa
    }

    /// The policy that a manifest names so.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hpa => "hpa",
            Self::Unanimous => "unanimous",
            Self::Step(_) => "step",
            Self::Watermarks(_) => "watermarks",
            Self::TargetTracking(_) => "targetTracking",
            Self::Burst(_) => "burst",
            Self::Formula(_) => "formula",
            Self::Composite(_) => "composite",
            Self::Slo(_) => "slo",
        }
    }

    /// The promise that it keeps; `None` for those that keep something else.
    pub const fn slo(&self) -> Option<&Slo> {
        match self {
            Self::Slo(slo) => Some(slo),
            Self::Hpa
            | Self::Unanimous
            | Self::Step(_)
            | Self::Watermarks(_)
            | Self::TargetTracking(_)
            | Self::Burst(_)
            | Self::Formula(_)
            | Self::Composite(_) => None,
        }
    }

    /// The one metric that it looks at, by its place among `metrics`; `None` when it looks at all of them.
    pub fn only_metric(&self, metrics: &[MetricSpec]) -> Option<usize> {
        let name = match self {
            Self::Hpa | Self::Unanimous | Self::TargetTracking(_) | Self::Formula(_) | Self::Composite(_) => {
                return None;
            }
            Self::Step(step) => &step.metric,
            Self::Watermarks(watermarks) => &watermarks.metric,
            Self::Burst(burst) => &burst.metric,
            Self::Slo(_) => return Some(0),
        };
        let place = |name: &String| metrics.iter().position(|metric| metric.name() == name);
        Some(name.as_ref().and_then(place).unwrap_or(0))
    }

    /// What is wrong with it as the policy at the path `base.policy` over `metrics`.
    pub(super) fn problems(&self, base: &str, metrics: &[MetricSpec]) -> Vec<Problem> {
        let (mut found, at) = (Found::default(), format!("{base}.policy.{}", self.name()));
        match self {
            Self::Hpa | Self::Unanimous => {}
            Self::Step(step) => step.problems(&at, metrics, &mut found),
            Self::Watermarks(watermarks) => watermarks.problems(&at, metrics, &mut found),
            Self::TargetTracking(tracking) => tracking.problems(&at, &mut found),
            Self::Burst(burst) => burst.problems(&at, metrics, &mut found),
            Self::Formula(formula) => formula.problems(&at, metrics, &mut found),
            Self::Composite(composite) => composite.problems(&at, metrics, &mut found),
            Self::Slo(slo) => found.0.extend(slo.problems(&at)),
        }
        if !self.goes_by_proposals() {
            let places = metrics.iter().enumerate().filter(|(_, metric)| metric.fallback().is_some());
            found.0.extend(places.map(|(place, _)| {
                let text = format!(
                    "the policy {} goes by what was measured, for which no number of replicas stands in: take the fallback out",
                    self.name()
                );
                Problem::at(format!("{base}.metrics[{place}].external.fallback"), text)
            }));
        }
        found.0
    }

    /// Whether it goes by the numbers of replicas that the metrics ask for, and not by what they measured.
    const fn goes_by_proposals(&self) -> bool {
        match self {
            Self::Hpa | Self::Unanimous | Self::TargetTracking(_) => true,
            Self::Step(_)
            | Self::Watermarks(_)
            | Self::Burst(_)
            | Self::Formula(_)
            | Self::Composite(_)
            | Self::Slo(_) => false,
        }
    }
}
