//! External endpoints, and the preferred zone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RequestCounts;

/// The state of an external endpoint in the proxy. Counters start at 0 when the proxy begins to send requests to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElsewhereEndpoint {
    /// Its address and port.
    pub address: String,
    /// Its zone; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its weight relative to the other endpoints; a replica has weight 1.
    pub weight: u32,
    /// `Serving`, `SlowStart` or `Ejected`; `Out` for an endpoint that gets no new requests but still has requests in flight.
    pub state: String,
    /// Why it gets less than its full share of requests; null when it gets all of it.
    pub message: Option<String>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Its requests.
    #[serde(flatten)]
    pub counts: RequestCounts,
}

/// The zone whose endpoints are preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredZone {
    /// The name of the zone.
    pub name: String,
    /// The share of requests that currently stays in the zone, from 0 to 1.
    pub share: f64,
}
