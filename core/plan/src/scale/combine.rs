//! One number from several metrics: by default the largest proposal, and no scale-in on partial data.

use model::memory::PolicyMemory;
use model::resource::ScalePolicy;

use super::burst::{self, BurstDecision};
use super::choice::{Choice, NoChoice, largest};
use super::composite::{self, CompositeLoad};
use super::formula::{self, FormulaValue};
use super::policy_input::PolicyInput;
use super::slo_first::{self, SloDecision};
use super::step::{self, StepDecision};
use super::tracking::{self, TrackingDecision};
use super::watermarks::{self, WatermarkDecision};

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
pub fn combine(input: &PolicyInput<'_>, memory: &mut PolicyMemory) -> Result<Choice<DecidedBy>, NoChoice> {
    let current = input.current;
    Ok(match &input.spec.policy {
        ScalePolicy::Hpa => largest(input.proposals(), current)?.map(|metric| DecidedBy::Largest { metric }),
        ScalePolicy::Unanimous => unanimous(input.proposals(), current)?,
        ScalePolicy::Step(policy) => step::choose(policy, input, memory)?.map(DecidedBy::Step),
        ScalePolicy::Watermarks(policy) => {
            watermarks::choose(policy, input, memory)?.map(DecidedBy::Watermarks)
        }
        ScalePolicy::TargetTracking(policy) => {
            tracking::choose(*policy, input, memory)?.map(DecidedBy::Tracking)
        }
        ScalePolicy::Burst(policy) => burst::choose(policy, input, memory)?.map(DecidedBy::Burst),
        ScalePolicy::Formula(policy) => formula::choose(policy, input)?.map(DecidedBy::Formula),
        ScalePolicy::Composite(policy) => composite::choose(policy, input)?.map(DecidedBy::Composite),
        ScalePolicy::Slo(slo) => slo_first::choose(slo, input, memory)?.map(DecidedBy::Slo),
    })
}

/// The proposal nearest to `current`, when all propose a change in the same direction.
fn unanimous(
    proposals: impl Iterator<Item = Option<u32>>,
    current: u32,
) -> Result<Choice<DecidedBy>, NoChoice> {
    let proposals = proposals.enumerate().map(|(index, proposal)| proposal.ok_or(NoChoice::without(index)));
    let proposals: Vec<u32> = proposals.collect::<Result<_, _>>()?;
    let direction = |replicas: u32| replicas.cmp(&current);
    let Some(first) = proposals.iter().position(|replicas| direction(*replicas).is_ne()) else {
        return match proposals.first() {
            Some(_) => Ok(Choice { replicas: current, decided_by: DecidedBy::Agreed { metric: 0 } }),
            None => Err(NoChoice::without(0)),
        };
    };
    let is_against = |replicas: &u32| direction(*replicas) != direction(proposals[first]);
    if let Some(against) = proposals.iter().position(is_against) {
        let decided_by = DecidedBy::Divided { metric: first, against };
        return Ok(Choice { replicas: current, decided_by });
    }
    let distance = |(_, replicas): &(usize, &u32)| replicas.abs_diff(current);
    let (metric, replicas) =
        proposals.iter().enumerate().min_by_key(distance).expect("one has proposed a change");
    Ok(Choice { replicas: *replicas, decided_by: DecidedBy::Agreed { metric } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined<const N: usize>(proposals: [u32; N]) -> Result<Choice<DecidedBy>, NoChoice> {
        unanimous(proposals.into_iter().map(Some), 5)
    }

    #[test]
    fn when_all_propose_more_the_smallest_increase_wins() {
        let chosen = Choice { replicas: 6, decided_by: DecidedBy::Agreed { metric: 1 } };
        assert_eq!(combined([9, 6, 7]), Ok(chosen));
    }

    #[test]
    fn when_all_propose_fewer_the_smallest_decrease_wins() {
        let chosen = Choice { replicas: 4, decided_by: DecidedBy::Agreed { metric: 0 } };
        assert_eq!(combined([4, 2]), Ok(chosen));
    }

    #[test]
    fn when_the_proposals_disagree_the_number_stays() {
        for (proposals, metric, against) in [([9, 2], 0, 1), ([9, 5], 0, 1), ([5, 4], 1, 0)] {
            let decided_by = DecidedBy::Divided { metric, against };
            assert_eq!(combined(proposals), Ok(Choice { replicas: 5, decided_by }));
        }
    }

    #[test]
    fn a_metric_that_is_not_measured_holds_the_number() {
        assert_eq!(unanimous([Some(9), None].into_iter(), 5), Err(NoChoice::without(1)));
    }
}
