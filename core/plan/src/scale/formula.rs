//! The formula policy: one number from several metrics, by a formula.
//!
//! Source: KEDA 2.20, `scalingModifiers` (pkg/scaling/modifiers), where a metric that cannot be read is nil, too, and `??` is what
//! `default` is here. Differences: docs/decisions/0025.

use std::fmt::Write;

use model::decision::MetricVerdict;
use model::resource::{
    AutoscalerSpec, FormulaPolicy, MetricSpec, Quantity, READY_REPLICAS_NAME, REPLICAS_NAME, ScalePolicy,
    Undefined,
};

use super::choice::{Choice, NoChoice};
use super::combined_value::{CombinedArithmetic, ComparedTo, NoNumber, replicas_for_value};
use super::metric_text::{amount_of, combined_arithmetic, figure};
use super::policy_input::PolicyInput;
use super::proposal::{MetricFault, Proposal};

/// The value of a formula, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FormulaValue {
    /// Its value, at least 0.
    pub value: f64,
    /// The arithmetic from the value to a number of replicas.
    pub arithmetic: CombinedArithmetic,
    /// Replicas that answered requests.
    pub ready: u32,
}

/// Decides by the formula.
pub(super) fn choose(
    policy: &FormulaPolicy,
    input: &PolicyInput<'_>,
) -> Result<Choice<FormulaValue>, NoChoice> {
    let (spec, current, ready) = (input.spec, input.current, input.serving());
    let value_of = |place: usize| -> Option<f64> {
        match policy.expression.name(place)? {
            REPLICAS_NAME => Some(f64::from(current)),
            READY_REPLICAS_NAME => Some(f64::from(ready)),
            name => Some(input.metrics.get(metric_named(spec, name)?)?.as_ref().ok()?.level.measured()),
        }
    };
    let value = match policy.expression.value(&value_of) {
        Ok(value) => value,
        Err(Undefined::Missing(place)) => {
            let invalid =
                policy.expression.name(place).and_then(|name| metric_named(spec, name)).unwrap_or(0);
            return Err(NoChoice::without(invalid));
        }
        Err(why) => return Err(NoChoice::NoResult(NoNumber::Undefined(why))),
    };
    let metrics = policy.expression.names().filter_map(|name| metric_named(spec, name));
    let (replicas, arithmetic) =
        replicas_for_value(value, compared_to(policy), &metrics, input).map_err(NoChoice::NoResult)?;
    Ok(Choice { replicas, decided_by: FormulaValue { value, arithmetic, ready } })
}

fn compared_to(policy: &FormulaPolicy) -> ComparedTo {
    let target = |target: Quantity| ComparedTo::Target(target.milli() as f64 / 1000.0, policy.metric_type);
    policy.target.map_or(ComparedTo::Nothing, target)
}

fn metric_named(spec: &AutoscalerSpec, name: &str) -> Option<usize> {
    spec.metrics.iter().position(|metric| metric.name() == name)
}

/// Such as `max(cpu / 60, queue / 30) is 1.75 (cpu 105 %, queue 12), target 1: 1.750 × 2 replicas, rounded up, is 4`.
pub(super) fn describe(
    spec: &AutoscalerSpec,
    metrics: &[Result<Proposal, MetricFault>],
    computed: FormulaValue,
    (current, proposal): (u32, u32),
) -> String {
    let ScalePolicy::Formula(policy) = &spec.policy else { return String::new() };
    let mut sentence = format!("{} is {}", one_line(policy.expression.as_str()), figure(computed.value));
    let operands: Vec<String> = policy
        .expression
        .names()
        .map(|name| match (name, metric_named(spec, name)) {
            (REPLICAS_NAME, _) => format!("{name} {current}"),
            (READY_REPLICAS_NAME, _) => format!("{name} {}", computed.ready),
            (_, Some(place)) => operand(name, spec.metrics.get(place), metrics.get(place)),
            (_, None) => name.to_owned(),
        })
        .collect();
    // Writing to a string never fails.
    let _ = write!(sentence, " ({})", operands.join(", "));
    if let Some(target) = policy.target {
        let _ = write!(sentence, ", target {target}");
    }
    sentence + ": " + &combined_arithmetic(spec, metrics, computed.arithmetic, proposal)
}

fn operand(
    name: &str,
    metric: Option<&MetricSpec>,
    proposal: Option<&Result<Proposal, MetricFault>>,
) -> String {
    match (metric, proposal) {
        (Some(metric), Some(Ok(proposal))) => format!("{name} {}", amount_of(metric, proposal.level.whole())),
        (_, _) => format!("{name} missing"),
    }
}

/// Replaces the proposals of single metrics in `verdicts` by how the formula uses them, as none of them proposes a number by itself.
pub(super) fn describe_operands(
    policy: &FormulaPolicy,
    spec: &AutoscalerSpec,
    verdicts: &mut [MetricVerdict],
) {
    for (metric, verdict) in spec.metrics.iter().zip(verdicts) {
        if verdict.proposal.is_none() {
            continue;
        }
        let is_named = policy.expression.names().any(|name| name == metric.name());
        let note =
            if is_named { "the formula uses it" } else { "it has no effect: the formula does not use it" };
        (verdict.ratio, verdict.proposal, verdict.note) = (None, None, note.into());
    }
}

/// The result of the formula, as one more metric.
pub(super) fn verdict(
    policy: &FormulaPolicy,
    computed: Option<(FormulaValue, u32)>,
    note: String,
) -> MetricVerdict {
    let ratio = computed.and_then(|(computed, _)| computed.arithmetic.ratio());
    MetricVerdict {
        name: "formula".into(),
        current: computed
            .map_or_else(|| MetricVerdict::UNKNOWN.into(), |(computed, _)| figure(computed.value).into()),
        target: policy.target.map_or_else(|| "-".into(), |target| target.to_string().into()),
        ratio,
        proposal: computed.map(|(_, replicas)| replicas),
        note: note.into(),
        samples: None,
    }
}

/// Why the formula has no result.
pub(super) fn no_result(spec: &AutoscalerSpec, why: NoNumber) -> String {
    match &spec.policy {
        ScalePolicy::Formula(policy) => {
            format!("the formula {} gives no number, because {why}", one_line(policy.expression.as_str()))
        }
        ScalePolicy::Hpa
        | ScalePolicy::Unanimous
        | ScalePolicy::Step(_)
        | ScalePolicy::Watermarks(_)
        | ScalePolicy::TargetTracking(_)
        | ScalePolicy::Burst(_)
        | ScalePolicy::Composite(_)
        | ScalePolicy::Slo(_) => why.to_string(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
