//! Requests over the proxy, of services, versions and endpoints, and latencies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The requests of a service, each once, or those of one of its versions or endpoints, each attempt once. All numbers only grow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestCounts {
    /// Requests begun. Those of a version or an endpoint include retries.
    #[serde(default)]
    pub requests: u64,
    /// Responses by status class, such as `2xx`; gRPC calls by the status in their trailers.
    #[serde(default)]
    pub responses: BTreeMap<String, u64>,
    /// Requests without a complete response: connection failed, aborted, or timed out.
    #[serde(default)]
    pub failures: u64,
    /// Requests whose client gave up before it had the response; their latency counts until then.
    #[serde(default)]
    pub abandoned: u64,
    /// Attempts that failed and were made again.
    #[serde(default)]
    pub retries: u64,
    /// Bytes of request bodies.
    #[serde(default)]
    pub request_bytes: u64,
    /// Bytes of response bodies.
    #[serde(default)]
    pub response_bytes: u64,
    /// How often an endpoint was ejected because it failed or was slow.
    #[serde(default)]
    pub ejections: u64,
    /// The latency of responses; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// The traffic of one version of a service, including replicas that no longer exist, since the proxy was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The generation of the service.
    pub generation: u64,
    /// The number of its replicas that currently get requests.
    pub serving_replicas: u32,
    /// Requests in flight.
    #[serde(default)]
    pub in_flight: u32,
    /// Its requests.
    #[serde(flatten)]
    pub counts: RequestCounts,
}

/// The latency since the proxy was started, from the request's headers to the end of the response; accurate to 6.25 %, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// The median, in seconds.
    pub p50_seconds: f64,
    /// The 90th percentile, in seconds.
    pub p90_seconds: f64,
    /// The 99th percentile, in seconds.
    pub p99_seconds: f64,
}
