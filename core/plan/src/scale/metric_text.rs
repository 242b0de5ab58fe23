//! The texts for metrics: names, amounts with units, and the arithmetic of one metric or of a combined value.

use std::fmt;
use std::sync::Arc;

use model::decision::{MetricVerdict, SampleCount};
use model::quantity::{Bytes, Replicas};
use model::resource::{AutoscalerSpec, MeteredResource, MetricSpec, ResourceTarget};

use super::classify::Census;
use super::combined_value::CombinedArithmetic;
use super::policy_input::target_of;
use super::proposal::{Arithmetic, MetricFault, Proposal};
use super::reading::Milli;

/// The name of a metric that people know.
pub(super) struct MetricName<'a>(pub(super) &'a MetricSpec);

/// An amount with the unit of its metric.
pub(super) struct Amount {
    unit: Unit,
    milli: Milli,
}

/// A number of replicas, some of them in place of unstable ones.
pub(super) struct CountWithReplacements {
    pub(super) replicas: u32,
    pub(super) replacements: u32,
}

/// Replicas in place of unstable ones.
pub(super) struct Replacements(pub(super) u32);

/// The unit of a metric.
#[derive(Clone, Copy)]
enum Unit {
    Percent,
    Cores,
    Bytes,
    Plain,
}

/// The proposal of `metric`, for the record of a decision.
pub(super) fn metric_verdict(metric: &MetricSpec, proposal: &Result<Proposal, MetricFault>) -> MetricVerdict {
    let name = MetricName(metric).to_string().into();
    let target = amount_of(metric, target_of(metric)).to_string().into();
    match proposal {
        Ok(proposal) => MetricVerdict {
            name,
            current: current_of(metric, proposal).to_string().into(),
            target,
            ratio: Some(proposal.level.ratio).filter(|ratio| ratio.is_finite()),
            proposal: Some(proposal.replicas),
            samples: sample_count(proposal.census),
            note: note(metric, proposal),
        },
        Err(fault) => MetricVerdict {
            name,
            current: MetricVerdict::UNKNOWN.into(),
            target,
            ratio: None,
            proposal: None,
            samples: match fault {
                MetricFault::NoSamples(census) | MetricFault::Mismatch(census) => sample_count(*census),
                MetricFault::Unavailable(_)
                | MetricFault::NoReplicas
                | MetricFault::NoRequest
                | MetricFault::Request(_)
                | MetricFault::Target
                | MetricFault::Shape => None,
            },
            note: fault.to_string().into(),
        },
    }
}

fn sample_count(census: Census) -> Option<SampleCount> {
    let Census { ready, unready, ignored, unstable, .. } = census;
    let count = SampleCount { used: ready, unready, missing: census.missing(), ignored: ignored + unstable };
    (count != SampleCount::default()).then_some(count)
}

/// Such as `cpu at 124 %, target 50 %: 2.480 × 2 replicas, rounded up, is 5`.
pub(super) fn describe_proposal(metric: &MetricSpec, proposal: &Proposal) -> String {
    let (current, target) = (current_of(metric, proposal), amount_of(metric, target_of(metric)));
    let name = MetricName(metric);
    format!("{name} at {current}, target {target}: {}", arithmetic(metric, proposal))
}

/// The name of the metric at this place of the declaration.
pub(super) fn name_at(spec: &AutoscalerSpec, index: usize) -> String {
    spec.metrics.get(index).map_or_else(|| "the metric".to_owned(), |metric| MetricName(metric).to_string())
}

fn note(metric: &MetricSpec, proposal: &Proposal) -> Arc<str> {
    let mut note = arithmetic(metric, proposal);
    let census = proposal.census;
    let has_samples = census.ready + census.unready + census.unstable + census.missing() > 0;
    if has_samples {
        note += &format!(" ({census})");
    }
    // A utilization hides the amount.
    if proposal.level.utilization.is_some() {
        let unit = amount_unit(metric);
        note += &format!("; a replica uses {} on average", Amount { unit, milli: proposal.level.average });
    }
    note.into()
}

fn arithmetic(metric: &MetricSpec, proposal: &Proposal) -> String {
    let replicas = proposal.replicas;
    let with_assumed = |assumed: bool| {
        if assumed { ", with values assumed for replicas without a sample" } else { "" }
    };
    match proposal.arithmetic {
        Arithmetic::WithinTolerance { assumed, ratio } => {
            format!(
                "the ratio {ratio:.3}{} is within the tolerance, {}",
                with_assumed(assumed),
                kept(replicas)
            )
        }
        Arithmetic::Ratio { assumed, ratio, times, replacements } => format!(
            "{ratio:.3} × {}{}, rounded up, is {}",
            Replicas(times),
            with_assumed(assumed),
            CountWithReplacements { replicas, replacements }
        ),
        Arithmetic::DirectionTurned { ratio } => format!(
            "values assumed for replicas without a sample turn the ratio to {ratio:.3}, {}",
            kept(replicas)
        ),
        Arithmetic::AgainstRatio { ratio, proposal } => format!(
            "the ratio {ratio:.3} leads to {proposal}, a change in the opposite direction, {}",
            kept(replicas)
        ),
        Arithmetic::FromZero { ratio } => format!("from zero, {ratio:.3} rounded up is {replicas}"),
        Arithmetic::Shared { total, existing, replacements } => {
            let total = Amount { unit: amount_unit(metric), milli: total };
            format!(
                "{total} shared by {}; divided by the target and rounded up it is {}",
                Replicas(existing),
                CountWithReplacements { replicas, replacements }
            )
        }
    }
}

