//! What the loop must remember over a restart.

mod capacity;
mod conditions;
mod load;
mod rise;
mod shadow;

pub use self::capacity::{
    CAPACITY_RATES_MAX, CAPACITY_VERSIONS_MAX, CapacityMemory, RateEvidence, VersionCapacity,
};
pub use self::conditions::{ConditionsMemory, Standing};
pub use self::load::{Exchange, LOAD_STEPS_MAX, LoadRecord, LoadSource, Octave, StepLoad};
pub use self::rise::{LoadPeak, RISE_STEP, RISE_STEPS_MAX, RiseMemory, SpentMemory};
pub use self::shadow::{Difference, Heading, SHADOW_CHANGES_MAX, ShadowMemory, SizeChange, Tally};

use std::sync::Arc;
use std::time::Duration;

use crate::histogram::DecayingHistogram;
use crate::identity::{Incarnation, Ordinal};
use crate::name::ServiceName;
use crate::quantity::{Milli, MilliCpu};
use crate::time::Time;

/// Everything of one service that outlives the run that learned it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The service.
    pub service: ServiceName,
    /// How many replicas were wanted last; `None` before the first decision.
    pub desired: Option<u32>,
    /// What its autoscaler remembers.
    pub scaling: ScalingMemory,
    /// What its shadow autoscalers remember, in the order of the declaration.
    pub shadows: Vec<ShadowMemory>,
    /// Restarts and backoff, by place.
    pub restarts: Vec<(Ordinal, RestartMemory)>,
    /// The limits and suspensions of its healing.
    pub healing: HealingMemory,
    /// What its replicas have used; empty unless it is scaled vertically.
    pub usage: UsageProfile,
    /// How often its replicas were throttled; empty without a limit of the processor.
    pub throttling: ThrottlingMemory,
    /// How long its replicas took to start and to warm up.
    pub starts: StartMemory,
    /// When it lost replicas that served.
    pub losses: LossMemory,
    /// What its replicas carry within its SLO; `None` when that is not learned.
    pub capacity: Option<Box<CapacityMemory>>,
    /// Its load, and the replicas that it needs; `None` when its load is not forecast.
    pub load: Option<Arc<LoadRecord>>,
}

impl Memory {
    /// The memory of a service of which nothing was learned yet.
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
        }
    }
}

/// What an autoscaler remembers: Kubernetes' HPA forgets it with each restart of its controller, ours does not.
///
/// Bounded: see [`RECOMMENDATIONS_MAX`], [`SCALE_EVENTS_MAX`] and [`Past`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScalingMemory {
    /// Earlier recommendations, for stabilisation, each number at most once: see [`RECOMMENDATIONS_MAX`]. Empty before
    /// the first decision.
    pub recommendations: Vec<Recommendation>,
    /// Replicas added, for rate policies.
    pub scale_out: Vec<ScaleEvent>,
    /// Replicas removed, for rate policies.
    pub scale_in: Vec<ScaleEvent>,
    /// Whether the autoscaler itself scaled to zero. If zero is no longer allowed, it then scales out again; a zero that a person asked
    /// for turns it off instead.
    pub scaled_to_zero: bool,
    /// What its policy goes by.
    pub policy: PolicyMemory,
    /// How often the number has changed its direction; empty without a budget for that.
    pub flaps: FlapMemory,
    /// The metrics with a fallback that cannot be measured now, in the order of the declaration.
    pub failing: Vec<FailingMemory>,
    /// Since when the conditions of a HorizontalPodAutoscaler are as they are.
    pub conditions: ConditionsMemory,
    /// The latest level of each metric, by its place in the declaration. Not kept over a restart: metrics are then measured anew.
    pub levels: Vec<LevelMemory>,
}

/// A metric that cannot be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FailingMemory {
    /// Which, by its place in the declaration.
    pub metric: u32,
    /// Since when, without a break.
    pub since: Time,
}

/// What the policy of an autoscaler remembers from one decision to the next. Empty for `hpa`, which needs only recommendations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyMemory {
    /// When it last added replicas; `None` before.
    pub grown: Option<Time>,
    /// When it last removed replicas; `None` before.
    pub shrunk: Option<Time>,
    /// The measurements that it looks back on.
    pub past: Past,
}

