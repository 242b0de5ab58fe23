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
    /// The autoscaler whose policy decides.
    pub spec: &'a AutoscalerSpec,
    /// The proposal of each metric, in the order of the declaration.
    pub metrics: &'a [Result<Proposal, MetricFault>],
    /// The fallbacks that are used.
    pub fallbacks: &'a [ActiveFallback],
    /// Replicas wanted until now.
    pub current: u32,
    /// Replicas there are.
    pub existing: u32,
    /// The replicas of the target.
    pub replicas: &'a Replicas,
    /// How long replicas take to warm up; `None` before that is known.
    pub warmup: Option<Duration>,
    /// The target of a metric of type Pods, where it is learned instead of declared.
    pub learned_target: Option<Milli>,
    /// How far from its target a metric may be without a change.
    pub tolerance: Tolerance,
    /// The floor by the forecast.
    pub forecast: ForecastFloor,
}

/// The floor that a forecast sets; the default, without a forecast, has no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForecastFloor {
    /// The fewest replicas that may be recommended.
    pub floor: u32,
    /// How far the forecast looks beyond the current step, once it has been scored for long enough to replace observed rises; `None` before.
    pub proven: Option<Duration>,
}

impl<'a> PolicyInput<'a> {
    /// The proposal of each metric, or of its fallback; `None` for one that is not valid.
    pub(super) fn proposals(&self) -> impl Iterator<Item = Option<u32>> + use<'a> {
        let fallbacks = self.fallbacks;
        self.metrics.iter().enumerate().map(move |(place, metric)| match metric {
            Ok(proposal) => Some(proposal.replicas),
            Err(_) => {
                let fallback = fallbacks.iter().find(|fallback| fallback.metric == place);
                fallback.map(|fallback| fallback.replicas)
            }
        })
    }

    /// The only metric that the policy uses, by its place, and its proposal.
    pub(super) fn only_metric(&self) -> (usize, Option<&'a Proposal>) {
        let place = self.spec.policy.only_metric(&self.spec.metrics).unwrap_or(0);
        (place, self.metrics.get(place).and_then(|metric| metric.as_ref().ok()))
    }

    /// Replicas that answer requests.
    pub(super) fn serving(&self) -> u32 {
        self.replicas.serving()
    }

    /// Replicas to add in place of unstable ones, which carry no load: none unless `ratio`, the load of the others ÷ their target, is above 1.
    pub(super) fn replacements(&self, ratio: f64) -> u32 {
        if ratio > 1.0 { unstable_count(self.replicas) } else { 0 }
    }

    /// `replicas` without the unstable ones.
    pub(super) fn stable(&self, replicas: u32) -> u32 {
        replicas.saturating_sub(unstable_count(self.replicas))
    }

    /// The total of the metric at this place over all replicas, in its unit: the value of `proposal` times the replicas that it is a mean over.
    /// At least 0.
    pub(super) fn load(&self, place: usize, proposal: &Proposal) -> i128 {
        let value = i128::from(proposal.level.value().0.max(0));
        match (self.spec.metrics.get(place), proposal.arithmetic) {
            (_, Arithmetic::Shared { total, .. }) => i128::from(total.0.max(0)),
            (Some(MetricSpec::Object { target, .. } | MetricSpec::External { target, .. }), _) => {
                match target {
                    TotalTarget::Average(_) => {
                        value * i128::from(self.current.saturating_sub(proposal.census.unstable))
                    }
                    // As in Kubernetes: from zero, a single replica is assumed to carry it.
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

/// The fewest replicas of which none carries more than `each` of `load`; 0 for no load. Within the range of Kubernetes' 32 bits.
#[inline]
pub(super) fn replicas_at_most(load: i128, each: Milli) -> u32 {
    within_32_bits(quotient(load + i128::from(each.0) - 1, each.0))
}

/// The most replicas of which none carries less than `each` of `load`; 0 for a smaller load.
pub(super) fn replicas_at_least(load: i128, each: Milli) -> u32 {
    within_32_bits(quotient(load, each.0))
}

/// `dividend ÷ divisor`, truncated; 0 for a divisor of 0. In 64 bits where that is enough, as processors have an instruction for it.
#[inline]
pub(super) fn quotient(dividend: i128, divisor: i64) -> i128 {
    match (i64::try_from(dividend), divisor) {
        (Ok(dividend), 1..) => i128::from(dividend / divisor),
        (Ok(_) | Err(_), _) => dividend.checked_div(i128::from(divisor)).unwrap_or(0),
    }
}

/// `replicas` within the range of Kubernetes' 32 bits, and not below zero.
pub(super) fn within_32_bits(replicas: i128) -> u32 {
    u32::try_from(replicas.clamp(0, i128::from(i32::MAX))).expect("clamped to the range of the type")
}

/// Records in `memory` the direction of a change from `current` to `wanted`; returns since when it has been wanted without interruption.
pub(super) fn wanted_since(memory: &mut PolicyMemory, now: Time, current: u32, wanted: u32) -> Time {
    let before = match memory.history {
        PolicyHistory::Pending(asking) => asking,
        PolicyHistory::None
        | PolicyHistory::Evaluations(_)
        | PolicyHistory::Load(_)
        | PolicyHistory::Rises(_) => PendingChange::None,
    };
    let (asking, since) = match (wanted.cmp(&current), before) {
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
