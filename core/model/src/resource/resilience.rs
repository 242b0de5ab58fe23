//! Limits of concurrent requests, and hedged requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Span;

/// How many requests may be under way at once; further ones are refused at once with 503 and Retry-After.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// Requests under way to all replicas of the service together. 1 to 1000000. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Requests under way to each replica; a request is refused only when no replica has room for it. 1 to 1000000. Default: no
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_per_replica: Option<u32>,
    /// A limit for all replicas together that is found from how long answers take: as many requests as are answered in good time.
    /// `{}` for the default bounds. It counts requests that wait for the head of an answer. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

/// The bounds of the adaptive limit on requests that await an answer, and when answers count as slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Adaptive {
    /// The limit never falls below this many requests. 1 to 1000000, at most `max`.
    pub min: u32,
    /// The limit never rises above this many requests. 1 to 1000000.
    pub max: u32,
    /// By how many percent the median answer may be slower than the best seen before the limit is lowered. A higher value lets
    /// more requests in and makes them wait longer; a lower one refuses requests when answer times merely vary. 0 to 1000.
    pub tolerance_percent: u32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { min: 3, max: 1000, tolerance_percent: 50 }
    }
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// When a request that takes long is sent to a second replica as well. The first answer counts, and the other attempt is given
/// up.
///
/// Only requests that no replica acts on are: GET, HEAD, OPTIONS and TRACE without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Hedge {
    /// How long to wait for the head of the first replica's answer. 1ms to 1h. Default: as `percentile` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// Waits as long as this percentage of the latest answers took at most. 50 to 99; not together with `after`. Default: 95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<u32>,
    /// The largest percentage of the requests that may be sent twice. Those count as retries as well, which have a limit of their
    /// own. 1 to 100.
    pub budget_percent: u32,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { after: None, percentile: None, budget_percent: 10 }
    }
}

/// The default percentile after which a request is sent twice. Source: Dean and Barroso 2013, "The Tail at Scale".
pub const HEDGE_PERCENTILE: u32 = 95;

/// Largest limit of concurrent requests: more than a million is probably a typing error.
pub const IN_FLIGHT_MAX: u32 = 1_000_000;

/// Largest tolerance, in percent: answers that take eleven times as long as the fastest are not worth protecting.
pub const TOLERANCE_PERCENT_MAX: u32 = 1_000;
