//! The inputs of the algorithm: the replicas, and a reading of each metric.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

pub use model::quantity::Milli;
use model::time::Time;

/// The target of an autoscaler at one time.
#[derive(Clone, Copy, Debug)]
pub struct ScaleView<'a> {
    /// Replicas wanted until now.
    pub spec_replicas: u32,
    /// Replicas there are; totals with an average target are divided by it.
    pub status_replicas: u32,
    /// Which replicas belong to the target.
    pub members: Members<'a>,
    /// How long replicas of the target take to warm up once ready; `None` before that is known, and to decide as Kubernetes does.
    pub warmup: Option<Duration>,
    /// The learned target of a metric of type Pods; `None` uses the declared one.
    pub learned_target: Option<Milli>,
}

/// Which replicas belong to the target.
#[derive(Clone, Copy, Debug)]
pub enum Members<'a> {
    /// The known replicas.
    Known(&'a Replicas),
    /// They are not known, so no metric is used.
    Unknown(SelectorFault),
}

/// Why it is not known which replicas belong to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectorFault {
    /// The target has no selector.
    Missing,
    /// The target's selector cannot be read.
    Unreadable,
    /// Another autoscaler selects the same replicas.
    Shared,
}

/// A replica as the autoscaler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaView {
    /// The phase of its life.
    pub phase: Phase,
    /// It is being stopped and has not ended, whatever its phase.
    pub leaving: bool,
    /// When it was started; `None` before.
    pub started: Option<Time>,
    /// Whether it may get traffic; `None` before its first probe.
    pub readiness: Option<Readiness>,
}

impl ReplicaView {
    /// Whether it answers requests: running and ready, also while it is being stopped.
    #[inline]
    pub fn serves(&self) -> bool {
        self.phase == Phase::Running && self.readiness.is_some_and(|readiness| readiness.ready)
    }
}

/// The replicas of a target, with totals that every policy needs, which are computed once for each set of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    each: Arc<[ReplicaView]>,
    serving: u32,
    are_at_work: bool,
    slowest_start: Duration,
    latest_ready: Time,
}

impl Replicas {
    /// Counts these replicas.
    pub fn of(each: &[ReplicaView]) -> Self {
        each.iter().copied().collect()
    }

    /// How many answer requests.
    pub fn serving(&self) -> u32 {
        self.serving
    }

    /// Whether all are running and none is being stopped, so that they differ only in their samples.
    pub fn are_at_work(&self) -> bool {
        self.are_at_work
    }

    /// The longest time from start to ready of the serving replicas that are not being stopped; zero without any.
    pub fn slowest_start(&self) -> Duration {
        self.slowest_start
    }

    /// The same replicas, where it is known how long their starts took at most. By their views alone, a replica that became ready again
    /// later took until then.
    #[must_use]
    pub(crate) fn with_slowest_start(self, slowest_start: Duration) -> Self {
        Self { slowest_start, ..self }
    }

    /// The time from `from` to `now` in which replicas answered requests, summed over the replicas, in milliseconds. One that became ready meanwhile
    /// counts from then on.
    pub(crate) fn served(&self, from: Time, now: Time) -> u64 {
        let ms = |since: Time| u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        // The usual case, which needs no look at single replicas.
        if self.latest_ready <= from {
            return ms(from).saturating_mul(self.serving.into());
        }
        let serving = self.each.iter().filter(|replica| replica.serves());
        let since = serving.filter_map(|replica| Some(replica.readiness?.since.max(from)));
        since.map(ms).fold(0, u64::saturating_add)
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self {
            each: Arc::default(),
            serving: 0,
            are_at_work: true,
            slowest_start: Duration::ZERO,
            latest_ready: Time::ZERO,
        }
    }
}

impl FromIterator<ReplicaView> for Replicas {
    fn from_iter<T: IntoIterator<Item = ReplicaView>>(replicas: T) -> Self {
        let each: Arc<[ReplicaView]> = replicas.into_iter().collect();
        let (mut serving, mut are_at_work, mut slowest_start) = (0, true, Duration::ZERO);
        let mut latest_ready = Time::ZERO;
        for replica in &*each {
            let stays = !replica.leaving;
            are_at_work &= stays && matches!(replica.phase, Phase::Running | Phase::Succeeded);
            let Some(Readiness { since, .. }) = replica.readiness.filter(|_| replica.serves()) else {
                continue;
            };
            serving += 1;
            latest_ready = latest_ready.max(since);
            let took = replica.started.filter(|_| stays).map(|started| since.since(started));
            slowest_start = slowest_start.max(took.unwrap_or_default());
        }
        Self { each, serving, are_at_work, slowest_start, latest_ready }
    }
}

