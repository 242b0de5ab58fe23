//! What people declare of the requests to a service when there are too many of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Span;

/// How many requests may be under way at once; further ones are answered 503 with Retry-After, without a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// To all replicas of the service together. 1 to 1000000. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// To each replica; refused is only what no other replica has room for. 1 to 1000000. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_per_replica: Option<u32>,
    /// To all replicas together as many as they can answer in good time, found from how long answers take; `{}` for the usual bounds.
    /// It counts requests that await the head of an answer. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

/// Within which bounds it is found how many requests may await an answer, and when answers count as slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Adaptive {
    /// So many always may. 1 to 1000000, at most `max`.
    pub min: u32,
    /// More never may. 1 to 1000000.
    pub max: u32,
    /// How far half of the answers may take longer than the best seen, in percent of it, before fewer may. More lets more in and makes
    /// them wait longer; less refuses where times differ by chance. 0 to 1000.
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

/// When a request that takes long is sent to a second replica, too. The first answer counts, and the other attempt is given up.
///
/// Only requests that no replica acts on are: GET, HEAD, OPTIONS and TRACE without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Hedge {
    /// How long the first replica has for the head of its answer. 1ms to 1h. Default: as `percentile` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// The first replica has as long as so many percent of the latest answers took. 50 to 99; not beside `after`. Default: 95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<u32>,
    /// Requests that are sent twice, in percent of those that could be, at most. They count as retries, too, which have a limit of their
    /// own. 1 to 100.
    pub budget_percent: u32,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { after: None, percentile: None, budget_percent: 10 }
    }
}

/// The percentile after which requests are sent twice when nothing else is said. Source: Dean and Barroso 2013, "The Tail at Scale".
pub const HEDGE_PERCENTILE: u32 = 95;

/// Most requests that a limit can allow at once: past a million a typing error is likelier than a wish.
pub const IN_FLIGHT_MAX: u32 = 1_000_000;

/// Most that answers may be slower, in percent: past eleven times the best nothing is kept fast any more.
pub const TOLERANCE_PERCENT_MAX: u32 = 1_000;
