//! Settings of the loop, each with its unit, its default and the reason for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of the loop that an operator may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// The interval of scaling decisions for a service.
    ///
    /// 1 s, where Kubernetes' HPA takes 15 s: the counters are pushed four times a second and need no scraping.
    pub period: Duration,
    /// The window over which rates and CPU shares are measured.
    ///
    /// 2 s: four samples of usage, eight of traffic. A shorter window reacts to noise, a longer one reacts later to a rise.
    pub metric_window: Duration,
    /// An older sample counts as missing, not as zero. Three sampling intervals of usage, plus one for delay.
    pub sample_age_max: Duration,
    /// At this error rate, in percent of the requests, a fall of the load is no reason to scale in: failing fast uses few resources, and the
    /// load comes back once the cause is fixed.
    pub error_percent_max: u32,
    /// The time after which an action without an outcome is sent again, with the same id.
    ///
    /// 10 s: a start or a stop signal takes milliseconds. A platform that needs longer recognises the id.
    pub action_timeout: Duration,
    /// Settings of the HPA algorithm; the defaults are those of kube-controller-manager.
    pub hpa: HpaSettings,
    /// How the loop reacts to exits of replicas.
    pub restart: RestartSettings,
    /// Limits that the guard enforces.
    pub guard: GuardSettings,
}

/// Settings of the HPA algorithm. Source of the defaults: kube-controller-manager's flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HpaSettings {
    /// Ratios within 1 ± this value cause no change.
    pub tolerance: f64,
    /// The CPU of a younger replica counts only if its sample was measured entirely after it became ready.
    pub cpu_initialization_period: Duration,
    /// A younger replica that was never ready counts as starting, not as broken.
    pub initial_readiness_delay: Duration,
    /// Scale-in takes the largest recommendation of this window, unless `behavior` declares another.
    pub downscale_stabilization: Duration,
}

/// How the loop reacts to exits of replicas. Backoff: decorrelated jitter (Brooker 2015).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RestartSettings {
    /// The shortest wait, from the second exit on; after a healthy time, the first exit causes an immediate restart.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// After being ready for this long without an exit, the next exit counts as the first. At least twice `backoff_max`.
    pub forget_after: Duration,
    /// This many exits within `crash_loop_window`, without being ready for `crash_loop_well` in between, are a crash loop.
    pub crash_loop_exits: u32,
    /// The window in which the exits of a crash loop are counted.
    pub crash_loop_window: Duration,
    /// Being ready for this long ends a crash loop, and resets its count.
    pub crash_loop_well: Duration,
    /// The shortest wait between restarts in a crash loop.
    pub crash_loop_wait_min: Duration,
    /// The longest wait between restarts in a crash loop.
    pub crash_loop_wait: Duration,
    /// The grace period before a replica whose liveness probe fails is restarted. The balancer stops using it immediately.
    pub liveness_grace: Duration,
    /// The shortest time between two restarts of a service for failed liveness probes.
    pub liveness_interval: Duration,
    /// This percentage of a service's replicas, but at least two, failing at once counts as overload, not as individual faults.
    pub overload_percent: u32,
}

/// Most replicas of one service that the guard allows, and most that can be held by hand.
///
/// 1000: current machines run a thousand processes with their probes without strain. A declaration of more is accepted with a warning,
/// and carried out up to here.
pub const REPLICAS_RUN_MAX: u32 = 1000;

/// Limits that the guard enforces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GuardSettings {
    /// Restarts per minute on one node; further ones wait.
    pub node_restarts_per_minute: u32,
    /// Restarts per minute in the cluster; further ones wait.
    pub cluster_restarts_per_minute: u32,
    /// Most replicas of one service, whatever its declaration says, so that a typing error cannot fill the machine. Default:
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
