//! Resource usage and throttling.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The current resource usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// CPU, in millicores; null with fewer than two samples.
    pub cpu_millicores: Option<u64>,
    /// Memory, in bytes; null before the first sample.
    pub memory_bytes: Option<u64>,
    /// The share of CPU quota periods in which the replica was throttled, from 0 to 1, over the metric window; for a service, that of the
    /// most throttled replica. Null without a CPU limit, and while the replica is idle.
    #[serde(default)]
    pub throttled_share: Option<f64>,
}

/// The throttling of a replica by its CPU limit since its start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// The number of CPU quota periods, of 100 ms each, in which it ran.
    pub windows: u64,
    /// The number of periods in which it was throttled until the next one.
    pub throttled_windows: u64,
    /// How long it was throttled, in seconds, summed over CPUs.
    pub waited_seconds: f64,
}
