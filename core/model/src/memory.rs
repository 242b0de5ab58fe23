//! State of the loop that survives a restart.

mod capacity;
mod conditions;
mod load;
mod rise;
mod shadow;

pub use self::capacity::{
    CAPACITY_RATES_MAX, CAPACITY_VERSIONS_MAX, CapacityMemory, RateEvidence, VersionCapacity,
};
pub use self::conditions::{ConditionState, ConditionsMemory};
pub use self::load::{DemandCurve, LOAD_STEPS_MAX, LoadRecord, LoadSource, Octave, StepLoad};
pub use self::rise::{ErrorBudgetMemory, LoadPeak, RISE_STEP, RISE_STEPS_MAX, RiseMemory};
pub use self::shadow::{Difference, SHADOW_CHANGES_MAX, ScalingTally, ShadowMemory, SizeChange};

use std::sync::Arc;
use std::time::Duration;

use crate::histogram::DecayingHistogram;
use crate::identity::{Incarnation, Ordinal};
use crate::input::Declared;
use crate::name::ServiceName;
use crate::quantity::{Milli, MilliCpu};
use crate::time::Time;

/// Everything about one service that survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The service.
    pub service: ServiceName,
    /// Replicas that were wanted last; `None` before the first decision.
    pub desired: Option<u32>,
    /// What its autoscaler remembers.
    pub scaling: ScalingMemory,
    /// What its shadow autoscalers remember, in the order of the declaration.
    pub shadows: Vec<ShadowMemory>,
    /// Restarts and backoff, by place.
    pub restarts: Vec<(Ordinal, RestartMemory)>,
    /// Limits on its healing, and whether it is suspended.
    pub healing: HealingMemory,
    /// Resource usage of its replicas; empty unless it is scaled vertically.
    pub usage: UsageProfile,
    /// How often its replicas were throttled; empty without a CPU limit.
    pub throttling: ThrottlingMemory,
    /// How long its replicas took to start and to warm up.
    pub starts: StartMemory,
    /// When it lost replicas that served.
    pub losses: LossMemory,
    /// The load that one replica carries within the SLO; `None` when that is not learned.
    pub capacity: Option<Box<CapacityMemory>>,
    /// Its load, and the replicas that the load needs; `None` when its load is not forecast.
    pub load: Option<Arc<LoadRecord>>,
    /// The latest version that has proven itself, as last declared; `None` before the first.
    pub proven: Option<Arc<Declared>>,
}

impl Memory {
    /// The memory of a service about which nothing is known yet.
    pub fn blank(service: ServiceName) -> Self {
        Self {
            service,
            desired: None,
            scaling: ScalingMemory::default(),
            shadows: Vec::new(),
            restarts: Vec::new(),
            healing: HealingMemory::default(),
            usage: UsageProfile::default(),
            throttling: ThrottlingMemory::default(),
            starts: StartMemory::default(),
            losses: LossMemory::default(),
            capacity: None,
            load: None,
            proven: None,
        }
    }
}

/// State of an autoscaler. Kubernetes' HPA loses it when its controller restarts; here it survives.
///
/// Bounded: see [`RECOMMENDATIONS_MAX`], [`SCALE_EVENTS_MAX`] and [`PolicyHistory`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScalingMemory {
    /// Earlier recommendations, for stabilization, each number at most once: see [`RECOMMENDATIONS_MAX`]. Empty before the first
    /// decision.
    pub recommendations: Vec<Recommendation>,
    /// Replicas that were added, for rate policies.
    pub scale_out: Vec<ScaleEvent>,
    /// Replicas that were removed, for rate policies.
    pub scale_in: Vec<ScaleEvent>,
    /// Whether the autoscaler itself scaled to zero. If zero is no longer allowed, it then scales out again. A zero that a person
    /// requested turns the autoscaler off instead.
    pub scaled_to_zero: bool,
    /// State of its policy.
    pub policy: PolicyMemory,
    /// Recent changes of direction; empty without a limit on them (`scale.flaps`).
    pub flaps: FlapMemory,
    /// The metrics with a fallback that currently cannot be measured, in the order of the declaration.
    pub failing: Vec<FailingMemory>,
    /// The conditions of a HorizontalPodAutoscaler, with the time of their last change.
    pub conditions: ConditionsMemory,
    /// The latest level of each metric, by its index in the declaration. Not kept over a restart: metrics are then measured anew.
    pub levels: Vec<LevelMemory>,
}

/// A metric that cannot be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FailingMemory {
    /// Its index in the declaration.
    pub metric: u32,
    /// Since when, without interruption.
    pub since: Time,
}

/// State of a scaling policy between two decisions. Empty for `hpa`, which needs only recommendations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyMemory {
    /// When it last added replicas; `None` if it never has.
    pub last_scale_out: Option<Time>,
    /// When it last removed replicas; `None` if it never has.
    pub last_scale_in: Option<Time>,
    /// The measurements that it takes into account.
    pub history: PolicyHistory,
}

