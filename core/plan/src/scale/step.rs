//! Steps: replicas are added or removed by how high or how low one metric was in its latest evaluations.
//!
//! Source: AWS EC2 Auto Scaling, "Step and simple scaling policies", with the alarms of CloudWatch ("M out of N"); Nomad Autoscaler,
//! "Threshold Strategy Plugin". What is chosen where they differ: docs/decisions/0024.

use model::memory::{Evaluations, PolicyHistory, PolicyMemory};
use model::resource::{Evaluation, ScaleStep, StepChange, StepPolicy};
use model::time::Time;

use super::combine::{Combined, DecidedBy};
use super::policy_input::PolicyInput;
use super::reading::Milli;
use super::stabilize::Direction;

/// The decision of a step policy, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepDecision {
    /// The metric, by its place in the declaration.
    pub metric: usize,
    /// What the latest evaluation found; `None` when none is over, or nothing was measured during it.
    pub latest: Option<Milli>,
    /// Evaluations that are over since the last change of the size, of those that are looked at.
    pub evaluations: u32,
    /// How the number came about.
    pub outcome: StepOutcome,
}

/// How the number of a [`StepDecision`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// No evaluation is over since the last change of the size, or nothing was measured during the latest.
    Unknown,
    /// The latest evaluation lies in no step.
    Resting,
    /// Too few evaluations agree with the latest.
    Few {
        /// On a change this way.
        direction: Direction,
        /// So many, the latest among them.
        breaches: u32,
    },
    /// A change rests.
    Cooling {
        /// No other this way,
        direction: Direction,
        /// before this time.
        until: Time,
    },
    /// Some replicas that ought to be measured are not, so that none is removed.
    Partial,
    /// A step is taken.
    MeasuredMetric {
        /// Which way.
        direction: Direction,
        /// So many evaluations agree.
        breaches: u32,
        /// Which step, by its place among those of its side.
        step: usize,
    },
}

/// Decides by steps; notes in `memory` what is measured now.
pub(super) fn choose(policy: &StepPolicy, input: &PolicyInput<'_>, memory: &mut PolicyMemory) -> Combined {
    let (metric, proposal) = input.only_metric();
    let value = proposal.map(|proposal| proposal.level.value().max(Milli(0)));
    let mut evaluations = match std::mem::take(&mut memory.history) {
        PolicyHistory::Evaluations(evaluations) => evaluations,
        PolicyHistory::None
        | PolicyHistory::Pending(_)
        | PolicyHistory::Load(_)
        | PolicyHistory::Rises(_) => begun(input.now),
    };
    observe(&mut evaluations, input.now, value, policy.evaluation);
    let outcome = judge(policy, input, memory, &evaluations);
    let latest = evaluations.means.last().copied().flatten();
    let evaluated = u32::try_from(evaluations.means.len()).unwrap_or(u32::MAX);
    memory.history = PolicyHistory::Evaluations(evaluations);
    let Some(proposal) = proposal else { return Combined::Held { invalid: metric, asked: None } };
    let outcome = match outcome {
        StepOutcome::MeasuredMetric { direction: Direction::In, .. } if proposal.census.missing() > 0 => {
            StepOutcome::Partial
        }
        outcome => outcome,
    };
    let replicas = match outcome {
        StepOutcome::MeasuredMetric { direction, step, .. } => {
            applied(policy, direction, step, input.current)
        }
        StepOutcome::Unknown
        | StepOutcome::Resting
        | StepOutcome::Few { .. }
        | StepOutcome::Cooling { .. }
        | StepOutcome::Partial => input.current,
    };
    let decision = StepDecision { metric, latest, evaluations: evaluated, outcome };
    Combined::Chosen { replicas, decided_by: DecidedBy::Step(decision) }
}

/// Notes a change of the size, from which its cool-down counts, and forgets what was evaluated before: that says nothing of the size
/// after it.
pub(super) fn note_change(memory: &mut PolicyMemory, now: Time, from: u32, to: u32) {
    *(if to > from { &mut memory.last_scale_out } else { &mut memory.last_scale_in }) = Some(now);
    if let PolicyHistory::Evaluations(evaluations) = &mut memory.history {
        evaluations.means.clear();
        (evaluations.since, evaluations.sum, evaluations.count) = (now, Milli(0), 0);
    }
}

fn begun(now: Time) -> Evaluations {
    Evaluations { since: now, ..Evaluations::default() }
}

