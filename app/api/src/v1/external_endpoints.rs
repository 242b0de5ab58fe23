//! Endpoints that others run, and which zone is preferred.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Latency;

/// How the proxy sees an endpoint that others run. Counts are since it began to send requests there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElsewhereEndpoint {
    /// Where it listens.
    pub address: String,
    /// The zone that it is in; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its share of the requests in proportion to the others; a replica has 1.
    pub weight: u32,
    /// `Serving`, `SlowStart` or `Ejected`; `Out` for one that gets no more requests and still answers some.
    pub state: String,
    /// Why it does not get its whole share; null when it does.
    pub message: Option<String>,
    /// Requests that it answers now.
    pub in_flight: u32,
    /// Attempts at requests; one that was made again counts again.
    pub requests: u64,
    /// Its answers by class of status, such as `2xx`; calls of gRPC by what their trailers say.
    pub responses: BTreeMap<String, u64>,
    /// Attempts without a whole answer: not connected, broken off, or too late.
    pub failures: u64,
    /// How long its answers took; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// That the endpoints of a zone are preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredZone {
    /// The zone.
    pub name: String,
    /// The part of the requests that stays in it now, 0 to 1.
    pub share: f64,
}
