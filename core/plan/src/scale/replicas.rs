//! How many replicas a per-replica metric asks for.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `GetResourceReplicas` and
//! `calcPlainMetricReplicas`: one shape for both, in which a share of requests and an amount differ only in the sums.

use super::classify::{Census, SampleClass, Warmup, sample_classes};
use super::proposal::{Arithmetic, MetricFault, Proposal};
use super::ratio::{Level, MetricTarget, Sums, Tolerance, replicas_ceil};
use super::reading::{Gap, Milli, Replicas, Requests, Samples};

/// What a per-replica metric is computed with.
#[derive(Clone, Copy, Debug)]
pub struct PerReplica {
    /// What is aimed at.
    pub target: MetricTarget,
    /// When a sample counts.
    pub warmup: Warmup,
    /// How much change is none.
    pub tolerance: Tolerance,
    /// Replicas wanted until now.
    pub current: u32,
}

/// The replicas of a target, counted and added up by class.
struct Tally {
    census: Census,
    ready: Sums,
    unready: Sums,
    /// With what is assumed of them when the rest calls for fewer replicas.
    missing: Sums,
}

impl Tally {
    fn add(&mut self, class: SampleClass, target: MetricTarget, requested: Milli) {
        self.census.count(class);
        match class {
            SampleClass::Ignored | SampleClass::Unstable => {}
            SampleClass::Unready => self.unready.add(Milli(0), requested),
            SampleClass::Missing(_) => self.missing.add(target.assumed_busy(requested), requested),
            SampleClass::Ready(used) => self.ready.add(used, requested),
        }
    }
}

impl PerReplica {
    /// How many replicas `samples` ask for. One pass, no allocation.
    pub fn propose(&self, replicas: &Replicas, samples: &Samples<'_>) -> Result<Proposal, MetricFault> {
        if replicas.is_empty() {
            return Err(MetricFault::NoReplicas);
        }
        if let MetricTarget::Utilization(_) = self.target {
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
        let level = tally.ready.level(self.target).ok_or(MetricFault::Mismatch(census))?;
        let (replicas, arithmetic) = self.decide(&tally, level);
        Ok(Proposal { replicas, level, census, arithmetic })
    }

    fn tally(&self, replicas: &Replicas, samples: &Samples<'_>) -> Tally {
        let census = Census { strangers: samples.strangers, ..Census::default() };
        let mut tally =
            Tally { census, ready: Sums::default(), unready: Sums::default(), missing: Sums::default() };
        if self.warmup == Warmup::None && replicas.are_at_work() {
            // Of nearly all decisions: whoever has a sample is ready.
            let measured = &samples.by_replica[..samples.by_replica.len().min(replicas.len())];
            // By itself, so that it is added up in registers.
            let mut ready = Sums::default();
            for (index, said) in measured.iter().enumerate() {
                let requested = samples.requests.of(index);
                match said {
                    Ok(sample) => ready.add(sample.value, requested),
                    Err(gap) => tally.add(SampleClass::Missing(*gap), self.target, requested),
                }
            }
            for index in measured.len()..replicas.len() {
                tally.add(SampleClass::Missing(Gap::Absent), self.target, samples.requests.of(index));
            }
            (tally.ready, tally.census.ready) = (ready, ready.count);
        } else {
            for (index, class) in sample_classes(replicas, samples, self.warmup).enumerate() {
                tally.add(class, self.target, samples.requests.of(index));
            }
        }
        tally
    }

    fn decide(&self, tally: &Tally, level: Level) -> (u32, Arithmetic) {
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
            if is_whole { level.ratio } else { counted.level(self.target).map_or(1.0, |level| level.ratio) };
        // Who is not counted on carries nothing of what is too much for the others.
        let replacements = if ratio > 1.0 { tally.census.unstable } else { 0 };
        let asked = replicas_ceil(ratio * f64::from(counted.count)).saturating_add(replacements);
        let arithmetic = Arithmetic::Ratio { assumed: !is_whole, ratio, times: counted.count, replacements };
        if self.tolerance.includes(ratio) {
            (self.current, Arithmetic::WithinTolerance { assumed: !is_whole, ratio })
        } else if is_whole {
            (asked, arithmetic)
        } else if (falls && ratio > 1.0) || (rises && ratio < 1.0) {
            (self.current, Arithmetic::DirectionTurned { ratio })
        } else if (ratio < 1.0 && asked > self.current) || (ratio > 1.0 && asked < self.current) {
            (self.current, Arithmetic::AgainstRatio { ratio, asked })
        } else {
            (asked, arithmetic)
        }
    }
}

impl MetricTarget {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::time::Time;
    use proptest::prelude::*;

