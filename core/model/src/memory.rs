//! What the loop must still know after a restart (law 7).

use crate::identity::{Incarnation, Ordinal};
use crate::name::ServiceName;
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
    /// What its replicas' ends have taught, by place.
    pub restarts: Vec<(Ordinal, RestartMemory)>,
    /// What holds its healing back.
    pub healing: HealingMemory,
}

/// What an autoscaler remembers: Kubernetes' HPA forgets it with each restart of its controller, ours does not.
///
/// Bounded: see [`RECOMMENDATIONS_MAX`] and [`SCALE_EVENTS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScalingMemory {
    /// Earlier recommendations, for stabilisation, each number at most once: see [`RECOMMENDATIONS_MAX`]. Empty before
    /// the first decision.
    pub recommendations: Vec<Recommendation>,
    /// Replicas added, for rate policies.
    pub scale_out: Vec<ScaleEvent>,
    /// Replicas removed, for rate policies.
    pub scale_in: Vec<ScaleEvent>,
    /// The autoscaler itself took the last replica away, so it may bring one back even where zero is no longer allowed; zero
    /// replicas that somebody else asked for turn it off then.
    pub scaled_to_zero: bool,
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

/// What holds the healing of a service back: breakers, cool-downs and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HealingMemory {
    /// Since when restarts for failed liveness probes are suspended; `None` while they are not.
    pub suspended: Option<Time>,
    /// When a replica was last restarted for a failed liveness probe.
    pub liveness_restart: Option<Time>,
    /// Restarts within the window of the limits on them, oldest first, and older ones until the next.
    pub restarted: Vec<Time>,
}

/// What the ends of one replica have taught.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RestartMemory {
    /// The latest life that was begun.
    pub incarnation: Incarnation,
    /// Starts after the first, over all lives of the place.
    pub restarts: u32,
    /// When the recent ones were, oldest first; at most as many as make a crash loop.
    pub recent: Vec<Time>,
    /// The last wait, in milliseconds, from which the next is drawn; 0 when it has been well for long enough.
    pub backoff_ms: u64,
    /// No start before this time.
    pub not_before: Time,
}
