//! Several metrics, one number: the largest proposal, and no scale-in on partial data; or what all agree on.

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

/// What the metrics of an autoscaler come to.
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
        /// What the valid ones ask for, when there are any.
        asked: Option<u32>,
    },
    /// No number: what the metrics say was put together, and came to none.
    Unanswered(NoNumber),
}

/// What determined a number. Metrics are named by their place in the declaration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecidedBy {
    /// The largest proposal; the first of equals.
    Largest {
        /// Whose it is.
        metric: usize,
    },
    /// All asked for a change this way, or for none.
    Agreed {
        /// The metric that asked for least of it.
        metric: usize,
    },
    /// They did not all ask for a change the same way, so the number stays.
    Divided {
        /// The first that asked for a change.
        metric: usize,
        /// The first that did not ask for the same.
        against: usize,
    },
    /// Steps over one metric.
    Step(StepDecision),
    /// Watermarks of one metric.
    Watermarks(WatermarkDecision),
    /// The largest proposal, followed with care.
    Tracking(TrackingDecision),
    /// Windows over one metric.
    Burst(BurstDecision),
    /// A formula over several.
    Formula(FormulaValue),
    /// A weighted mean of all.
    Composite(CompositeLoad),
    /// What an SLO requires.
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

/// Combines what the metrics say, in their order, as the policy has it. Policies that look back note in `memory` what is so now.
pub fn combine(input: &PolicyInput<'_>, memory: &mut PolicyMemory) -> Combined {
    let current = input.current;
    match &input.spec.policy {
        ScalePolicy::Hpa => largest(input.asked(), current),
        ScalePolicy::Unanimous => unanimous(input.asked(), current),
        ScalePolicy::Step(policy) => step::choose(policy, input, memory),
        ScalePolicy::Watermarks(policy) => watermarks::choose(policy, input, memory),
        ScalePolicy::TargetTracking(policy) => tracking::choose(*policy, input, memory),
        ScalePolicy::Burst(policy) => burst::choose(policy, input, memory),
        ScalePolicy::Formula(policy) => formula::choose(policy, input),
        ScalePolicy::Composite(policy) => composite::choose(policy, input),
        ScalePolicy::Slo(slo) => slo_first::choose(slo, input, memory),
    }
}

/// The largest of what is `asked`. A metric that is not valid may let the service grow, never shrink.
///
/// Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `computeReplicasForMetrics`.
pub(super) fn largest(asked: impl Iterator<Item = Option<u32>>, current: u32) -> Combined {
    let mut chosen: Option<(u32, usize)> = None;
    let mut first_invalid = None;
    for (index, asked) in asked.enumerate() {
        match asked {
            Some(asked) if chosen.is_none_or(|(replicas, _)| asked > replicas) => {
                chosen = Some((asked, index));
            }
            Some(_) => {}
            None => first_invalid = first_invalid.or(Some(index)),
        }
    }
    match (chosen, first_invalid) {
        (Some((replicas, _)), Some(invalid)) if replicas < current => {
            Combined::Held { invalid, asked: Some(replicas) }
        }
        (Some((replicas, metric)), Some(_) | None) => {
            Combined::Chosen { replicas, decided_by: DecidedBy::Largest { metric } }
        }
        (None, invalid) => Combined::Held { invalid: invalid.unwrap_or(0), asked: None },
    }
}

/// What is `asked` nearest to `current`, when all ask for a change the same way.
fn unanimous(each: impl Iterator<Item = Option<u32>>, current: u32) -> Combined {
    let mut asked = Vec::new();
    for (index, replicas) in each.enumerate() {
        match replicas {
            Some(replicas) => asked.push(replicas),
            None => return Combined::Held { invalid: index, asked: None },
        }
    }
    let way = |replicas: u32| replicas.cmp(&current);
    let Some(first) = asked.iter().position(|replicas| way(*replicas).is_ne()) else {
        return match asked.first() {
            Some(_) => Combined::Chosen { replicas: current, decided_by: DecidedBy::Agreed { metric: 0 } },
            None => Combined::Held { invalid: 0, asked: None },
        };
    };
    if let Some(against) = asked.iter().position(|replicas| way(*replicas) != way(asked[first])) {
        let decided_by = DecidedBy::Divided { metric: first, against };
        return Combined::Chosen { replicas: current, decided_by };
    }
    let distance = |(_, replicas): &(usize, &u32)| replicas.abs_diff(current);
    let (metric, replicas) =
        asked.iter().enumerate().min_by_key(distance).expect("one has asked for a change");
    Combined::Chosen { replicas: *replicas, decided_by: DecidedBy::Agreed { metric } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed<const N: usize>(asked: [u32; N]) -> Combined {
        unanimous(asked.into_iter().map(Some), 5)
    }

    #[test]
    fn all_must_ask_for_more_and_the_least_of_it_wins() {
        let chosen = Combined::Chosen { replicas: 6, decided_by: DecidedBy::Agreed { metric: 1 } };
        assert_eq!(agreed([9, 6, 7]), chosen);
    }

    #[test]
    fn all_must_ask_for_fewer_and_the_least_change_wins() {
        let chosen = Combined::Chosen { replicas: 4, decided_by: DecidedBy::Agreed { metric: 0 } };
        assert_eq!(agreed([4, 2]), chosen);
    }

    #[test]
    fn while_they_disagree_the_number_stays() {
        for (asked, metric, against) in [([9, 2], 0, 1), ([9, 5], 0, 1), ([5, 4], 1, 0)] {
            let decided_by = DecidedBy::Divided { metric, against };
            assert_eq!(agreed(asked), Combined::Chosen { replicas: 5, decided_by });
        }
    }

    #[test]
    fn one_that_cannot_be_measured_holds_the_number() {
        let held = Combined::Held { invalid: 1, asked: None };
        assert_eq!(unanimous([Some(9), None].into_iter(), 5), held);
    }
}
