//! The loop's own numbers, each with its unit, its default and its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Every number of the loop that an operator may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// From one scaling decision of a service to its next.
    ///
    /// 1 s, where Kubernetes' HPA takes 15 s: our counters arrive four times a second, without scraping.
    pub period: Duration,
    /// The window over which rates and processor shares are measured.
    ///
    /// 2 s: four samples of usage, eight of traffic. Shorter reacts to noise, longer answers a rise later.
    pub metric_window: Duration,
    /// A sample older than this is missing, not zero. Three sampling intervals of usage, plus one for delay.
    pub sample_age_max: Duration,
    /// When this per cent of requests fail, a fall of load is no reason to scale in: failing fast costs little, and the load comes back
    /// once the cause is fixed.
    pub error_percent_max: u32,
    /// After which an action of which nothing was heard is sent again, by the same id.
    ///
    /// 10 s: a start or a stop signal takes milliseconds. A platform that needs longer recognises the id.
    pub action_timeout: Duration,
    /// How the HPA algorithm is set; the defaults are those of kube-controller-manager.
    pub hpa: HpaSettings,
    /// How the loop reacts to ends of replicas.
    pub restart: RestartSettings,
    /// What the guard allows.
    pub guard: GuardSettings,
}

/// How the HPA algorithm is set. Source of the defaults: kube-controller-manager's flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HpaSettings {
    /// Ratios within 1 ± this change nothing.
    pub tolerance: f64,
    /// A replica younger than this counts for CPU only with a sample measured wholly after it became ready.
    pub cpu_initialization_period: Duration,
    /// A replica that was never ready by this age is not yet ready rather than broken.
    pub initial_readiness_delay: Duration,
    /// Scale-in takes the largest recommendation of this window, when no behavior says otherwise.
    pub downscale_stabilization: Duration,
}

/// How the loop reacts to ends of replicas. Backoff: decorrelated jitter (Brooker 2015).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RestartSettings {
    /// The least wait from the second end on; the first end after a healthy time is answered at once.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// After this long ready without an end, the next end counts as the first. At least twice `backoff_max`.
    pub forget_after: Duration,
    /// So many ends within `crash_loop_window`, without having been ready for `crash_loop_well`, are a crash loop.
    pub crash_loop_exits: u32,
    /// The window of the above.
    pub crash_loop_window: Duration,
    /// Being ready for this long breaks the row.
    pub crash_loop_well: Duration,
    /// The least wait from try to try in a crash loop.
    pub crash_loop_wait_min: Duration,
    /// The longest of these.
    pub crash_loop_wait: Duration,
    /// A replica whose liveness probe fails is restarted only after this long: the balancer goes around it at once.
    pub liveness_grace: Duration,
    /// From one restart for a failed liveness probe to the next of the same service.
    pub liveness_interval: Duration,
    /// So many per cent of a service's replicas, but at least two, failing at once is overload, not many single faults.
    pub overload_percent: u32,
}

/// Replicas of one service that the guard lets run, and as many as can be asked for by hand. A machine of today runs a thousand processes
/// with their probes without noticing; what is declared may be more, is warned of, and is followed up to here.
pub const REPLICAS_RUN_MAX: u32 = 1000;

/// What the guard allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GuardSettings {
    /// Restarts within a minute on one node; more wait.
    pub node_restarts_per_minute: u32,
    /// Restarts within a minute in all; more wait.
    pub cluster_restarts_per_minute: u32,
    /// Most replicas of one service, whatever its declaration says: a slip of a digit must not fill the machine. Default:
    /// [`REPLICAS_RUN_MAX`].
    pub replicas_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(1),
            metric_window: Duration::from_secs(2),
            sample_age_max: Duration::from_secs(2),
            error_percent_max: 20,
            action_timeout: Duration::from_secs(10),
            hpa: HpaSettings::default(),
            restart: RestartSettings::default(),
            guard: GuardSettings::default(),
        }
    }
}

impl Default for HpaSettings {
    fn default() -> Self {
        Self {
            tolerance: 0.1,
            cpu_initialization_period: Duration::from_mins(5),
            initial_readiness_delay: Duration::from_secs(30),
            downscale_stabilization: Duration::from_mins(5),
        }
    }
}

impl Default for RestartSettings {
    fn default() -> Self {
        Self {
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_mins(1),
            forget_after: Duration::from_mins(5),
            crash_loop_exits: 5,
            crash_loop_window: Duration::from_mins(10),
            crash_loop_well: Duration::from_mins(2),
            crash_loop_wait_min: Duration::from_secs(10),
            crash_loop_wait: Duration::from_mins(10),
            liveness_grace: Duration::from_secs(30),
            liveness_interval: Duration::from_secs(30),
            overload_percent: 30,
        }
    }
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self { node_restarts_per_minute: 10, cluster_restarts_per_minute: 50, replicas_max: REPLICAS_RUN_MAX }
    }
}