/// Ends the evaluations that are over by now, and adds what is measured to the one that is under way.
fn observe(evaluations: &mut Evaluations, now: Time, value: Option<Milli>, evaluation: Evaluation) {
    let every = evaluation.every.as_millis().max(1);
    let over = u64::try_from(now.since(evaluations.since).as_millis()).unwrap_or(u64::MAX) / every;
    let kept = evaluation.window() as usize;
    if over > 0 {
        let mean = (evaluations.count > 0).then(|| Milli(evaluations.sum.0 / i64::from(evaluations.count)));
        evaluations.means.push(mean);
        // Nobody looked during the others.
        let unseen = usize::try_from(over - 1).unwrap_or(usize::MAX).min(kept);
        evaluations.means.extend(std::iter::repeat_n(None, unseen));
        evaluations.since = Time::from_millis(evaluations.since.as_millis() + over * every);
        (evaluations.sum, evaluations.count) = (Milli(0), 0);
    }
    let excess = evaluations.means.len().saturating_sub(kept);
    evaluations.means.drain(..excess);
    if let (Some(value), true) = (value, evaluations.noted < now) {
        evaluations.sum = evaluations.sum.plus(value);
        evaluations.count += 1;
    }
    evaluations.noted = now;
}

fn judge(
    policy: &StepPolicy,
    input: &PolicyInput<'_>,
    memory: &PolicyMemory,
    evaluations: &Evaluations,
) -> StepOutcome {
    let Some(latest) = evaluations.means.last().copied().flatten() else { return StepOutcome::Unknown };
    let Some(direction) = side_of(policy, latest) else { return StepOutcome::Resting };
    let agrees = |mean: &&Option<Milli>| mean.and_then(|mean| side_of(policy, mean)) == Some(direction);
    let breaches = u32::try_from(evaluations.means.iter().filter(agrees).count()).unwrap_or(u32::MAX);
    if breaches < policy.evaluation.breaches {
        return StepOutcome::Few { direction, breaches };
    }
    let (changed, rest) = match direction {
        Direction::Out => (memory.last_scale_out, policy.cooldown.scale_out),
        Direction::In => (memory.last_scale_out.max(memory.last_scale_in), policy.cooldown.scale_in),
    };
    match changed.map(|changed| changed + rest.as_duration()) {
        Some(until) if input.now < until => StepOutcome::Cooling { direction, until },
        Some(_) | None => {
            let step = step_of(policy, direction, latest, input.current);
            StepOutcome::MeasuredMetric { direction, breaches, step }
        }
    }
}

/// The steps of one side.
pub(crate) fn side(policy: &StepPolicy, direction: Direction) -> &[ScaleStep] {
    match direction {
        Direction::Out => &policy.above,
        Direction::In => &policy.below,
    }
}

/// The side in whose steps `value` lies; `None` between them.
fn side_of(policy: &StepPolicy, value: Milli) -> Option<Direction> {
    let high = policy.above.first().and_then(|step| step.from);
    let low = policy.below.last().and_then(|step| step.to);
    if high.is_some_and(|high| value.0 >= high.milli()) {
        Some(Direction::Out)
    } else if low.is_some_and(|low| value.0 < low.milli()) {
        Some(Direction::In)
    } else {
        None
    }
}

/// Of the steps that `value` has reached, the place of the one that changes most: more load never asks for fewer replicas. Of equals
/// the one that the value lies in.
fn step_of(policy: &StepPolicy, direction: Direction, value: Milli, current: u32) -> usize {
    let steps = side(policy, direction).iter().enumerate();
    let after = |(_, step): &(usize, &ScaleStep)| after(step.change, direction, current);
    let is_reached = |step: &ScaleStep| match direction {
        Direction::Out => step.from.is_none_or(|from| value.0 >= from.milli()),
        Direction::In => step.to.is_none_or(|to| value.0 < to.milli()),
    };
    let reached = steps.filter(|(_, step)| is_reached(step));
    let found = match direction {
        Direction::Out => reached.max_by_key(after),
        Direction::In => reached.min_by_key(after),
    };
    found.map_or(0, |(place, _)| place)
}

/// Replicas after the step at a place of one side.
pub(crate) fn applied(policy: &StepPolicy, direction: Direction, step: usize, current: u32) -> u32 {
    side(policy, direction).get(step).map_or(current, |step| after(step.change, direction, current))
}

/// Replicas after a change of `current` one way, never the other.
///
/// Shares are rounded up when added and down when removed, so towards more replicas both times, but are never less than asked for at
/// least.
fn after(change: StepChange, direction: Direction, current: u32) -> u32 {
    let by = match (change, direction) {
        (StepChange::Exactly(exactly), Direction::Out) => return exactly.max(current),
        (StepChange::Exactly(exactly), Direction::In) => return exactly.min(current),
        (StepChange::Replicas(replicas), _) => replicas,
        (StepChange::Percent { percent, at_least }, direction) => {
            let hundredths = u64::from(current) * u64::from(percent.0);
            let share = match direction {
                Direction::Out => hundredths.div_ceil(100),
                Direction::In => hundredths / 100,
            };
            u32::try_from(share).unwrap_or(u32::MAX).max(at_least)
        }
    };
    match direction {
        Direction::Out => current.saturating_add(by).min(i32::MAX.unsigned_abs()),
        Direction::In => current.saturating_sub(by),
    }
}
