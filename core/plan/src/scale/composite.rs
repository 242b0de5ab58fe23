//! The composite policy: one load as a weighted mean of the ratios of all metrics to their targets.

use model::decision::MetricVerdict;
use model::resource::{AutoscalerSpec, CompositePolicy, FormulaTarget, MetricSpec};

use super::choice::{Choice, NoChoice};
use super::combined_value::{CombinedArithmetic, ComparedTo, replicas_for_value};
use super::metric_text::{combined_arithmetic, figure};
use super::policy_input::PolicyInput;
use super::proposal::{MetricFault, Proposal};

/// The composite load, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompositeLoad {
    /// The weighted mean; its target is 1.
    pub load: f64,
    /// The arithmetic from the load to a number of replicas.
    pub arithmetic: CombinedArithmetic,
    /// The first metric that is missing, and counted as 0.
    pub missing: Option<usize>,
}

/// Decides by the weighted mean.
///
/// Missing metrics count as idle. Where the others need more all the same, the number follows; otherwise it stays, as partial data never scales in.
pub(super) fn choose(
    policy: &CompositePolicy,
    input: &PolicyInput<'_>,
) -> Result<Choice<CompositeLoad>, NoChoice> {
    let counted = || parts(policy, input.spec, input.metrics).filter(|part| part.weight > 0.0);
    let weights: f64 = counted().map(|part| part.weight).sum();
    let load = counted().map(|part| part.weight * part.ratio.unwrap_or(0.0)).sum::<f64>() / weights;
    let missing = counted().find(|part| part.ratio.is_none()).map(|part| part.place);
    let places = input.spec.metrics.iter().enumerate();
    let places =
        places.filter(|(_, metric)| policy.weight(metric.name()).milli() > 0).map(|(place, _)| place);
    match (replicas_for_value(load, ComparedTo::Target(1.0, FormulaTarget::Value), &places, input), missing) {
        (Ok((replicas, _)), Some(invalid)) if replicas <= input.current => {
            let proposal = Some(replicas).filter(|proposal| *proposal < input.current);
            Err(NoChoice::Held { invalid, proposal })
        }
        (Ok((replicas, arithmetic)), missing) => {
            Ok(Choice { replicas, decided_by: CompositeLoad { load, arithmetic, missing } })
        }
        (Err(_), Some(invalid)) => Err(NoChoice::without(invalid)),
        (Err(why), None) => Err(NoChoice::NoResult(why)),
    }
}

/// The part of one metric in the mean.
struct Part<'a> {
    place: usize,
    name: &'a str,
    weight: f64,
    /// Measured ÷ target; `None` when nothing was measured.
    ratio: Option<f64>,
}

fn parts<'a>(
    policy: &'a CompositePolicy,
    spec: &'a AutoscalerSpec,
    metrics: &'a [Result<Proposal, MetricFault>],
) -> impl Iterator<Item = Part<'a>> {
    spec.metrics.iter().enumerate().map(|(place, metric)| {
        let ratio =
            metrics.get(place).and_then(|metric| metric.as_ref().ok()).map(|proposal| proposal.level.ratio);
        let weight = policy.weight(metric.name()).milli() as f64 / 1000.0;
        Part { place, name: metric.name(), weight, ratio: ratio.filter(|ratio| ratio.is_finite()) }
    })
}

/// Such as `the load is (3 × cpu 1.24 + 1 × memory 0.5) / 4 = 1.055: the ratio 1.055 is within the tolerance, so the size stays at 2`.
pub(super) fn describe(
    policy: &CompositePolicy,
    spec: &AutoscalerSpec,
    metrics: &[Result<Proposal, MetricFault>],
    composed: CompositeLoad,
    proposal: u32,
) -> String {
    let counted: Vec<Part<'_>> = parts(policy, spec, metrics).filter(|part| part.weight > 0.0).collect();
    let weights: f64 = counted.iter().map(|part| part.weight).sum();
    let part = |part: &Part<'_>| {
        let ratio = part.ratio.map_or_else(|| "missing, counted as 0".to_owned(), figure);
        format!("{} × {} {ratio}", figure(part.weight), part.name)
    };
    let sum: Vec<String> = counted.iter().map(part).collect();
    let (load, weights) = (figure(composed.load), figure(weights));
    let combined_arithmetic = combined_arithmetic(spec, metrics, composed.arithmetic, proposal);
    format!("the load is ({}) / {weights} = {load}: {combined_arithmetic}", sum.join(" + "))
}

/// Replaces the proposals of single metrics in `verdicts` by their part in the mean, as none of them proposes a number by itself.
pub(super) fn describe_parts(
    policy: &CompositePolicy,
    spec: &AutoscalerSpec,
    verdicts: &mut [MetricVerdict],
) {
    let weight = |metric: &MetricSpec| policy.weight(metric.name()).milli() as f64 / 1000.0;
    let weights: f64 = spec.metrics.iter().map(weight).sum();
    for (metric, verdict) in spec.metrics.iter().zip(verdicts) {
        if verdict.proposal.take().is_none() {
            continue;
        }
        verdict.note = match weight(metric) {
            0.0 => "it has no effect: its weight is 0".into(),
            weight => {
                let part = verdict.ratio.map_or_else(String::new, |ratio| {
                    format!(", and it adds {} to the load", figure(weight * ratio / weights))
                });
                format!("its weight is {} of {}{part}", figure(weight), figure(weights)).into()
            }
        };
    }
}

/// The composite load, as one more metric.
pub(super) fn verdict(composed: Option<(CompositeLoad, u32)>, note: String) -> MetricVerdict {
    MetricVerdict {
        name: "composite load".into(),
        current: composed
            .map_or_else(|| MetricVerdict::UNKNOWN.into(), |(composed, _)| figure(composed.load).into()),
        target: "1".into(),
        ratio: composed.map(|(composed, _)| composed.load),
        proposal: composed.map(|(_, replicas)| replicas),
        note: note.into(),
        samples: None,
    }
}

#[cfg(test)]
mod tests;
