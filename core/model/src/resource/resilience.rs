//! What people declare of the requests to a service when there are too many of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Most requests that a limit can allow at once: past a million a typing error is likelier than a wish.
pub const IN_FLIGHT_MAX: u32 = 1_000_000;
