//! How many replicas a per-replica metric asks for.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `GetResourceReplicas` and
//! `calcPlainMetricReplicas`: one shape for both, in which a share of requests and an amount differ only in the sums.

use super::classify::{Census, Standing, Warmup, standings};
use super::proposal::{Basis, MetricFault, Proposal};
use super::ratio::{Aim, Level, Sums, Tolerance, replicas_ceil};
use super::reading::{Milli, ReplicaView, Requests, Samples};

/// What a per-replica metric is computed with.
#[derive(Clone, Copy, Debug)]
pub struct PerReplica {
    /// What is aimed at.
    pub aim: Aim,
    /// When a sample counts.
    pub warmup: Warmup,
    /// How much change is none.
    pub tolerance: Tolerance,
    /// Replicas wanted until now.
    pub current: u32,
}

/// The replicas of a target, counted and added up by standing.
struct Tally {
    census: Census,
    ready: Sums,
    unready: Sums,
    /// With what is assumed of them when the rest calls for fewer replicas.
    missing: Sums,
}

impl PerReplica {
    /// How many replicas `samples` ask for. One pass, no allocation.
    pub fn propose(&self, replicas: &[ReplicaView], samples: &Samples<'_>) -> Result<Proposal, MetricFault> {
        if replicas.is_empty() {
            return Err(MetricFault::NoReplicas);
        }
        if let Aim::Utilization(_) = self.aim {
            match samples.requests {
                Requests::Unset => return Err(MetricFault::NoRequest),
                Requests::Unknown(fault) => return Err(MetricFault::Request(fault.clone())),
                Requests::Same(_) | Requests::Each(_) => {}
            }
        }
        let tally = self.tally(replicas, samples);
        let census = tally.census;
        if census.ready == 0 && census.strangers == 0 {
            return Err(MetricFault::NoSamples(census));
        }
        let level = tally.ready.level(self.aim).ok_or(MetricFault::Mismatch(census))?;
        let (replicas, basis) = self.decide(&tally, level);
        Ok(Proposal { replicas, level, census, basis })
    }

    fn tally(&self, replicas: &[ReplicaView], samples: &Samples<'_>) -> Tally {
        let census = Census { strangers: samples.strangers, ..Census::default() };
        let mut tally =
            Tally { census, ready: Sums::default(), unready: Sums::default(), missing: Sums::default() };
        for (index, standing) in standings(replicas, samples, self.warmup).enumerate() {
            let requested = samples.requests.of(index);
            tally.census.count(standing);
            match standing {
                Standing::Ignored | Standing::Unstable => {}
                Standing::Unready => tally.unready.add(Milli(0), requested),
                Standing::Missing(_) => tally.missing.add(self.aim.assumed_busy(requested), requested),
                Standing::Ready(used) => tally.ready.add(used, requested),
            }
        }
        tally
    }

    fn decide(&self, tally: &Tally, level: Level) -> (u32, Basis) {
        let rises = level.ratio > 1.0;
        let falls = level.ratio < 1.0;
        let mut counted = tally.ready;
        if tally.missing.count > 0 {
            // Against the direction of the change: busy when the rest calls for fewer replicas, idle when for more.
            if falls {
                counted = counted.plus(tally.missing);
            } else if rises {
                counted = counted.plus(tally.missing.idle());
            }
        }
        if rises {
            counted = counted.plus(tally.unready);
        }
        let is_whole = tally.missing.count == 0 && !(rises && tally.unready.count > 0);
        let ratio =
            if is_whole { level.ratio } else { counted.level(self.aim).map_or(1.0, |level| level.ratio) };
        // Who is not counted on carries nothing of what is too much for the others.
        let besides = if ratio > 1.0 { tally.census.unstable } else { 0 };
        let asked = replicas_ceil(ratio * f64::from(counted.count)).saturating_add(besides);
        let arithmetic = Basis::Ratio { assumed: !is_whole, ratio, times: counted.count, besides };
        if self.tolerance.includes(ratio) {
            (self.current, Basis::WithinTolerance { assumed: !is_whole, ratio })
        } else if is_whole {
            (asked, arithmetic)
        } else if (falls && ratio > 1.0) || (rises && ratio < 1.0) {
            (self.current, Basis::DirectionTurned { ratio })
        } else if (ratio < 1.0 && asked > self.current) || (ratio > 1.0 && asked < self.current) {
            (self.current, Basis::AgainstRatio { ratio, asked })
        } else {
            (asked, arithmetic)
        }
    }
}

impl Aim {
    /// What a missing replica is taken to use when the others call for fewer: all that it asked for (or the target, where
    /// that is more), or exactly the target.
    fn assumed_busy(self, requested: Milli) -> Milli {
        match self {
            Self::Utilization(percent) => {
                let assumed = i128::from(requested.0) * i128::from(percent.max(100)) / 100;
                Milli(i64::try_from(assumed).unwrap_or(i64::MAX))
            }
            Self::Average(target) => target,
        }
    }
}
