//! Several metrics, one number: the largest proposal, and no scale-in on partial data; or what all agree on.

use model::memory::PolicyMemory;
use model::resource::ScalePolicy;

use super::against::NoNumber;
use super::burst::{self, Windowed};
use super::composite::{self, Composed};
use super::formula::{self, Computed};
use super::promise::{self, Promised};
use super::question::Question;
use super::step::{self, Stepped};
use super::tracking::{self, Tracked};
use super::watermarks::{self, Marked};

/// What the metrics of an autoscaler come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Combined {
    /// This many replicas.
    Chosen {
        /// The number.
        replicas: u32,
        /// What gave it.
        choice: Choice,
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

/// What gave a number. Metrics are named by their place in the declaration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
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
    Step(Stepped),
    /// Watermarks of one metric.
    Watermarks(Marked),
    /// The largest proposal, followed with care.
    Tracking(Tracked),
    /// Windows over one metric.
    Burst(Windowed),
    /// A formula over several.
    Formula(Computed),
    /// A weighted mean of all.
    Composite(Composed),
    /// What a promise takes.
    Promise(Promised),
}

impl Choice {
    /// The metric that gave the number, or would have; `None` where several did together.
    pub fn metric(self) -> Option<usize> {
        match self {
            Self::Formula(_) | Self::Composite(_) => None,
            Self::Promise(_) => Some(0),
            Self::Largest { metric }
            | Self::Agreed { metric }
            | Self::Divided { metric, .. }
            | Self::Step(Stepped { metric, .. })
            | Self::Watermarks(Marked { metric, .. })
            | Self::Tracking(Tracked { metric, .. })
            | Self::Burst(Windowed { metric, .. }) => Some(metric),
        }
    }
}

/// Combines what the metrics say, in their order, as the policy has it. Policies that look back note in `memory` what is so now.
pub fn combine(question: &Question<'_>, memory: &mut PolicyMemory) -> Combined {
    let current = question.current;
    match &question.spec.policy {
        ScalePolicy::Hpa => largest(question.asked(), current),
        ScalePolicy::Unanimous => unanimous(question.asked(), current),
        ScalePolicy::Step(policy) => step::choose(policy, question, memory),
        ScalePolicy::Watermarks(policy) => watermarks::choose(policy, question, memory),
        ScalePolicy::TargetTracking(policy) => tracking::choose(*policy, question, memory),
        ScalePolicy::Burst(policy) => burst::choose(policy, question, memory),
        ScalePolicy::Formula(policy) => formula::choose(policy, question),
        ScalePolicy::Composite(policy) => composite::choose(policy, question),
        ScalePolicy::Slo(slo) => promise::choose(slo, question, memory),
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
            Combined::Chosen { replicas, choice: Choice::Largest { metric } }
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
            Some(_) => Combined::Chosen { replicas: current, choice: Choice::Agreed { metric: 0 } },
            None => Combined::Held { invalid: 0, asked: None },
        };
    };
    if let Some(against) = asked.iter().position(|replicas| way(*replicas) != way(asked[first])) {
        let choice = Choice::Divided { metric: first, against };
        return Combined::Chosen { replicas: current, choice };
    }
    let distance = |(_, replicas): &(usize, &u32)| replicas.abs_diff(current);
    let (metric, replicas) =
        asked.iter().enumerate().min_by_key(distance).expect("one has asked for a change");
    Combined::Chosen { replicas: *replicas, choice: Choice::Agreed { metric } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed<const N: usize>(asked: [u32; N]) -> Combined {
        unanimous(asked.into_iter().map(Some), 5)
    }

    #[test]
    fn all_must_ask_for_more_and_the_least_of_it_wins() {
        let chosen = Combined::Chosen { replicas: 6, choice: Choice::Agreed { metric: 1 } };
        assert_eq!(agreed([9, 6, 7]), chosen);
    }

    #[test]
    fn all_must_ask_for_fewer_and_the_least_change_wins() {
        let chosen = Combined::Chosen { replicas: 4, choice: Choice::Agreed { metric: 0 } };
        assert_eq!(agreed([4, 2]), chosen);
    }

    #[test]
    fn while_they_disagree_the_number_stays() {
        for (asked, metric, against) in [([9, 2], 0, 1), ([9, 5], 0, 1), ([5, 4], 1, 0)] {
            let choice = Choice::Divided { metric, against };
            assert_eq!(agreed(asked), Combined::Chosen { replicas: 5, choice });
        }
    }

    #[test]
    fn one_that_cannot_be_measured_holds_the_number() {
        let held = Combined::Held { invalid: 1, asked: None };
        assert_eq!(unanimous([Some(9), None].into_iter(), 5), held);
    }
}
