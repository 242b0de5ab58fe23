//! What went through the proxy, told apart by what it went to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the replicas of one version were asked, those that are gone included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Which: the generation of the service that they run or ran.
    pub generation: u64,
    /// Replicas of it that get requests now.
    pub serving_replicas: u32,
    /// Attempts at requests since the proxy began; one that was made again counts again.
    pub requests: u64,
    /// Their answers by class of status, such as `2xx`; calls of gRPC by what their trailers say.
    pub responses: BTreeMap<String, u64>,
    /// Attempts without a whole answer: not connected, broken off, or too late.
    pub failures: u64,
    /// How long their answers took; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// How long answers took, from a request's head to the end of its answer, since the proxy began; to within 6.25 %, never too short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_seconds: f64,
    /// 90 % of them took no longer.
    pub p90_seconds: f64,
    /// 99 % of them took no longer.
    pub p99_seconds: f64,
}
