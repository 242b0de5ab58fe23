//! The input of a policy: the proposals of the metrics, the replicas, and how many of these there are.

use std::time::Duration;

use model::memory::{PendingChange, PolicyHistory, PolicyMemory};
use model::resource::{AutoscalerSpec, MetricSpec, ResourceTarget, TotalTarget};
use model::time::Time;

use super::classify::unstable_count;
use super::fallback::ActiveFallback;
use super::proposal::{Arithmetic, MetricFault, Proposal};
use super::ratio::Tolerance;
use super::reading::{Milli, Replicas};

/// The input of a policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// The time of the decision.
    pub now: Time,
    /// The autoscaler, whose policy is asked.
    pub spec: &'a AutoscalerSpec,
    /// What each metric proposes, in the order of the declaration.
    pub metrics: &'a [Result<Proposal, MetricFault>],
    /// Those of them for which a fallback stands in.
    pub fallbacks: &'a [ActiveFallback],
    /// Replicas wanted until now.
    pub current: u32,
    /// Replicas there are.
    pub existing: u32,
    /// The replicas as they are.
    pub replicas: &'a Replicas,
    /// How long replicas were seen to warm up; `None` before that was seen.
    pub warmup: Option<Duration>,
    /// What each replica should carry of a metric of type Pods, where that is not as declared.
    pub learned_target: Option<Milli>,
    /// How far from its target a metric may be without a change.
    pub tolerance: Tolerance,
    /// What the forecast asks for.
    pub ahead: ForecastFloor,
}

/// The fewest replicas that the forecast asks for; none without a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForecastFloor {
    /// The fewest replicas that may be recommended.
    pub floor: u32,
    /// How far the forecast looks beyond the current step, if it has been compared with the actual load for long enough to replace observed rises;
    /// `None` otherwise.
    pub proven: Option<Duration>,
}

impl<'a> PolicyInput<'a> {
    /// What each metric, or its fallback, asks for; `None` for one that is not valid.
    pub(super) fn asked(&self) -> impl Iterator<Item = Option<u32>> + use<'a> {
        let fallbacks = self.fallbacks;
        self.metrics.iter().enumerate().map(move |(place, said)| match said {
            Ok(proposal) => Some(proposal.replicas),
            Err(_) => fallbacks.iter().find(|it| it.metric == place).map(|it| it.replicas),
        })
    }

    /// The one metric that the policy looks at, by its place, and what it proposes.
    pub(super) fn only_metric(&self) -> (usize, Option<&'a Proposal>) {
        let place = self.spec.policy.only_metric(&self.spec.metrics).unwrap_or(0);
        (place, self.metrics.get(place).and_then(|said| said.as_ref().ok()))
    }

    /// Replicas that answer requests.
    pub(super) fn serving(&self) -> u32 {
        self.replicas.serving()
    }

    /// Replicas that are asked for in place of unstable ones, which carry no load: none unless `ratio`, the load of the others ÷ their target,
    /// is above 1.
    pub(super) fn replacements(&self, ratio: f64) -> u32 {
        if ratio > 1.0 { unstable_count(self.replicas) } else { 0 }
    }

    /// `replicas` without the unstable ones.
    pub(super) fn stable(&self, replicas: u32) -> u32 {
        replicas.saturating_sub(unstable_count(self.replicas))
    }

    /// What all replicas together carry of the metric at this place, in its unit: what `proposal` has measured, times those that it is a
    /// mean over. At least 0.
    pub(super) fn load(&self, place: usize, proposal: &Proposal) -> i128 {
        let value = i128::from(proposal.level.value().0.max(0));
        match (self.spec.metrics.get(place), proposal.arithmetic) {
            (_, Arithmetic::Shared { total, .. }) => i128::from(total.0.max(0)),
            (Some(MetricSpec::Object { target, .. } | MetricSpec::External { target, .. }), _) => {
                match target {
                    TotalTarget::Average(_) => {
                        value * i128::from(self.current.saturating_sub(proposal.census.unstable))
                    }
                    // As HPA: from nothing, a single replica is taken to carry it.
                    TotalTarget::Value(_) if self.current == 0 => value,
                    TotalTarget::Value(_) => value * i128::from(self.serving()),
                }
            }
            (
                Some(
                    MetricSpec::Resource { .. }
                    | MetricSpec::ContainerResource { .. }
                    | MetricSpec::Pods { .. },
                )
                | None,
                _,
            ) => value * i128::from(proposal.census.ready),
        }
    }
}