/// How `replicas` follow from a combined value.
pub(super) fn combined_arithmetic(
    spec: &AutoscalerSpec,
    metrics: &[Result<Proposal, MetricFault>],
    arithmetic: CombinedArithmetic,
    replicas: u32,
) -> String {
    match arithmetic {
        CombinedArithmetic::Direct => format!("rounded up, {}", Replicas(replicas)),
        CombinedArithmetic::WithinTolerance { ratio } => {
            format!("the ratio {ratio:.3} is within the tolerance, {}", kept(replicas))
        }
        CombinedArithmetic::Ratio { ratio, times, replacements } => {
            let (times, count) = (Replicas(times), CountWithReplacements { replicas, replacements });
            format!("{ratio:.3} × {times}, rounded up, is {count}")
        }
        CombinedArithmetic::FromZero { ratio } => format!("from zero, {ratio:.3} rounded up is {replicas}"),
        CombinedArithmetic::Shared { existing, replacements, ratio: _ } => format!(
            "shared by {}; divided by the target and rounded up it is {}",
            Replicas(existing),
            CountWithReplacements { replicas, replacements }
        ),
        CombinedArithmetic::Partial { metric, proposal } => {
            let name = spec.metrics.get(metric).map_or("a metric", MetricSpec::name);
            match metrics.get(metric).and_then(|metric| metric.as_ref().ok()) {
                Some(Proposal { census, .. }) => format!(
                    "that asks for {proposal}, but {name} is not measured on all replicas ({census}), and a service never scales in on partial data"
                ),
                None => format!(
                    "that asks for {proposal}, but none of its metrics is measured, and a service never scales in on a substitute"
                ),
            }
        }
    }
}

/// That the number of replicas does not change.
pub(super) fn kept(replicas: u32) -> String {
    format!("so the size stays at {replicas}")
}

/// A number with at most three decimals.
pub(super) fn figure(number: f64) -> String {
    if number.abs() >= 1e9 { format!("{number:e}") } else { ((number * 1000.0).round() / 1000.0).to_string() }
}

/// The measured value in the unit of the target. Without replicas to share it, a total is shown whole.
fn current_of(metric: &MetricSpec, proposal: &Proposal) -> Amount {
    let milli = match proposal.arithmetic {
        Arithmetic::Shared { existing: 0, total, .. } => total,
        Arithmetic::Shared { .. }
        | Arithmetic::WithinTolerance { .. }
        | Arithmetic::Ratio { .. }
        | Arithmetic::DirectionTurned { .. }
        | Arithmetic::AgainstRatio { .. }
        | Arithmetic::FromZero { .. } => proposal.level.value(),
    };
    amount_of(metric, milli)
}

/// An amount in the unit of the target of `metric`.
pub(super) fn amount_of(metric: &MetricSpec, milli: Milli) -> Amount {
    let is_share = matches!(
        metric,
        MetricSpec::Resource { target: ResourceTarget::Utilization(_), .. }
            | MetricSpec::ContainerResource { target: ResourceTarget::Utilization(_), .. }
    );
    Amount { unit: if is_share { Unit::Percent } else { amount_unit(metric) }, milli }
}

fn amount_unit(metric: &MetricSpec) -> Unit {
    match metric {
        MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
            match resource {
                MeteredResource::Cpu => Unit::Cores,
                MeteredResource::Memory => Unit::Bytes,
            }
        }
        MetricSpec::Pods { .. } | MetricSpec::Object { .. } | MetricSpec::External { .. } => Unit::Plain,
    }
}

impl fmt::Display for MetricName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MetricSpec::Resource { resource, .. } => f.write_str(resource.as_str()),
            MetricSpec::ContainerResource { resource, container, .. } => {
                write!(f, "{} of container {container}", resource.as_str())
            }
            MetricSpec::Object { object, metric, .. } => {
                write!(f, "{} of {} {}", metric.name, object.kind, object.name)
            }
            MetricSpec::Pods { metric, .. } | MetricSpec::External { metric, .. } => {
                f.write_str(&metric.name)
            }
        }
    }
}

/// Such as `4, and 1 in place of unstable ones`.
impl fmt::Display for CountWithReplacements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replicas, replacements } = *self;
        write!(f, "{}{}", replicas.saturating_sub(replacements), Replacements(replacements))
    }
}

/// Such as `, and 1 in place of unstable ones`; nothing for none.
impl fmt::Display for Replacements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            replacements => write!(f, ", and {replacements} in place of unstable ones"),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Milli(milli) = self.milli;
        match self.unit {
            Unit::Percent => write!(f, "{} %", milli as f64 / 1000.0),
            Unit::Cores => write!(f, "{milli}m"),
            Unit::Bytes => write!(f, "{}", Bytes(u64::try_from(milli / 1000).unwrap_or(0))),
            // A float of this size prints its shortest text: 12.5, not 12.500.
            Unit::Plain => write!(f, "{}", milli as f64 / 1000.0),
        }
    }
}