/// The measurements that a policy takes into account, beyond the current ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyHistory {
    /// The policy needs none, or nothing has been measured yet.
    #[default]
    None,
    /// The change that the metrics ask for; for policies that wait before they follow.
    Pending(PendingChange),
    /// The latest evaluations; for step scaling.
    Evaluations(Evaluations),
    /// The load over a window; for bursts.
    Load(LoadMemory),
    /// How far the load rises while a replica starts; for SLOs.
    Rises(RiseMemory),
}

/// The change that the metrics ask for, and since when without interruption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PendingChange {
    /// No change.
    #[default]
    None,
    /// More replicas.
    More {
        /// Since when.
        since: Time,
    },
    /// Fewer replicas.
    Fewer {
        /// Since when.
        since: Time,
    },
}

/// The evaluations of a metric since the last change of size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evaluations {
    /// When the metric was last measured. A second measurement at the same time is not counted.
    pub noted: Time,
    /// When the current evaluation began.
    pub since: Time,
    /// The sum of its measurements so far.
    pub sum: Milli,
    /// The number of its measurements so far.
    pub count: u32,
    /// The means of completed evaluations, oldest first; `None` where nothing was measured. At most as many as the policy takes into
    /// account: up to [`EVALUATIONS_MAX`](crate::resource::EVALUATIONS_MAX).
    pub means: Vec<Option<Milli>>,
}

/// The load of a service over a window, divided into parts of equal length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoadMemory {
    /// When the metric was last measured. A second measurement at the same time is not counted.
    pub noted: Time,
    /// Since when it has been measured without a gap of a whole window.
    pub since: Time,
    /// Its parts, oldest first, without those in which nothing was measured. At most [`LOAD_PARTS_MAX`].
    pub parts: Vec<LoadPart>,
    /// The current burst; `None` when there is none.
    pub panic: Option<Panic>,
}

/// The measurements in one part of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadPart {
    /// When it began.
    pub at: Time,
    /// The sum of the measurements.
    pub sum: Milli,
    /// The number of measurements; at least 1.
    pub count: u32,
}

/// A burst of load, during which no replica is removed. The term is Knative's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Panic {
    /// When it began.
    pub since: Time,
    /// When the load was last above the threshold.
    pub over: Time,
    /// The most replicas that it has required.
    pub peak: u32,
}

/// Parts per panic window.
pub const LOAD_PARTS_PER_PANIC: u32 = 6;

/// Most parts of a load that are kept: those of a stable window of
/// [`PANICS_PER_STABLE_MAX`](crate::resource::PANICS_PER_STABLE_MAX) panic windows, plus the partial ones at both ends.
pub const LOAD_PARTS_MAX: usize =
    (crate::resource::PANICS_PER_STABLE_MAX * LOAD_PARTS_PER_PANIC + 2) as usize;

impl PolicyHistory {
    /// How far the load rises while a replica starts; `None` for policies that do not track it.
    pub fn rises(&self) -> Option<&RiseMemory> {
        match self {
            Self::Rises(rises) => Some(rises),
            Self::None | Self::Pending(_) | Self::Evaluations(_) | Self::Load(_) => None,
        }
    }
}

impl PolicyMemory {
    /// Whether `other` differs at most in measurements, which change with every decision.
    pub fn differs_only_in_measurements(&self, other: &Self) -> bool {
        let burst = |history: &PolicyHistory| match history {
            PolicyHistory::Load(LoadMemory { panic: Some(Panic { since, over: _, peak }), .. }) => {
                Some((*since, *peak))
            }
            PolicyHistory::None
            | PolicyHistory::Pending(_)
            | PolicyHistory::Evaluations(_)
            | PolicyHistory::Load(_)
            | PolicyHistory::Rises(_) => None,
        };
        let kind = std::mem::discriminant;
        self.last_scale_out == other.last_scale_out
            && self.last_scale_in == other.last_scale_in
            && kind(&self.history) == kind(&other.history)
            && burst(&self.history) == burst(&other.history)
    }
}

/// The direction of a change of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScaleDirection {
    /// To more replicas.
    Out,
    /// To fewer replicas.
    In,
}

/// Recent changes of direction of a service's size.
///
/// Bounded by the declared limit: once that is reached there is no scaling in, and so no later reversal either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlapMemory {
    /// The direction of the last change; `None` before the first.
    pub direction: Option<ScaleDirection>,
    /// When the direction changed, oldest first. Entries older than the limit's time are removed with the next reversal.
    pub reversals: Vec<Time>,
}

/// The level of a metric when it was last evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LevelMemory {
    /// When that was.
    pub at: Time,
    /// The ratio of the metric to its target, in thousandths.
    pub ratio: i64,
    /// The ratio times the number of measured replicas, which is independent of that number.
    pub total: i64,
    /// The steep fall that is not acted on yet; `None` when there is none.
    pub fall: Option<Fall>,
}

