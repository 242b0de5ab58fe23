//! The texts for policies with a memory: what was observed, what follows from it, and what is waited for.

use model::quantity::Replicas;
use model::resource::{
    AutoscalerSpec, BurstPolicy, MetricSpec, Quantity, ScalePolicy, ScaleStep, StepChange, StepPolicy,
    WatermarkPolicy,
};

use super::burst::{BurstDecision, BurstOutcome};
use super::combine::DecidedBy;
use super::metric_text::{MetricName, Replacements, amount_of, kept};
use super::policy_input::target_of;
use super::reading::Milli;
use super::slo_first::SloDecision;
use super::stabilize::Direction;
use super::step::{StepDecision, StepOutcome, replicas_after, steps_of};
use super::tracking::{TrackingDecision, TrackingOutcome};
use super::watermarks::{WatermarkDecision, WatermarkOutcome};

/// How a policy with a memory came to its number, with its arithmetic; `None` for other policies.
///
/// `current` are the replicas wanted until now; `proposal` describes the proposal of the metric of `decided_by`.
pub(super) fn describe(
    spec: &AutoscalerSpec,
    decided_by: DecidedBy,
    current: u32,
    proposal: impl FnOnce() -> String,
) -> Option<String> {
    let metric = spec.metrics.get(decided_by.metric()?)?;
    match (decided_by, &spec.policy) {
        (DecidedBy::Step(decision), ScalePolicy::Step(policy)) => {
            Some(of_steps(policy, metric, decision, current))
        }
        (DecidedBy::Watermarks(decision), ScalePolicy::Watermarks(policy)) => {
            Some(of_watermarks(policy, metric, decision, current))
        }
        (DecidedBy::Tracking(decision), _) => Some(proposal() + &of_tracking(decision).unwrap_or_default()),
        (DecidedBy::Burst(decision), ScalePolicy::Burst(policy)) => {
            Some(of_windows(policy, metric, decision, current))
        }
        (DecidedBy::Slo(decision), _) => Some(of_slo(metric, decision)),
        (
            DecidedBy::Largest { .. }
            | DecidedBy::Agreed { .. }
            | DecidedBy::Divided { .. }
            | DecidedBy::Step(_)
            | DecidedBy::Watermarks(_)
            | DecidedBy::Burst(_)
            | DecidedBy::Formula(_)
            | DecidedBy::Composite(_),
            _,
        ) => None,
    }
}

/// The thresholds that the only metric of a policy is compared to; `None` for policies that compare it to its target.
pub(super) fn compared_to(spec: &AutoscalerSpec, metric: &MetricSpec) -> Option<String> {
    let amount = |milli: i64| amount_of(metric, Milli(milli));
    match &spec.policy {
        ScalePolicy::Step(policy) => {
            let low = policy
                .below
                .last()
                .and_then(|step| step.to)
                .map(|to| format!("below {}", amount(to.milli())));
            let high = policy.above.first().and_then(|step| step.from);
            let high = high.map(|from| format!("from {} on", amount(from.milli())));
            Some(low.into_iter().chain(high).collect::<Vec<_>>().join(", "))
        }
        ScalePolicy::Watermarks(policy) => {
            Some(format!("{} to {}", amount(policy.low.milli()), amount(policy.high.milli())))
        }
        ScalePolicy::Slo(_) => Some(format!("{} each", amount(target_of(metric).0))),
        ScalePolicy::Hpa
        | ScalePolicy::Unanimous
        | ScalePolicy::TargetTracking(_)
        | ScalePolicy::Burst(_)
        | ScalePolicy::Formula(_)
        | ScalePolicy::Composite(_) => None,
    }
}

