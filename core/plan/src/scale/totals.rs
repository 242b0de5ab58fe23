//! The proposal of a total, such as the length of a queue or a rate of arrivals.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `GetObjectMetricReplicas`,
//! `GetObjectPerPodMetricReplicas` and their External twins.

use super::classify::{Census, Warmup, serving_count, unstable_count};
use super::proposal::{Arithmetic, MetricFault, Proposal};
use super::ratio::{Level, Tolerance, replicas_ceil};
use super::reading::{Milli, ReplicaView};

/// The sum of all series, saturating.
pub fn total(series: &[Milli]) -> Milli {
    series.iter().fold(Milli(0), |sum, value| sum.plus(*value))
}

/// The replicas that bring `total` to `target`, assuming that the load spreads evenly over the serving ones.
///
/// From `current` = 0 a single replica is assumed to carry the target, without tolerance or serving replicas: so scaling out from zero begins.
pub fn for_value(
    total: Milli,
    target: Milli,
    current: u32,
    (replicas, warmup): (&[ReplicaView], Warmup),
    tolerance: Tolerance,
) -> Result<Proposal, MetricFault> {
    let ratio = total.0 as f64 / target.0 as f64;
    let level = Level { average: total, utilization: None, ratio, total: Some(total) };
    if current == 0 {
        let arithmetic = Arithmetic::FromZero { ratio };
        return Ok(Proposal { replicas: replicas_ceil(ratio), level, census: Census::default(), arithmetic });
    }
    if tolerance.includes(ratio) {
        let arithmetic = Arithmetic::WithinTolerance { assumed: false, ratio };
        return Ok(Proposal { replicas: current, level, census: Census::default(), arithmetic });
    }
    if replicas.is_empty() {
        return Err(MetricFault::NoReplicas);
    }
    let (serving, unstable) = (serving_count(replicas, warmup), unstable_count(replicas));
    let replacements = if ratio > 1.0 { unstable } else { 0 };
    Ok(Proposal {
        replicas: replicas_ceil(ratio * f64::from(serving)).saturating_add(replacements),
        level,
        census: Census { ready: serving, unstable, ..Census::default() },
        arithmetic: Arithmetic::Ratio { assumed: false, ratio, times: serving, replacements },
    })
}

/// The replicas that bring the share of `total` of each to `target`.
///
/// `existing` are the replicas there are, whether they serve or not; unstable ones do not count. Without any the share is infinite, or `NaN` for a
/// total of 0, and never within the tolerance.
pub fn for_average(
    total: Milli,
    target: Milli,
    (existing, replicas): (u32, &[ReplicaView]),
    tolerance: Tolerance,
) -> Proposal {
    let unstable = unstable_count(replicas).min(existing);
    let (all, existing) = (existing, existing - unstable);
    let ratio = total.0 as f64 / (target.0 as f64 * f64::from(existing));
    let share = (total.0 as f64 / f64::from(existing)).ceil();
    let level = Level { average: Milli(share as i64), utilization: None, ratio, total: Some(total) };
    let (replicas, arithmetic) = if tolerance.includes(ratio) {
        (all, Arithmetic::WithinTolerance { assumed: false, ratio })
    } else {
        let replacements = if ratio > 1.0 { unstable } else { 0 };
        let proposal = replicas_ceil(total.0 as f64 / target.0 as f64).saturating_add(replacements);
        (proposal, Arithmetic::Shared { total, existing, replacements })
    };
    Proposal { replicas, level, census: Census { unstable, ..Census::default() }, arithmetic }
}
