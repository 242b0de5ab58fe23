//! How many replicas a total asks for: a queue's length, a rate at the door.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `GetObjectMetricReplicas`,
//! `GetObjectPerPodMetricReplicas` and their External twins.

use super::classify::{Census, Warmup, serving_count, unstable_count};
use super::proposal::{Arithmetic, MetricFault, Proposal};
use super::ratio::{Level, Tolerance, replicas_ceil};
use super::reading::{Milli, ReplicaView};

/// The sum of all series, held at the ends of the range.
pub fn total(series: &[Milli]) -> Milli {
    series.iter().fold(Milli(0), |sum, value| sum.plus(*value))
}

/// How many replicas bring `total` to `target`, taking the load to spread over the serving ones alike.
///
/// From `current` = 0 a single replica is taken to carry the target: neither tolerance nor serving replicas are asked,
/// which is how scaling out from zero begins.
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

/// How many replicas bring the share of `total` that falls to each to `target`.
///
/// `existing` are the replicas there are, whether they serve or not, but for those that cannot be counted on. With none of them the share is
/// infinite, or no number when there is nothing to share: never within the tolerance.
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
        let asked = replicas_ceil(total.0 as f64 / target.0 as f64).saturating_add(replacements);
        (asked, Arithmetic::Shared { total, existing, replacements })
    };
    Proposal { replicas, level, census: Census { unstable, ..Census::default() }, arithmetic }
}