/// Such as `http_requests_per_second at 84 in the latest evaluation, and from 70 on in 3 of the last 3: the step from 80 on adds 50 %, 2 + 1 is 3`.
fn of_steps(policy: &StepPolicy, metric: &MetricSpec, decision: StepDecision, current: u32) -> String {
    let (name, every, of) = (MetricName(metric), policy.evaluation.every, decision.evaluations);
    let kept = kept(current);
    let Some(latest) = decision.latest else {
        return if of == 0 {
            format!(
                "{name} is evaluated every {every}, and no evaluation has ended since the last change, {kept}"
            )
        } else {
            format!("{name} was not measured during the latest evaluation, {kept}")
        };
    };
    let observed = format!("{name} at {} in the latest evaluation", amount_of(metric, latest));
    let edge = |direction| edge(policy, direction, metric);
    let agreed = |direction, breaches: u32| {
        format!("{observed}, and {} in {breaches} of the last {of}", edge(direction))
    };
    match decision.outcome {
        StepOutcome::Unknown | StepOutcome::NoStep => format!("{observed}, which no step covers, {kept}"),
        StepOutcome::TooFewBreaches { direction, breaches } => {
            format!(
                "{}, of which {} are needed, {kept}",
                agreed(direction, breaches),
                policy.evaluation.breaches
            )
        }
        StepOutcome::CoolingDown { direction, until } => {
            let verb = verb(direction);
            format!(
                "{observed}, {}, but the cooldown lets no replica be {verb} before {until}",
                edge(direction)
            )
        }
        StepOutcome::Partial => {
            format!("{observed}, but replicas without a sample do not count as idle, {kept}")
        }
        StepOutcome::Taken { direction, breaches, step } => {
            let after = replicas_after(policy, direction, step, current);
            let (sign, by) = if after >= current { ('+', after - current) } else { ('-', current - after) };
            let step =
                steps_of(policy, direction).get(step).map(|step| describe_step(step, direction, metric));
            let step = step.unwrap_or_default();
            format!("{}: the step {step}, {current} {sign} {by} is {after}", agreed(direction, breaches))
        }
    }
}

/// Where the steps of a side begin: `from 70 on`, `below 30`.
fn edge(policy: &StepPolicy, direction: Direction, metric: &MetricSpec) -> String {
    let steps = steps_of(policy, direction);
    match direction {
        Direction::Out => range(steps.first().and_then(|step| step.from), None, metric),
        Direction::In => range(None, steps.last().and_then(|step| step.to), metric),
    }
}

fn range(from: Option<Quantity>, to: Option<Quantity>, metric: &MetricSpec) -> String {
    let amount = |quantity: Quantity| amount_of(metric, Milli(quantity.milli()));
    match (from, to) {
        (Some(from), Some(to)) => format!("from {} to {}", amount(from), amount(to)),
        (Some(from), None) => format!("from {} on", amount(from)),
        (None, Some(to)) => format!("below {}", amount(to)),
        (None, None) => "everywhere".to_owned(),
    }
}

/// Such as `from 70 to 80 adds 2`.
fn describe_step(step: &ScaleStep, direction: Direction, metric: &MetricSpec) -> String {
    let verb = match direction {
        Direction::Out => "adds",
        Direction::In => "removes",
    };
    let change = match step.change {
        StepChange::Replicas(replicas) => format!("{verb} {replicas}"),
        StepChange::Percent { percent, at_least: 1 } => format!("{verb} {} %", percent.0),
        StepChange::Percent { percent, at_least } => format!("{verb} {} %, at least {at_least}", percent.0),
        StepChange::Exactly(exactly) => format!("goes to {exactly}"),
    };
    format!("{} {change}", range(step.from, step.to, metric))
}

fn verb(direction: Direction) -> &'static str {
    match direction {
        Direction::Out => "added",
        Direction::In => "removed",
    }
}

/// Such as `cpu at 91 %, above the high watermark 80 %: 182 % in total, with at most 80 % per replica, needs 3`.
fn of_watermarks(
    policy: &WatermarkPolicy,
    metric: &MetricSpec,
    decision: WatermarkDecision,
    current: u32,
) -> String {
    let amount = |milli: i64| amount_of(metric, Milli(milli));
    let (high, low) = (amount(policy.high.milli()), amount(policy.low.milli()));
    let at = format!("{} at {}", MetricName(metric), amount_of(metric, decision.value));
    let kept = kept(current);
    let beyond = |direction| match direction {
        Direction::Out => format!("{at}, above the high watermark {high}"),
        Direction::In => format!("{at}, below the low watermark {low}"),
    };
    match decision.outcome {
        WatermarkOutcome::Unchanged if decision.value.0 > policy.high.milli() => {
            format!("{}, but enough replicas for it are starting, {kept}", beyond(Direction::Out))
        }
        WatermarkOutcome::Unchanged if decision.value.0 < policy.low.milli() => {
            format!(
                "{}, but fewer replicas would exceed the high one ({high}), {kept}",
                beyond(Direction::In)
            )
        }
        WatermarkOutcome::Unchanged => format!("{at}, between the watermarks {low} and {high}, {kept}"),
        WatermarkOutcome::Waiting { direction, replicas, until } => {
            format!(
                "{}: {} from {until} on if it stays there; until then {current}",
                beyond(direction),
                Replicas(replicas)
            )
        }
        WatermarkOutcome::Partial => {
            format!("{}, but replicas without a sample do not count as idle, {kept}", beyond(Direction::In))
        }
        WatermarkOutcome::Changed { direction, replicas } => {
            let each = match direction {
                Direction::Out => format!("at most {high}"),
                Direction::In => format!("at least {low} and at most {high}"),
            };
            let load = amount_of(metric, decision.load);
            format!("{}: {load} in total, with {each} per replica, needs {replicas}", beyond(direction))
        }
    }
}