/// The measurements that a policy looks back on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Past {
    /// It does not look back, or has not measured yet.
    #[default]
    None,
    /// Which change the metrics ask for; for policies that wait before they follow.
    Asking(Asking),
    /// The latest evaluations; for steps.
    Evaluations(Evaluations),
    /// The load of a window; for bursts.
    Load(LoadMemory),
    /// How far the load rises while a replica starts; for promises.
    Rises(RiseMemory),
}

/// Which change the metrics ask for, and since when without a break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Asking {
    /// None.
    #[default]
    Nothing,
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

/// The evaluations of a metric since the size was changed last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evaluations {
    /// When the metric was measured last, so that measuring twice at one time counts once.
    pub noted: Time,
    /// When the current evaluation began.
    pub since: Time,
    /// The sum of its measurements.
    pub sum: Milli,
    /// The number of its measurements.
    pub count: u32,
    /// The means of the evaluations that are over, oldest first; `None` where nothing was measured. At most as many as the policy looks at,
    /// which are at most [`EVALUATIONS_MAX`](crate::resource::EVALUATIONS_MAX).
    pub means: Vec<Option<Milli>>,
}

/// The load of a service over a window, in as many parts as the window asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoadMemory {
    /// When the metric was measured last, so that measuring twice at one time counts once.
    pub noted: Time,
    /// Since when it has been measured without a gap of a whole window.
    pub since: Time,
    /// Its parts, oldest first; those during which nothing was measured are left out. At most [`LOAD_PARTS_MAX`].
    pub parts: Vec<LoadPart>,
    /// The burst that is on; `None` when none is.
    pub panic: Option<Panic>,
}

/// What was measured in one part of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadPart {
    /// When it began.
    pub at: Time,
    /// The sum of what was measured.
    pub sum: Milli,
    /// How often it was measured; at least 1.
    pub count: u32,
}

/// A burst of load, during which nothing is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Panic {
    /// When it began.
    pub since: Time,
    /// When the load was last above the threshold.
    pub over: Time,
    /// The most replicas that it has asked for.
    pub peak: u32,
}

/// Parts of a panic window: load leaves it in sixths.
pub const LOAD_PARTS_PER_PANIC: u32 = 6;

/// Most parts kept of a load: a stable window of [`PANICS_PER_STABLE_MAX`](crate::resource::PANICS_PER_STABLE_MAX) panic windows, and the
/// parts that have begun to leave it and to come.
pub const LOAD_PARTS_MAX: usize =
    (crate::resource::PANICS_PER_STABLE_MAX * LOAD_PARTS_PER_PANIC + 2) as usize;

impl Past {
    /// How far the load rises while a replica starts; `None` where the policy does not look at that.
    pub fn rises(&self) -> Option<&RiseMemory> {
        match self {
            Self::Rises(rises) => Some(rises),
            Self::None | Self::Asking(_) | Self::Evaluations(_) | Self::Load(_) => None,
        }
    }
}

impl PolicyMemory {
    /// Whether `then` differs only in measurements, which move with every decision.
    pub fn is_as(&self, then: &Self) -> bool {
        let burst = |past: &Past| match past {
            Past::Load(LoadMemory { panic: Some(Panic { since, over: _, peak }), .. }) => {
                Some((*since, *peak))
            }
            Past::None | Past::Asking(_) | Past::Evaluations(_) | Past::Load(_) | Past::Rises(_) => None,
        };
        let kind = std::mem::discriminant;
        self.grown == then.grown
            && self.shrunk == then.shrunk
            && kind(&self.past) == kind(&then.past)
            && burst(&self.past) == burst(&then.past)
    }
}

/// Which way a number of replicas goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// To more.
    Out,
    /// To fewer.
    In,
}

/// How often a number of replicas has changed its direction.
///
/// Bounded by the budget: once it is used up there is no scaling in, and so no later turn outwards either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlapMemory {
    /// Which way it went last; `None` before it went any.
    pub way: Option<Way>,
    /// When it turned, oldest first, within the time of the budget, and older ones until the next.
    pub turns: Vec<Time>,
}

/// What a metric was at the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LevelMemory {
    /// When that was.
    pub at: Time,
    /// Its ratio to its target, in thousandths.
    pub ratio: i64,
    /// The ratio times the number of replicas that were measured: it does not change with that number.
    pub total: i64,
    /// The steep fall that is not believed yet, while there is one.
    pub fall: Option<Fall>,
}