    use super::super::reading::{Phase, Readiness, ReplicaView, Sample};
    use super::*;

    const NOW: Time = Time::from_millis(1_000_000);

    proptest! {
        #[test]
        fn those_at_work_are_counted_as_each_of_them_stands(
            used in prop::collection::vec(prop_oneof![4 => (0..3000_i64).prop_map(Ok), 1 => Just(Err(Gap::Absent)), 1 => Just(Err(Gap::Stale))], 0..12),
            more in 0..3_usize, current in 0..12_u32,
        ) {
            let readiness = Some(Readiness { ready: true, since: NOW });
            let one = ReplicaView { phase: Phase::Running, leaving: false, started: Some(NOW), readiness };
            let replicas: Replicas = std::iter::repeat_n(one, used.len() + more).collect();
            prop_assert!(replicas.are_at_work());
            let sample = |value: Result<i64, Gap>| value.map(|value| Sample { value: Milli(value), at: NOW, window: Duration::ZERO });
            let by_replica: Vec<_> = used.into_iter().map(sample).collect();
            let requested: Vec<Milli> = (1..=12).map(|part| Milli(500 * part)).collect();
            let propose = |target, warmup, requests| {
                let tolerance = Tolerance { up: 0.1, down: 0.1 };
                let samples = Samples { by_replica: &by_replica, strangers: 0, requests };
                PerReplica { target, warmup, tolerance, current }.propose(&replicas, &samples)
            };
            for target in [MetricTarget::Average(Milli(1000)), MetricTarget::Utilization(50)] {
                for requests in [Requests::Same(Milli(2000)), Requests::Each(&requested), Requests::Unset] {
                    // Whoever is ready is warm at once, and has to be looked at to know that.
                    let each = Warmup::Serving { now: NOW, warmup: Duration::ZERO };
                    prop_assert_eq!(propose(target, Warmup::None, requests), propose(target, each, requests));
                }
            }
        }
    }

    #[test]
    fn one_that_leaves_is_still_distinguished() {
        let readiness = Some(Readiness { ready: true, since: NOW + Duration::from_secs(7) });
        let stays = ReplicaView { phase: Phase::Running, leaving: false, started: Some(NOW), readiness };
        let leaves = ReplicaView { leaving: true, started: Some(Time::ZERO), ..stays };
        let replicas = Replicas::of(&[stays, leaves]);
        assert!(!replicas.are_at_work());
        assert_eq!((replicas.serving(), replicas.slowest_start()), (2, Duration::from_secs(7)));
        let sample = Ok(Sample { value: Milli(900), at: NOW, window: Duration::ZERO });
        let samples = Samples { by_replica: &[sample; 2], strangers: 0, requests: Requests::Unset };
        let (target, tolerance) = (MetricTarget::Average(Milli(1000)), Tolerance { up: 0.0, down: 0.0 });
        let asked =
            PerReplica { target, warmup: Warmup::None, tolerance, current: 2 }.propose(&replicas, &samples);
        assert_eq!(
            asked.map(|asked| (asked.replicas, asked.census.ready, asked.census.ignored)),
            Ok((1, 1, 1))
        );
    }
}
