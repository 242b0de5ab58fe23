//! Which replicas count, and with what: ready, not yet ready, missing or ignored.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `groupPods`.

use std::time::Duration;

use model::time::Time;

use super::reading::{Gap, Milli, Phase, ReplicaView, Sample, Samples};

/// How one replica enters a metric's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleClass {
    /// It is being removed: not at all.
    Ignored,
    /// It is unstable: with nothing that it uses, and not as one of those that carry the load.
    Unstable,
    /// It is still starting, so its sample does not count: not at all, and on a rise as zero.
    Unready,
    /// It ought to be measured and is not: what is assumed goes against the direction of the change.
    Missing(Gap),
    /// With what its sample says.
    Ready(Milli),
}

/// When the sample of a replica is that of one at work.
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
    /// Once it has started up: processor time, of which starting takes more than working.
    Cpu {
        /// The time of the decision.
        now: Time,
        /// Replicas younger than this need a window measured wholly after they became ready.
        initialization_period: Duration,
        /// A replica whose readiness last changed within this time of its start has never been ready.
        initial_readiness_delay: Duration,
        /// How much longer those younger ones use more than they will, once ready.
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
    /// Samples of replicas that are none of the target's.
    pub strangers: u32,
}

impl SampleClass {
    /// How `replica` stands with the sample that there is of it; the first rule that fits decides.
    // Asked once for each replica and metric: of a call and a copy of the sample a third of a decision would be made.
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
            Ok(sample) if warmup.holds_back(replica, sample) => Self::Unready,
            Ok(sample) => Self::Ready(sample.value),
        }
    }
}

impl Warmup {
    #[inline]
    fn holds_back(self, replica: &ReplicaView, sample: &Sample) -> bool {
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

    /// Whether `replica` has been ready for as long as it takes; always, where that is not asked.
    pub fn is_warm(self, replica: &ReplicaView) -> bool {
        match self {
            Self::None | Self::Cpu { .. } => true,
            Self::Serving { now, .. } => self.warm_at(replica).is_some_and(|at| at <= now),
        }
    }

    /// When `replica` will have been, or had been, ready for as long as it takes; `None` when it is not ready, or that is not asked.
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

/// Replicas that answer requests: running, ready, and warm where that is asked.
///
/// Source: `getReadyPodsCount` of the same file; a replica on its way out counts until it stops being ready.
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
    /// Replicas that ought to be measured and are not.
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
