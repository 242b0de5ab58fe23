//! The step policy: replicas are added or removed by how high or how low one metric was in its latest evaluations.
//!
//! Source: AWS EC2 Auto Scaling, "Step and simple scaling policies", with the alarms of CloudWatch ("M out of N"); Nomad Autoscaler,
//! "Threshold Strategy Plugin". The choices where these differ: docs/decisions/0024.

use model::memory::{Evaluations, PolicyHistory, PolicyMemory};
use model::resource::{Evaluation, ScaleStep, StepChange, StepPolicy};
use model::time::Time;

use super::choice::{Choice, NoChoice};
use super::policy_input::PolicyInput;
use super::reading::Milli;
use super::stabilize::Direction;

/// The decision of a step policy, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepDecision {
    /// The metric, by its place in the declaration.
    pub metric: usize,
    /// The mean of the latest evaluation; `None` when none is over, or nothing was measured during it.
    pub latest: Option<Milli>,
    /// Evaluations that are over since the last change of the size, up to the number that the policy uses.
    pub evaluations: u32,
    /// How the number came about.
    pub outcome: StepOutcome,
}

/// How the number of a [`StepDecision`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// No evaluation is over since the last change of the size, or nothing was measured during the latest.
    Unknown,
    /// No step covers the latest evaluation.
    NoStep,
    /// Too few evaluations agree with the latest.
    TooFewBreaches {
        /// The direction of the change.
        direction: Direction,
        /// Evaluations that agree, including the latest.
        breaches: u32,
    },
    /// An earlier change is cooling down.
    CoolingDown {
        /// The direction in which no change is made.
        direction: Direction,
        /// When the cooldown ends.
        until: Time,
    },
    /// Some replicas that should be measured are not, so that none is removed.
    Partial,
    /// A step is taken.
    Taken {
        /// The direction of the change.
        direction: Direction,
        /// Evaluations that agree, including the latest.
        breaches: u32,
        /// The step, by its place among those of its side.
        step: usize,
    },
}

/// Decides by steps; records the current measurement in `memory`.
pub(super) fn choose(
    policy: &StepPolicy,
    input: &PolicyInput<'_>,
    memory: &mut PolicyMemory,
) -> Result<Choice<StepDecision>, NoChoice> {
    let (metric, proposal) = input.only_metric();
    let value = proposal.map(|proposal| proposal.level.value().max(Milli(0)));
    let mut evaluations = match std::mem::take(&mut memory.history) {
        PolicyHistory::Evaluations(evaluations) => evaluations,
        PolicyHistory::None
        | PolicyHistory::Pending(_)
        | PolicyHistory::Load(_)
        | PolicyHistory::Rises(_) => Evaluations { since: input.now, ..Evaluations::default() },
    };
    observe(&mut evaluations, input.now, value, policy.evaluation);
    let outcome = evaluate(policy, input, memory, &evaluations);
    let latest = evaluations.means.last().copied().flatten();
    let evaluated = u32::try_from(evaluations.means.len()).unwrap_or(u32::MAX);
    memory.history = PolicyHistory::Evaluations(evaluations);
    let Some(proposal) = proposal else { return Err(NoChoice::without(metric)) };
    let outcome = match outcome {
        StepOutcome::Taken { direction: Direction::In, .. } if proposal.census.missing() > 0 => {
            StepOutcome::Partial
        }
        outcome => outcome,
    };
    let replicas = match outcome {
        StepOutcome::Taken { direction, step, .. } => replicas_after(policy, direction, step, input.current),
        StepOutcome::Unknown
        | StepOutcome::NoStep
        | StepOutcome::TooFewBreaches { .. }
        | StepOutcome::CoolingDown { .. }
        | StepOutcome::Partial => input.current,
    };
    let decision = StepDecision { metric, latest, evaluations: evaluated, outcome };
    Ok(Choice { replicas, decided_by: decision })
}

/// Records a change of the size, at which its cooldown begins, and forgets earlier evaluations, which are of another size.
pub(super) fn record_change(memory: &mut PolicyMemory, now: Time, from: u32, to: u32) {
    *(if to > from { &mut memory.last_scale_out } else { &mut memory.last_scale_in }) = Some(now);
    if let PolicyHistory::Evaluations(evaluations) = &mut memory.history {
        evaluations.means.clear();
        (evaluations.since, evaluations.sum, evaluations.count) = (now, Milli(0), 0);
    }
}

/// Closes the evaluations that are over, and adds the measurement to the current one.
fn observe(evaluations: &mut Evaluations, now: Time, value: Option<Milli>, evaluation: Evaluation) {
    let every = evaluation.every.as_millis().max(1);
    let over = u64::try_from(now.since(evaluations.since).as_millis()).unwrap_or(u64::MAX) / every;
    let kept = evaluation.window() as usize;
    if over > 0 {
        let mean = (evaluations.count > 0).then(|| Milli(evaluations.sum.0 / i64::from(evaluations.count)));
        evaluations.means.push(mean);
        // Nothing was observed during the others.
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

fn evaluate(
    policy: &StepPolicy,
    input: &PolicyInput<'_>,
    memory: &PolicyMemory,
    evaluations: &Evaluations,
) -> StepOutcome {
    let Some(latest) = evaluations.means.last().copied().flatten() else { return StepOutcome::Unknown };
    let Some(direction) = side_of(policy, latest) else { return StepOutcome::NoStep };
    let agrees = |mean: &&Option<Milli>| mean.and_then(|mean| side_of(policy, mean)) == Some(direction);
    let breaches = u32::try_from(evaluations.means.iter().filter(agrees).count()).unwrap_or(u32::MAX);
    if breaches < policy.evaluation.breaches {
        return StepOutcome::TooFewBreaches { direction, breaches };
    }
    let (changed, cooldown) = match direction {
        Direction::Out => (memory.last_scale_out, policy.cooldown.scale_out),
        Direction::In => (memory.last_scale_out.max(memory.last_scale_in), policy.cooldown.scale_in),
    };
    match changed.map(|changed| changed + cooldown.as_duration()) {
        Some(until) if input.now < until => StepOutcome::CoolingDown { direction, until },
        Some(_) | None => {
            let step = step_of(policy, direction, latest, input.current);
            StepOutcome::Taken { direction, breaches, step }
        }
    }
}

/// The steps of one side.
pub(crate) fn steps_of(policy: &StepPolicy, direction: Direction) -> &[ScaleStep] {
    match direction {
        Direction::Out => &policy.above,
        Direction::In => &policy.below,
    }
}

/// The side whose steps cover `value`; `None` between them.
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

/// The place of the step that changes most among those that `value` has reached, so that more load never leads to fewer replicas. Of equals the one
/// that covers the value.
fn step_of(policy: &StepPolicy, direction: Direction, value: Milli, current: u32) -> usize {
    let steps = steps_of(policy, direction).iter().enumerate();
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

/// Replicas after the step at this place of one side.
pub(crate) fn replicas_after(policy: &StepPolicy, direction: Direction, step: usize, current: u32) -> u32 {
    steps_of(policy, direction).get(step).map_or(current, |step| after(step.change, direction, current))
}

/// Replicas after a change of `current` in `direction`, never in the other.
///
/// Percentages are rounded up when added and down when removed, so towards more replicas, but are at least `at_least`.
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