/// A steep fall of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fall {
    /// The total before the fall.
    pub from: i64,
    /// Since when.
    pub since: Time,
}

/// Most recommendations kept for a service.
///
/// A stabilization window needs the largest or the smallest number within it, so only the latest of equal numbers matters: there
/// is one slot for each distinct number of the longest window (1 h), whatever the period of the loop. 1024 slots (16 KiB) are
/// exact for every service whose recommendations span fewer than 1024 replicas. Beyond that, the two numbers nearest to each other
/// are merged into the larger of them, at the later time, which never lowers the result of a scale-in window.
pub const RECOMMENDATIONS_MAX: usize = 1024;

/// Most scale events kept for each direction: one each second of the longest policy period (1800 s).
///
/// Beyond that, the two oldest are merged at the later time.
pub const SCALE_EVENTS_MAX: usize = 1800;

/// A number of replicas that an autoscaler recommended, before stabilization and limits, and when it last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recommendation {
    /// When.
    pub at: Time,
    /// How many replicas.
    pub replicas: u32,
}

/// A change of size that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScaleEvent {
    /// When.
    pub at: Time,
    /// By how many replicas; at least 1.
    pub change: u32,
    /// Whether it is older than every policy period, so that its slot may be reused.
    pub outdated: bool,
}

/// Limits on the healing of a service: suspension, cooldown and rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HealingMemory {
    /// Since when restarts for failed liveness probes are suspended; `None` while they are not.
    pub suspended: Option<Time>,
    /// When a replica was last restarted for a failed liveness probe.
    pub liveness_restart: Option<Time>,
    /// Recent restarts, oldest first, for the limits on them. Entries older than the limits' window are removed with the next restart.
    pub restarted: Vec<Time>,
}

/// Resource usage of the replicas of a service, from which the size of a replica is recommended.
///
/// Bounded: two histograms of at most 176 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UsageProfile {
    /// CPU usage of ready replicas, in thousandths of a core: means over a minute.
    pub cpu: DecayingHistogram,
    /// Memory usage, in bytes: the daily maximum of each life, and more than that after an out-of-memory kill.
    pub memory: DecayingHistogram,
    /// When the first sample was taken; `None` before it.
    pub since: Option<Time>,
    /// The number of CPU samples.
    pub samples: u64,
}

/// How often the replicas of a service were throttled under their declared CPU limit.
///
/// Bounded: a histogram of at most 176 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ThrottlingMemory {
    /// The CPU limit that the counts belong to.
    pub limit: MilliCpu,
    /// The share of throttled periods in each minute of a ready replica, in thousandths.
    pub shares: DecayingHistogram,
    /// The number of counted minutes.
    pub minutes: u64,
}

/// How long the latest replicas of a service took to start and to warm up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StartMemory {
    /// From the start of a replica to its first readiness, oldest first; at most [`STARTS_MAX`].
    pub took: Vec<Duration>,
    /// From readiness until a replica used no more than the others, oldest first; at most [`WARMUPS_MAX`].
    pub warmups: Vec<Duration>,
}

/// When a service lost serving replicas: those that ended by themselves, or failed their liveness probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LossMemory {
    /// Since when losses are recorded; `None` before the service was declared.
    pub since: Option<Time>,
    /// The times of the latest losses, oldest first; at most [`LOSSES_MAX`].
    pub at: Vec<Time>,
}

/// Most losses remembered for a service: almost three days of a program that ends every hour, which is representative.
pub const LOSSES_MAX: usize = 64;

/// Most start times remembered for a service: one slow start in ten moves the 90th percentile, one in 32 does not.
pub const STARTS_MAX: usize = 32;

/// Most warm-ups remembered for a service: enough to outweigh an outlier, and few enough to learn a new version soon.
pub const WARMUPS_MAX: usize = 8;

/// The restarts in one place of a service, and its backoff.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RestartMemory {
    /// The incarnation of the latest start.
    pub incarnation: Incarnation,
    /// How often a replica ran after one of the same version had run.
    pub restarts: u32,
    /// The times of the latest exits, oldest first; at most as many as make a crash loop.
    pub recent: Vec<Time>,
    /// The last backoff, in milliseconds, from which the next is drawn; 0 after the replica has been healthy for long enough.
    pub backoff_ms: u64,
    /// The earliest time of the next start.
    pub not_before: Time,
    /// When the latest start was made; the start of the clock when that is not known.
    pub began: Time,
}

impl RestartMemory {
    /// Forgets the failures so far, so that the next start is made at once.
    pub fn forget_failures(&mut self) {
        self.recent.clear();
        self.backoff_ms = 0;
        self.not_before = Time::ZERO;
    }
}
