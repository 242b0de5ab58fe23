//! What is used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is used now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Processor, in thousandths of a core; null without two samples.
    pub cpu_millicores: Option<u64>,
    /// Memory; null before the first sample.
    pub memory_bytes: Option<u64>,
    /// In which part of the kernel's windows a replica waited, as its limit of the processor was used up, over the metric window, from 0 to 1; of a
    /// service that of the replica that waits most; null where no limit holds it, and while it does nothing.
    #[serde(default)]
    pub throttled_share: Option<f64>,
}

/// How a replica has fared with its limit of the processor since its start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// The kernel's windows, a tenth of a second each, in which it ran.
    pub windows: u64,
    /// Those of them in which its limit was used up, so that it waited for the next one.
    pub throttled_windows: u64,
    /// How long it waited, summed over the processors that it would have run on.
    pub waited_seconds: f64,
}