impl Deref for Replicas {
    type Target = [ReplicaView];

    fn deref(&self) -> &[ReplicaView] {
        &self.each
    }
}

/// The phase of the life of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not running yet.
    Pending,
    /// Running.
    Running,
    /// Unstable: it fails, exits again and again, or gets no requests because they failed.
    Unstable,
    /// Ended successfully.
    Succeeded,
    /// Ended with a failure.
    Failed,
}

/// Whether a replica may get traffic, and since when that has been so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Readiness {
    /// Whether it may get traffic.
    pub ready: bool,
    /// Since when.
    pub since: Time,
}

/// The current reading of one metric. A zero is a measurement; absent, stale and failed are not.
#[derive(Clone, Debug)]
pub enum MetricReading<'a> {
    /// A measurement of each replica: metrics of type Resource, ContainerResource and Pods.
    Each(Samples<'a>),
    /// The series of the metric as a whole, which are added up: metrics of type Object (one series) and External.
    Series(&'a [Milli]),
    /// No usable value.
    Unavailable(Unavailable),
}

/// Measurements of the replicas of a target.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// In the order of [`Members::Known`]; replicas beyond its end have no sample.
    pub by_replica: &'a [Result<Sample, Gap>],
    /// Samples that are not of replicas of the target. They do not count, but show that names do not match.
    pub unmatched: u32,
    /// The requests of the replicas; only used for utilization.
    pub requests: Requests<'a>,
}

/// One measurement of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// The amount, over all its containers or of the one that the metric names.
    pub value: Milli,
    /// The end of its window.
    pub at: Time,
    /// The length of its window.
    pub window: Duration,
}

/// Why a replica has no sample. The algorithm treats all alike; explanations distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gap {
    /// There is none.
    Absent,
    /// The last one is too old.
    Stale,
    /// Reading it failed.
    Failed,
}

/// The requests of the replicas of a target for the measured resource.
#[derive(Clone, Copy, Debug)]
pub enum Requests<'a> {
    /// There is no request, so there is no utilization.
    Unset,
    /// The same for each replica.
    Same(Milli),
    /// One for each replica, in the order of [`Members::Known`].
    Each(&'a [Milli]),
    /// The request of a replica is not known.
    Unknown(&'a RequestFault),
}

/// Why the request of a pod is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestFault {
    /// A container that counts has no request.
    #[error("missing request for {resource} in container {container} of Pod {pod}")]
    Missing {
        /// Of which resource.
        resource: String,
        /// Which container.
        container: String,
        /// Of which pod.
        pod: String,
    },
    /// The metric names a container that the pod does not have.
    #[error("container {container} not found in Pod {pod}")]
    NoContainer {
        /// Which container.
        container: String,
        /// Which pod.
        pod: String,
    },
}

/// Why a metric cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unavailable {
    /// Its source answered without a value, which is not zero.
    Absent,
    /// The last measurement is too old.
    Stale {
        /// When it was made.
        since: Time,
    },
    /// Reading it failed.
    Failed(Arc<str>),
    /// No source measures it, or none does yet.
    NoSource,
    /// It is measured, but the capacity of a replica is not known yet.
    Unlearned,
}

impl Requests<'_> {
    /// The request of the replica at `index`; 0 when unknown.
    pub(super) fn of(&self, index: usize) -> Milli {
        match self {
            Self::Same(request) => *request,
            Self::Each(requests) => requests.get(index).copied().unwrap_or_default(),
            Self::Unset | Self::Unknown(_) => Milli(0),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("its source has no value for it, which does not count as zero"),
            Self::Stale { since } => write!(f, "its last measurement, from {since}, is too old"),
            Self::Failed(why) => write!(f, "reading it failed: {why}"),
            Self::NoSource => f.write_str("no source measures it"),
            Self::Unlearned => f.write_str("what a replica carries within its SLO is not known yet"),
        }
    }
}

impl fmt::Display for SelectorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the target has no selector, so its replicas cannot be found",
            Self::Unreadable => "the target's selector cannot be read, so its replicas cannot be found",
            Self::Shared => "another autoscaler selects the same replicas",
        })
    }
}