/// What each replica should carry of `metric`, in its unit; above 0.
pub(crate) fn target_of(metric: &MetricSpec) -> Milli {
    match metric {
        MetricSpec::Resource { target, .. } | MetricSpec::ContainerResource { target, .. } => match target {
            ResourceTarget::Utilization(percent) => Milli(i64::from(percent.0) * 1000),
            ResourceTarget::Average(average) => Milli(average.milli()),
        },
        MetricSpec::Pods { average, .. } => Milli(average.milli()),
        MetricSpec::Object { target, .. } | MetricSpec::External { target, .. } => match target {
            TotalTarget::Value(value) | TotalTarget::Average(value) => Milli(value.milli()),
        },
    }
}

/// `load` shared out so that nobody carries more than `each`; 0 replicas for no load. Within what Kubernetes' 32 bits can count.
#[inline]
pub(super) fn replicas_at_most(load: i128, each: Milli) -> u32 {
    within_32_bits(quotient(load + i128::from(each.0) - 1, each.0))
}

/// `load` shared out so that nobody carries less than `each`; 0 replicas for less than that.
pub(super) fn replicas_at_least(load: i128, each: Milli) -> u32 {
    within_32_bits(quotient(load, each.0))
}

/// `dividend ÷ divisor`, cut off; 0 for a divisor of 0. In 64 bits where that is enough, which a processor divides by itself.
#[inline]
pub(super) fn quotient(dividend: i128, divisor: i64) -> i128 {
    match (i64::try_from(dividend), divisor) {
        (Ok(dividend), 1..) => i128::from(dividend / divisor),
        (Ok(_) | Err(_), _) => dividend.checked_div(i128::from(divisor)).unwrap_or(0),
    }
}

/// Within what Kubernetes' 32 bits can count, and not below zero.
pub(super) fn within_32_bits(replicas: i128) -> u32 {
    u32::try_from(replicas.clamp(0, i128::from(i32::MAX))).expect("clamped to the range of the type")
}

/// Notes in `memory` which change is asked for by going from `current` to `asked`, and says since when it has been, without a break.
pub(super) fn since_asked(memory: &mut PolicyMemory, now: Time, current: u32, asked: u32) -> Time {
    let before = match memory.history {
        PolicyHistory::Pending(asking) => asking,
        PolicyHistory::None
        | PolicyHistory::Evaluations(_)
        | PolicyHistory::Load(_)
        | PolicyHistory::Rises(_) => PendingChange::None,
    };
    let (asking, since) = match (asked.cmp(&current), before) {
        (std::cmp::Ordering::Greater, PendingChange::More { since })
        | (std::cmp::Ordering::Less, PendingChange::Fewer { since }) => (before, since),
        (std::cmp::Ordering::Greater, PendingChange::None | PendingChange::Fewer { .. }) => {
            (PendingChange::More { since: now }, now)
        }
        (std::cmp::Ordering::Less, PendingChange::None | PendingChange::More { .. }) => {
            (PendingChange::Fewer { since: now }, now)
        }
        (std::cmp::Ordering::Equal, _) => (PendingChange::None, now),
    };
    memory.history = PolicyHistory::Pending(asking);
    since
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quotient_is_the_same_in_64_bits(dividend: i64, factor in 1..1000_i128, divisor: i64) {
            for dividend in [i128::from(dividend), i128::from(dividend) * factor] {
                for divisor in [divisor, divisor % 1000, 0, -1] {
                    let exact = dividend.checked_div(i128::from(divisor)).unwrap_or(0);
                    prop_assert_eq!(quotient(dividend, divisor), exact);
                }
            }
        }
    }
}
