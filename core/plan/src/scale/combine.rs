//! One number from several metrics: by default the largest proposal, and no scale-in on partial data.

use model::memory::PolicyMemory;
use model::resource::ScalePolicy;

use super::burst::{self, BurstDecision};
use super::combined_value::NoNumber;
use super::composite::{self, CompositeLoad};
use super::formula::{self, FormulaValue};
use super::policy_input::PolicyInput;
use super::slo_first::{self, SloDecision};
use super::step::{self, StepDecision};
use super::tracking::{self, TrackingDecision};
use super::watermarks::{self, WatermarkDecision};

/// The combined result of the metrics of an autoscaler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Combined {
    /// This many replicas.
    Chosen {
        /// The number.
        replicas: u32,
        /// What determined it.
        decided_by: DecidedBy,
    },
    /// No number: no metric is valid, or some are not and the others would scale in.
    Held {
        /// The first metric that is not valid.
        invalid: usize,
        /// The combined proposal of the valid ones, when there are any.
        proposal: Option<u32>,
    },
    /// No number: the metrics were combined, and the combination has no result.
    NoResult(NoNumber),
}

/// What determined a number. Metrics are named by their place in the declaration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecidedBy {
    /// The largest proposal; the first of equals.
    Largest {
        /// The metric that made it.
        metric: usize,
    },
    /// All proposed a change in the same direction, or none.
    Agreed {
        /// The metric that proposed the smallest change.
        metric: usize,
    },
    /// They did not all propose a change in the same direction, so the number stays.
    Divided {
        /// The first that proposed a change.
        metric: usize,
        /// The first that did not propose a change in that direction.
        against: usize,
    },
    /// The steps of one metric.
    Step(StepDecision),
    /// The watermarks of one metric.
    Watermarks(WatermarkDecision),
    /// The largest proposal, followed with delays and warm-ups.
    Tracking(TrackingDecision),
    /// The windows of one metric.
    Burst(BurstDecision),
    /// A formula over metrics.
    Formula(FormulaValue),
    /// A weighted mean of all metrics.
    Composite(CompositeLoad),
    /// An SLO.
    Slo(SloDecision),
}

impl DecidedBy {
    /// The metric that determined the number, or would have; `None` where several did together.
    pub fn metric(self) -> Option<usize> {
        match self {
            Self::Formula(_) | Self::Composite(_) => None,
            Self::Slo(_) => Some(0),
            Self::Largest { metric }
            | Self::Agreed { metric }
            | Self::Divided { metric, .. }
            | Self::Step(StepDecision { metric, .. })
            | Self::Watermarks(WatermarkDecision { metric, .. })
            | Self::Tracking(TrackingDecision { metric, .. })
            | Self::Burst(BurstDecision { metric, .. }) => Some(metric),
        }
    }
}

/// Combines the proposals of the metrics by the policy. Policies with a memory record the current state in `memory`.
pub fn combine(input: &PolicyInput<'_>, memory: &mut PolicyMemory) -> Combined {
    let current = input.current;
    match &input.spec.policy {
        ScalePolicy::Hpa => largest(input.proposals(), current),
        ScalePolicy::Unanimous => unanimous(input.proposals(), current),
        ScalePolicy::Step(policy) => step::choose(policy, input, memory),
        ScalePolicy::Watermarks(policy) => watermarks::choose(policy, input, memory),
        ScalePolicy::TargetTracking(policy) => tracking::choose(*policy, input, memory),
        ScalePolicy::Burst(policy) => burst::choose(policy, input, memory),
        ScalePolicy::Formula(policy) => formula::choose(policy, input),
        ScalePolicy::Composite(policy) => composite::choose(policy, input),
        ScalePolicy::Slo(slo) => slo_first::choose(slo, input, memory),
    }
}

/// The largest of the `proposals`. While a metric is not valid, the others may scale out, never in.
///
/// Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `computeReplicasForMetrics`.
pub(super) fn largest(proposals: impl Iterator<Item = Option<u32>>, current: u32) -> Combined {
    let mut chosen: Option<(u32, usize)> = None;
    let mut first_invalid = None;
    for (index, proposal) in proposals.enumerate() {
        match proposal {
            Some(proposal) if chosen.is_none_or(|(replicas, _)| proposal > replicas) => {
                chosen = Some((proposal, index));
            }
            Some(_) => {}
            None => first_invalid = first_invalid.or(Some(index)),
        }
    }
    match (chosen, first_invalid) {
        (Some((replicas, _)), Some(invalid)) if replicas < current => {
            Combined::Held { invalid, proposal: Some(replicas) }
        }
        (Some((replicas, metric)), Some(_) | None) => {
            Combined::Chosen { replicas, decided_by: DecidedBy::Largest { metric } }
        }
        (None, invalid) => Combined::Held { invalid: invalid.unwrap_or(0), proposal: None },
    }
}

/// The proposal nearest to `current`, when all propose a change in the same direction.
fn unanimous(each: impl Iterator<Item = Option<u32>>, current: u32) -> Combined {
    let mut proposals = Vec::new();
    for (index, replicas) in each.enumerate() {
        match replicas {
            Some(replicas) => proposals.push(replicas),
            None => return Combined::Held { invalid: index, proposal: None },
        }
    }
    let direction = |replicas: u32| replicas.cmp(&current);
    let Some(first) = proposals.iter().position(|replicas| direction(*replicas).is_ne()) else {
        return match proposals.first() {
            Some(_) => Combined::Chosen { replicas: current, decided_by: DecidedBy::Agreed { metric: 0 } },
            None => Combined::Held { invalid: 0, proposal: None },
        };
    };
    let is_against = |replicas: &u32| direction(*replicas) != direction(proposals[first]);
    if let Some(against) = proposals.iter().position(is_against) {
        let decided_by = DecidedBy::Divided { metric: first, against };
        return Combined::Chosen { replicas: current, decided_by };
    }
    let distance = |(_, replicas): &(usize, &u32)| replicas.abs_diff(current);
    let (metric, replicas) =
        proposals.iter().enumerate().min_by_key(distance).expect("one has proposed a change");
    Combined::Chosen { replicas: *replicas, decided_by: DecidedBy::Agreed { metric } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed<const N: usize>(proposals: [u32; N]) -> Combined {
        unanimous(proposals.into_iter().map(Some), 5)
    }

    #[test]
    fn when_all_propose_more_the_smallest_increase_wins() {
        let chosen = Combined::Chosen { replicas: 6, decided_by: DecidedBy::Agreed { metric: 1 } };
        assert_eq!(agreed([9, 6, 7]), chosen);
    }

    #[test]
    fn when_all_propose_fewer_the_smallest_decrease_wins() {
        let chosen = Combined::Chosen { replicas: 4, decided_by: DecidedBy::Agreed { metric: 0 } };
        assert_eq!(agreed([4, 2]), chosen);
    }

    #[test]
    fn when_the_proposals_disagree_the_number_stays() {
        for (proposals, metric, against) in [([9, 2], 0, 1), ([9, 5], 0, 1), ([5, 4], 1, 0)] {
            let decided_by = DecidedBy::Divided { metric, against };
            assert_eq!(agreed(proposals), Combined::Chosen { replicas: 5, decided_by });
        }
    }

    #[test]
    fn a_metric_that_is_not_measured_holds_the_number() {
        let held = Combined::Held { invalid: 1, proposal: None };
        assert_eq!(unanimous([Some(9), None].into_iter(), 5), held);
    }
}