/// A steep fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fall {
    /// From which total.
    pub from: i64,
    /// Since when.
    pub since: Time,
}

/// Most recommendations kept for a service.
///
/// A stabilisation window asks for the largest or the smallest number within it, so of equal numbers only the latest
/// counts and each is kept once: a slot for each distinct number of the longest window (1 h), whatever the period of the
/// loop. 1024 slots (16 KiB) hold that exactly for every service whose recommendations span fewer than 1024 replicas. Past
/// it the two numbers nearest to each other become the larger of them, at the later time: that keeps capacity, never less.
pub const RECOMMENDATIONS_MAX: usize = 1024;

/// Most scale events kept for each direction: one each second of the longest policy period (1800 s).
///
/// Past it the two oldest become one at the later time.
pub const SCALE_EVENTS_MAX: usize = 1800;

/// What an autoscaler would have chosen, before stabilisation and limits, at the latest time that it chose so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recommendation {
    /// When.
    pub at: Time,
    /// How many replicas.
    pub replicas: u32,
}

/// A change of size that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScaleEvent {
    /// When.
    pub at: Time,
    /// By how many replicas; at least 1.
    pub change: u32,
    /// Older than every policy period: its slot may be used again.
    pub outdated: bool,
}

/// The limits of the healing of a service: breakers, cool-downs and rates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HealingMemory {
    /// Since when restarts for failed liveness probes are suspended; `None` while they are not.
    pub suspended: Option<Time>,
    /// When a replica was last restarted for a failed liveness probe.
    pub liveness_restart: Option<Time>,
    /// Restarts within the window of the limits on them, oldest first, and older ones until the next.
    pub restarted: Vec<Time>,
}

/// What the replicas of a service have used, from which the right size of one is recommended.
///
/// Bounded: two histograms of at most 176 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UsageProfile {
    /// Processor of ready replicas, in thousandths of a core: means over a minute.
    pub cpu: DecayingHistogram,
    /// Memory of replicas, in bytes: the most of each day of each life, and more than that where memory ran out.
    pub memory: DecayingHistogram,
    /// When the first sample was taken; `None` before it.
    pub since: Option<Time>,
    /// Samples of the processor that were taken.
    pub samples: u64,
}

/// How often the replicas of a service were throttled under their declared limit of the processor.
///
/// Bounded: a histogram of at most 176 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ThrottlingMemory {
    /// The limit under which it was counted.
    pub limit: MilliCpu,
    /// The throttled windows of each minute of a ready replica, in thousandths of all windows.
    pub shares: DecayingHistogram,
    /// Minutes that were counted.
    pub minutes: u64,
}

/// How long the latest replicas of a service took to start and to warm up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StartMemory {
    /// From being started to being ready for the first time, oldest first; at most [`STARTS_MAX`].
    pub took: Vec<Duration>,
    /// From being ready until they used no more than their fellows, oldest first; at most [`WARMUPS_MAX`].
    pub warmups: Vec<Duration>,
}

/// When a service lost replicas that served: ones that ended by themselves, or failed their liveness probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LossMemory {
    /// Since when losses are noted; `None` before it was declared.
    pub since: Option<Time>,
    /// When, oldest first; at most [`LOSSES_MAX`], of more the latest.
    pub at: Vec<Time>,
}

/// Most losses remembered of a service: almost three days of a program that ends every hour, which is representative.
pub const LOSSES_MAX: usize = 64;

/// Most start times remembered of a service: one slow start in ten moves the 90th percentile, one in 32 does not.
pub const STARTS_MAX: usize = 32;

/// Most warm-ups remembered of a service: enough to outvote an odd one, and few enough to learn a new version soon.
pub const WARMUPS_MAX: usize = 8;

/// The restarts of a place, and its backoff.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RestartMemory {
    /// The latest life that was begun.
    pub incarnation: Incarnation,
    /// Starts after the first, over all lives of the place.
    pub restarts: u32,
    /// When the latest ends were, oldest first; at most as many as make a crash loop.
    pub recent: Vec<Time>,
    /// The last wait, in milliseconds, from which the next is drawn; 0 after it has been healthy for long enough.
    pub backoff_ms: u64,
    /// No start before this time.
    pub not_before: Time,
    /// When the latest life was begun; the start of the clock when that is not known.
    pub began: Time,
}
