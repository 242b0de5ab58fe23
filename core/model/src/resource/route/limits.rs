//! The limits of a route.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Quantity;

/// The limits of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteLimits {
    /// The rate of requests; those above it are answered 429 with Retry-After. Each proxy counts separately. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestLimit>,
    /// The largest body of a request, in bytes; a longer one is answered 413. At least 0. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Quantity>,
    /// The most connections of clients at once on the address; further ones wait in the system's queue until one ends. If
    /// routes share the address, the lowest limit applies. 1 to 1000000. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<NonZeroU32>,
}

impl RouteLimits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A limit of the rate of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestLimit {
    /// The sustained rate in requests a second. 1 to 1000000.
    pub per_second: NonZeroU32,
    /// The requests allowed at once after an idle time. 1 to 1000000. Default: as many as `perSecond`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// Which requests are counted together.
    #[serde(default)]
    pub by: LimitBy,
}

/// Which requests are counted together.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum LimitBy {
    /// Those of all clients.
    #[default]
    All,
    /// Those of each client address separately; for IPv6 by the first 64 bits, which belong to one customer. Beyond 65,536 clients at
    /// once, further ones are counted together.
    Client,
}