fn of_tracking(decision: TrackingDecision) -> Option<String> {
    match decision.outcome {
        TrackingOutcome::Followed => None,
        TrackingOutcome::Waiting { direction, until } => {
            Some(format!("; no replica is {} before {until}, and only if this lasts", verb(direction)))
        }
        TrackingOutcome::Partial => Some("; but replicas without a sample do not count as idle".to_owned()),
        TrackingOutcome::WarmingUp { replicas, until } => {
            let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
            Some(format!(
                "; but {} warming up{until}, and no replica is removed meanwhile",
                Replicas(replicas).are()
            ))
        }
    }
}

/// Such as `http_requests_per_second at 212.5 in total over 1m, which at 50 per replica asks for 5`.
fn of_windows(policy: &BurstPolicy, metric: &MetricSpec, decision: BurstDecision, current: u32) -> String {
    let each = amount_of(metric, decision.each);
    let over = |mean: Milli, window, replicas: u32| {
        format!(
            "{} in total over {window}, which at {each} per replica asks for {replicas}",
            amount_of(metric, mean)
        )
    };
    let name = MetricName(metric);
    let stable = over(decision.stable, policy.stable_window, decision.stable_replicas);
    match decision.outcome {
        BurstOutcome::Stable { replacements } => format!("{name} at {stable}{}", Replacements(replacements)),
        BurstOutcome::WithinTolerance => {
            format!("{name} at {stable}: within the tolerance, {}", kept(current))
        }
        BurstOutcome::WindowIncomplete { until } => {
            format!(
                "{name} at {stable}; but no replica is removed before {until}, when the window is complete"
            )
        }
        BurstOutcome::Partial => {
            format!(
                "{name} at {stable}; but replicas without a sample do not count as idle, {}",
                kept(current)
            )
        }
        BurstOutcome::Panic { since, until, peak, replacements } => {
            let panic = over(decision.panic, policy.panic_window, decision.panic_replicas);
            let (ready, threshold) = (decision.ready, policy.panic_threshold_percent);
            format!(
                "a burst since {since}, {} at its peak{}: {name} at {panic}, with {ready} ready (a burst begins at {threshold} % \
                 of what these should carry), and at {stable}; no replica is removed before {until}",
                Replicas(peak),
                Replacements(replacements)
            )
        }
    }
}

/// Such as `http_requests_per_second at 120 in total, and a replica carries 41: 3; it rose past what 4 carry within the 13 s of a start in
/// 0.1 % of the times seen`.
fn of_slo(metric: &MetricSpec, decision: SloDecision) -> String {
    let SloDecision {
        load,
        capacity,
        needed,
        floor,
        risk,
        scale_in_floor,
        horizon,
        is_forecast,
        is_new,
        is_partial,
        learned,
    } = decision;
    let (load, capacity) = (amount_of(metric, load), amount_of(metric, capacity));
    let now =
        format!("{} at {load} in total, and a replica carries {capacity}: {needed}", MetricName(metric));
    let percent = f64::from(risk) / 10_000.0;
    let rise = if is_forecast {
        format!(
            "it rose past what {floor} carry within a minute in {percent} % of the minutes seen; beyond a minute the forecast counts"
        )
    } else if is_new {
        format!("too few rises have been seen yet, so 30 % of the capacity are kept free: {floor}")
    } else {
        let secs = horizon.as_secs();
        format!(
            "it rose past what {floor} carry within the {secs} s of a start in {percent} % of the times seen"
        )
    };
    let scale_in_floor = scale_in_floor.filter(|replicas| *replicas > needed.max(floor));
    let scale_in_floor = scale_in_floor.map_or_else(String::new, |replicas| {
        format!("; it scales in only to {replicas}, because what it has learned may change")
    });
    let partial = if is_partial { "; not all replicas are measured, so none is removed" } else { "" };
    let learned = match learned {
        Some(Ok(factors)) => format!("; {factors}"),
        Some(Err(why)) => format!("; SLO-first decides without what was learned: {why}"),
        None => String::new(),
    };
    format!("{now}; {rise}{scale_in_floor}{learned}{partial}")
}
