//! The class of each replica for a metric: ready, not yet ready, missing, unstable or ignored.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `groupPods`.

use std::time::Duration;

use model::time::Time;

use super::reading::{Gap, Milli, Phase, ReplicaView, Sample, Samples};

/// How one replica counts in the arithmetic of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleClass {
    /// It is being removed, and does not count.
    Ignored,
    /// It is unstable: neither its usage counts, nor the replica as one that carries load.
    Unstable,
    /// It is still starting, so its sample does not count; on a rise, it counts as zero.
    Unready,
    /// It should be measured and is not: its value is assumed against the direction of the change.
    Missing(Gap),
    /// It counts with the value of its sample.
    Ready(Milli),
}

/// From when on the sample of a replica counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmup {
    /// From the start: memory, and metrics that the service itself reports.
    None,
    /// Once it has been ready for a while.
    Serving {
        /// The time of the decision.
        now: Time,
        /// For how long.
        warmup: Duration,
    },
    /// Once it has started up: for processor time, of which a start takes more than normal work.
    Cpu {
        /// The time of the decision.
        now: Time,
        /// Replicas younger than this need a window measured wholly after they became ready.
        initialization_period: Duration,
        /// A replica whose readiness last changed within this time of its start has never been ready.
        initial_readiness_delay: Duration,
        /// How much longer those younger ones use more than usual after they are ready.
        settling: Duration,
    },
}

/// The number of replicas of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Census {
    /// Counted with their samples.
    pub ready: u32,
    /// Still starting.
    pub unready: u32,
    /// Being removed.
    pub ignored: u32,
    /// Unstable.
    pub unstable: u32,
    /// Without a sample.
    pub absent: u32,
    /// With too old a sample.
    pub stale: u32,
    /// With a sample that could not be read.
    pub failed: u32,
    /// Samples that are not of replicas of the target.
    pub unmatched: u32,
}

impl SampleClass {
    /// The class of `replica` with its sample; the first rule that fits decides.
    // Called once for each replica and metric: without inlining, the call and the copy of the sample would take a third of a decision.
    #[inline]
    pub fn of(replica: &ReplicaView, sample: Result<&Sample, Gap>, warmup: Warmup) -> Self {
        if replica.leaving || replica.phase == Phase::Failed {
            return Self::Ignored;
        }
        match replica.phase {
            Phase::Pending => return Self::Unready,
            Phase::Unstable => return Self::Unstable,
            Phase::Running | Phase::Succeeded | Phase::Failed => {}
        }
        match sample {
            Err(gap) => Self::Missing(gap),
            Ok(sample) if warmup.excludes(replica, sample) => Self::Unready,
            Ok(sample) => Self::Ready(sample.value),
        }
    }
}

impl Warmup {
    /// Whether the sample of `replica` does not count yet.
    #[inline]
    fn excludes(self, replica: &ReplicaView, sample: &Sample) -> bool {
        let (now, initialization_period, initial_readiness_delay, settling) = match self {
            Self::None => return false,
            Self::Serving { .. } => return !self.is_warm(replica),
            Self::Cpu { now, initialization_period, initial_readiness_delay, settling } => {
                (now, initialization_period, initial_readiness_delay, settling)
            }
        };
        let (Some(readiness), Some(started)) = (replica.readiness, replica.started) else { return true };
        if started + initialization_period > now {
            !readiness.ready || sample.at < readiness.since + settling + sample.window
        } else {
            !readiness.ready && started + initial_readiness_delay > readiness.since
        }
    }

    /// Whether `replica` has warmed up; always true without a warmup.
    pub fn is_warm(self, replica: &ReplicaView) -> bool {
        match self {
            Self::None | Self::Cpu { .. } => true,
            Self::Serving { now, .. } => self.warm_at(replica).is_some_and(|at| at <= now),
        }
    }

    /// When `replica` has warmed up or will have; `None` when it is not ready, or without a warmup.
    pub fn warm_at(self, replica: &ReplicaView) -> Option<Time> {
        match self {
            Self::None | Self::Cpu { .. } => None,
            Self::Serving { warmup, .. } => {
                let ready = replica.readiness.filter(|readiness| readiness.ready);
                ready.map(|readiness| readiness.since + warmup)
            }
        }
    }
}

/// The class of each replica, in their order.
pub fn sample_classes<'a>(
    replicas: &'a [ReplicaView],
    samples: &Samples<'a>,
    warmup: Warmup,
) -> impl Iterator<Item = SampleClass> + use<'a> {
    let by_replica = samples.by_replica;
    replicas.iter().enumerate().map(move |(index, replica)| {
        let sample =
            by_replica.get(index).map_or(Err(Gap::Absent), |known| known.as_ref().map_err(|gap| *gap));
        SampleClass::of(replica, sample, warmup)
    })
}

/// Replicas that answer requests: running, ready, and warmed up where there is a warmup.
///
/// Source: `getReadyPodsCount` of the same file; a replica that is being stopped counts until it stops being ready.
pub fn serving_count(replicas: &[ReplicaView], warmup: Warmup) -> u32 {
    let serving = replicas.iter().filter(|replica| replica.serves() && warmup.is_warm(replica));
    u32::try_from(serving.count()).unwrap_or(u32::MAX)
}

/// Replicas that are unstable.
pub fn unstable_count(replicas: &[ReplicaView]) -> u32 {
    let unstable = replicas.iter().filter(|replica| !replica.leaving && replica.phase == Phase::Unstable);
    u32::try_from(unstable.count()).unwrap_or(u32::MAX)
}

impl Census {
    /// Replicas that should be measured and are not.
    pub fn missing(&self) -> u32 {
        self.absent + self.stale + self.failed
    }

    /// Counts one more replica.
    pub fn count(&mut self, class: SampleClass) {
        *match class {
            SampleClass::Ignored => &mut self.ignored,
            SampleClass::Unstable => &mut self.unstable,
            SampleClass::Unready => &mut self.unready,
            SampleClass::Missing(Gap::Absent) => &mut self.absent,
            SampleClass::Missing(Gap::Stale) => &mut self.stale,
            SampleClass::Missing(Gap::Failed) => &mut self.failed,
            SampleClass::Ready(_) => &mut self.ready,
        } += 1;
    }
}
