//! The proposal of a per-replica metric.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `GetResourceReplicas` and
//! `calcPlainMetricReplicas`: one function for both, as utilization and amounts differ only in the sums.

use super::classify::{Census, SampleClass, Warmup, sample_classes};
use super::proposal::{Arithmetic, MetricFault, Proposal};
use super::ratio::{Level, MetricTarget, Sums, Tolerance, replicas_ceil};
use super::reading::{Gap, Milli, Replicas, Requests, Samples};

/// The parameters of a per-replica metric.
#[derive(Clone, Copy, Debug)]
pub struct PerReplica {
    /// The target.
    pub target: MetricTarget,
    /// From when on a sample counts.
    pub warmup: Warmup,
    /// How far the ratio may be from 1 without a change.
    pub tolerance: Tolerance,
    /// Replicas wanted until now.
    pub current: u32,
}

/// The replicas of a target, counted and summed by class.
struct Tally {
    census: Census,
    ready: Sums,
    unready: Sums,
    /// With the usage that is assumed when the others need fewer replicas.
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
    /// The proposal by `samples`. One pass, no allocation.
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
        if census.ready == 0 && census.unmatched == 0 {
            return Err(MetricFault::NoSamples(census));
        }
        let level = tally.ready.level(self.target).ok_or(MetricFault::Mismatch(census))?;
        let (replicas, arithmetic) = self.decide(&tally, level);
        Ok(Proposal { replicas, level, census, arithmetic })
    }

    fn tally(&self, replicas: &Replicas, samples: &Samples<'_>) -> Tally {
        let census = Census { unmatched: samples.unmatched, ..Census::default() };
        let mut tally =
            Tally { census, ready: Sums::default(), unready: Sums::default(), missing: Sums::default() };
        if self.warmup == Warmup::None && replicas.are_at_work() {
            // The usual case: each replica with a sample is ready.
            let measured = &samples.by_replica[..samples.by_replica.len().min(replicas.len())];
            // A local variable, so that the sums stay in registers.
            let mut ready = Sums::default();
            for (index, sample) in measured.iter().enumerate() {
                let requested = samples.requests.of(index);
                match sample {
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
            // Missing samples count against the change: as busy when the others need fewer replicas, as idle when they need more.
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
        // Unstable replicas carry no load, so they are replaced when the others have too much.
        let replacements = if ratio > 1.0 { tally.census.unstable } else { 0 };
        let proposal = replicas_ceil(ratio * f64::from(counted.count)).saturating_add(replacements);
        let arithmetic = Arithmetic::Ratio { assumed: !is_whole, ratio, times: counted.count, replacements };
        if self.tolerance.includes(ratio) {
            (self.current, Arithmetic::WithinTolerance { assumed: !is_whole, ratio })
        } else if is_whole {
            (proposal, arithmetic)
        } else if (falls && ratio > 1.0) || (rises && ratio < 1.0) {
            (self.current, Arithmetic::DirectionTurned { ratio })
        } else if (ratio < 1.0 && proposal > self.current) || (ratio > 1.0 && proposal < self.current) {
            (self.current, Arithmetic::AgainstRatio { ratio, proposal })
        } else {
            (proposal, arithmetic)
        }
    }
}

impl MetricTarget {
    /// The assumed usage of a missing replica when the others need fewer: its whole request (or the target, where that is more), or exactly the
    /// target.
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
        fn counting_settled_replicas_at_once_equals_classifying_each(
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
                let samples = Samples { by_replica: &by_replica, unmatched: 0, requests };
                PerReplica { target, warmup, tolerance, current }.propose(&replicas, &samples)
            };
            for target in [MetricTarget::Average(Milli(1000)), MetricTarget::Utilization(50)] {
                for requests in [Requests::Same(Milli(2000)), Requests::Each(&requested), Requests::Unset] {
                    // With a warmup of zero, ready replicas are warm at once, but each is classified.
                    let each = Warmup::Serving { now: NOW, warmup: Duration::ZERO };
                    prop_assert_eq!(propose(target, Warmup::None, requests), propose(target, each, requests));
                }
            }
        }
    }

    #[test]
    fn a_replica_that_is_being_stopped_is_ignored() {
        let readiness = Some(Readiness { ready: true, since: NOW + Duration::from_secs(7) });
        let stays = ReplicaView { phase: Phase::Running, leaving: false, started: Some(NOW), readiness };
        let leaves = ReplicaView { leaving: true, started: Some(Time::ZERO), ..stays };
        let replicas = Replicas::of(&[stays, leaves]);
        assert!(!replicas.are_at_work());
        assert_eq!((replicas.serving(), replicas.slowest_start()), (2, Duration::from_secs(7)));
        let sample = Ok(Sample { value: Milli(900), at: NOW, window: Duration::ZERO });
        let samples = Samples { by_replica: &[sample; 2], unmatched: 0, requests: Requests::Unset };
        let (target, tolerance) = (MetricTarget::Average(Milli(1000)), Tolerance { up: 0.0, down: 0.0 });
        let proposal =
            PerReplica { target, warmup: Warmup::None, tolerance, current: 2 }.propose(&replicas, &samples);
        assert_eq!(
            proposal.map(|proposal| (proposal.replicas, proposal.census.ready, proposal.census.ignored)),
            Ok((1, 1, 1))
        );
    }
}
