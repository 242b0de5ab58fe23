//! Scaling policies: how the number of replicas follows from metrics.

mod burst;
mod composite;
mod evaluation;
mod formula;
mod problems;
mod step;
mod tracking;
mod watermarks;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::burst::{BurstPolicy, PANICS_PER_STABLE_MAX};
pub use self::composite::CompositePolicy;
pub use self::evaluation::{Cooldown, EVALUATIONS_MAX, Evaluation};
pub use self::formula::{FormulaPolicy, FormulaTarget, READY_REPLICAS_NAME, REPLICAS_NAME};
use self::problems::PolicyProblems;
pub use self::step::{ScaleStep, StepChange, StepPolicy};
pub use self::tracking::TrackingPolicy;
pub use self::watermarks::WatermarkPolicy;
use super::{MetricSpec, Problem, Slo};

/// How the number of replicas follows from metrics. Stabilization, bounds and rates are applied afterwards, for every policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScalePolicy {
    /// Kubernetes' algorithm: each metric proposes replicas in the ratio of its value to its target, and the largest proposal counts.
    /// So one metric suffices to scale out, and all must agree to scale in.
    #[default]
    Hpa,
    /// As `hpa`, but replicas are added only when all metrics propose more, and then by the smallest proposal. While they disagree, or
    /// one of them cannot be measured, the number does not change.
    Unanimous,
    /// Replicas are added or removed in steps, by the value of one metric.
    Step(StepPolicy),
    /// Replicas are added above a high watermark and removed below a low one.
    Watermarks(WatermarkPolicy),
    /// As `hpa`, but with a warm-up of new replicas.
    TargetTracking(TrackingPolicy),
    /// The number follows a long-term mean of one metric, and a short-term mean during a burst.
    Burst(BurstPolicy),
    /// The number follows from a formula over metrics.
    Formula(FormulaPolicy),
    /// The number follows from a weighted mean of the ratios of all metrics to their targets.
    Composite(CompositePolicy),
    /// The number that meets an SLO at the lowest cost, by the measured capacity of a replica. It uses the rate of requests and no metric.
    Slo(Slo),
}

impl ScalePolicy {
    /// Whether it is Kubernetes' algorithm.
    pub fn is_hpa(&self) -> bool {
        *self == Self::Hpa
    }

    /// Its name in a manifest.
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

    /// Its SLO; `None` for the other policies.
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

    /// The index of the one metric that it uses among `metrics`; `None` when it uses all of them.
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
        let index = |name: &String| metrics.iter().position(|metric| metric.name() == name);
        Some(name.as_ref().and_then(index).unwrap_or(0))
    }

    /// The problems of this policy at the path `base.policy` over `metrics`.
    pub(super) fn problems(&self, base: &str, metrics: &[MetricSpec]) -> Vec<Problem> {
        let (mut problems, at) = (PolicyProblems::default(), format!("{base}.policy.{}", self.name()));
        match self {
            Self::Hpa | Self::Unanimous => {}
            Self::Step(step) => step.problems(&at, metrics, &mut problems),
            Self::Watermarks(watermarks) => watermarks.problems(&at, metrics, &mut problems),
            Self::TargetTracking(tracking) => tracking.problems(&at, &mut problems),
            Self::Burst(burst) => burst.problems(&at, metrics, &mut problems),
            Self::Formula(formula) => formula.problems(&at, metrics, &mut problems),
            Self::Composite(composite) => composite.problems(&at, metrics, &mut problems),
            Self::Slo(slo) => problems.0.extend(slo.problems(&at)),
        }
        if !self.uses_proposals() {
            let fallbacks = metrics.iter().enumerate().filter(|(_, metric)| metric.fallback().is_some());
            problems.0.extend(fallbacks.map(|(index, _)| {
                let text = format!(
                    "the policy {} uses measured values, for which a number of replicas cannot be a fallback: remove the fallback",
                    self.name()
                );
                Problem::at(format!("{base}.metrics[{index}].external.fallback"), text)
            }));
        }
        problems.0
    }

    /// Whether it uses the replicas that the metrics propose instead of their values.
    const fn uses_proposals(&self) -> bool {
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
