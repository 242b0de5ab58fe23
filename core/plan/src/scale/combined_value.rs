//! The number of replicas for a value that combines several metrics.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `GetObjectMetricReplicas` and
//! `GetObjectPerPodMetricReplicas`, which decide on KEDA's composed metric.

use std::fmt;

use model::resource::{FormulaTarget, MetricSpec, Undefined};

use super::policy_input::PolicyInput;
use super::proposal::Proposal;
use super::ratio::replicas_ceil;

/// What a combined value is compared to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ComparedTo {
    /// Nothing: the value is a number of replicas.
    Nothing,
    /// The target, above 0, and whether it is of the value or of the share of each replica.
    Target(f64, FormulaTarget),
}

/// The arithmetic from a combined value to a number of replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CombinedArithmetic {
    /// The value, rounded up.
    Direct,
    /// The number stays: the ratio is near enough to 1.
    WithinTolerance {
        /// Number ÷ target.
        ratio: f64,
    },
    /// `ratio × times`, rounded up, and `replacements`.
    Ratio {
        /// Number ÷ target.
        ratio: f64,
        /// Replicas that the metrics are a mean over.
        times: u32,
        /// Replicas in place of unstable ones; 0 when fewer are proposed.
        replacements: u32,
    },
    /// `ratio`, rounded up: there is no replica to compare with.
    FromZero {
        /// Number ÷ target.
        ratio: f64,
    },
    /// `number ÷ target`, rounded up, and `replacements`.
    Shared {
        /// Number ÷ target ÷ replicas.
        ratio: f64,
        /// The replicas it was shared by.
        existing: u32,
        /// Replicas in place of unstable ones; 0 when fewer are proposed.
        replacements: u32,
    },
    /// The number stays: fewer are proposed on partial data.
    Partial {
        /// The metric that is not measured on all replicas, by its place in the declaration.
        metric: usize,
        /// The number that is not followed.
        proposal: u32,
    },
}

impl CombinedArithmetic {
    /// Number ÷ target; `None` where there is none.
    pub fn ratio(self) -> Option<f64> {
        match self {
            Self::WithinTolerance { ratio }
            | Self::Ratio { ratio, .. }
            | Self::FromZero { ratio }
            | Self::Shared { ratio, .. } => Some(ratio),
            Self::Direct | Self::Partial { .. } => None,
        }
    }
}

/// Why no number follows from metrics that were all measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoNumber {
    /// The formula has no value.
    Undefined(Undefined),
    /// Its value is below zero.
    Negative,
    /// No replica answers requests, so that there is nothing to multiply.
    NoneServing,
}

/// The replicas for `number`, which combines the metrics at these places of the declaration.
pub(super) fn replicas_for_value(
    number: f64,
    against: ComparedTo,
    metrics: &(impl Iterator<Item = usize> + Clone),
    input: &PolicyInput<'_>,
) -> Result<(u32, CombinedArithmetic), NoNumber> {
    if number < 0.0 {
        return Err(NoNumber::Negative);
    }
    let (replicas, arithmetic) = match against {
        ComparedTo::Nothing => (replicas_ceil(number), CombinedArithmetic::Direct),
        ComparedTo::Target(target, FormulaTarget::Value) => {
            by_ratio(number / target, metrics.clone(), input)?
        }
        ComparedTo::Target(target, FormulaTarget::AverageValue) => {
            let existing = input.stable(input.existing);
            let ratio = number / (target * f64::from(existing));
            let replacements = input.replacements(ratio);
            if input.tolerance.includes(ratio) {
                (input.existing, CombinedArithmetic::WithinTolerance { ratio })
            } else {
                let proposal = replicas_ceil(number / target).saturating_add(replacements);
                (proposal, CombinedArithmetic::Shared { ratio, existing, replacements })
            }
        }
    };
    let current = input.current;
    // Substitutes for all metrics may be wrong, and are no reason to scale in.
    let is_unmeasured = metrics.clone().all(|place| proposal(input, place).is_none());
    let partial = metrics.clone().find(|place| is_unmeasured || is_partial(input, *place));
    match partial.filter(|_| replicas < current) {
        Some(metric) => Ok((current, CombinedArithmetic::Partial { metric, proposal: replicas })),
        None => Ok((replicas, arithmetic)),
    }
}

fn by_ratio(
    ratio: f64,
    metrics: impl Iterator<Item = usize>,
    input: &PolicyInput<'_>,
) -> Result<(u32, CombinedArithmetic), NoNumber> {
    if input.current == 0 {
        return Ok((replicas_ceil(ratio), CombinedArithmetic::FromZero { ratio }));
    }
    if input.tolerance.includes(ratio) {
        return Ok((input.current, CombinedArithmetic::WithinTolerance { ratio }));
    }
    // Times the replicas that the metrics are a mean over: those that have just begun to serve carry part of that load already.
    let times = metrics.filter_map(|place| measured_over(input, place)).min();
    match times.unwrap_or_else(|| input.serving()) {
        0 => Err(NoNumber::NoneServing),
        times => {
            let replacements = input.replacements(ratio);
            let proposal = replicas_ceil(ratio * f64::from(times)).saturating_add(replacements);
            Ok((proposal, CombinedArithmetic::Ratio { ratio, times, replacements }))
        }
    }
}

fn proposal<'a>(input: &PolicyInput<'a>, place: usize) -> Option<&'a Proposal> {
    input.metrics.get(place)?.as_ref().ok()
}

fn is_partial(input: &PolicyInput<'_>, place: usize) -> bool {
    proposal(input, place).is_some_and(|proposal| proposal.census.missing() > 0)
}

/// The replicas that a per-replica metric is a mean over; `None` for other metrics, and without a measurement.
fn measured_over(input: &PolicyInput<'_>, place: usize) -> Option<u32> {
    match input.spec.metrics.get(place)? {
        MetricSpec::Resource { .. } | MetricSpec::ContainerResource { .. } | MetricSpec::Pods { .. } => {
            proposal(input, place).map(|proposal| proposal.census.ready)
        }
        MetricSpec::Object { .. } | MetricSpec::External { .. } => None,
    }
}

impl fmt::Display for NoNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undefined(Undefined::Missing(_)) => "a value in it is missing",
            Self::Undefined(Undefined::DivisionByZero) => "it divides by zero",
            Self::Undefined(Undefined::RootOfNegative) => "it takes the root of a negative number",
            Self::Undefined(Undefined::TooLarge) => "its result is too large",
            Self::Negative => "its result is below zero",
            Self::NoneServing => "no replica is ready, so there is nothing to compare with",
        })
    }
}
