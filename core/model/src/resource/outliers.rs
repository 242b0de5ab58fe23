//! Outlier ejection: ready replicas that fail or are slow get no requests for a while.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Span;

/// When a replica that is ready is left out for a while, because of how it answers. While more than half are, none is: then the cause is more
/// likely one that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Outliers {
    /// After how many failed requests in a row, without one good answer between them, a replica is left out. 1 to 1000.
    pub failures_in_a_row: u32,
    /// How long it is left out the first time. The k-th time lasts k times as long, and k falls by one for each such span that it
    /// then serves without being left out again. 100ms to 1h.
    pub ejection: Span,
    /// The longest that it is left out, however often that has happened. At least `ejection`, at most 1h.
    pub longest: Span,
    /// The largest percentage of the replicas that may be left out at once; one always may be. 1 to 50.
    pub max_percent: u32,
    /// Also leaves out a replica that answers far more slowly than the others; `{}` one that takes three times as long. Default:
    /// none is left out for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<SlowReplica>,
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            failures_in_a_row: 5,
            ejection: Span::from_secs(30),
            longest: Span::from_secs(300),
            max_percent: 10,
            slow: None,
        }
    }
}

impl Outliers {
    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a replica is too slow to be left in. The medians of what answers take are compared, each replica's with the median of the others' over
/// the same time; at least three must have answered enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SlowReplica {
    /// The percentage of the others' median that its own median must exceed: 300 is three times as long. 110 to 10000.
    pub percent: u32,
    /// The least by which its median must exceed the others', whatever the percentage. 0s to 1h.
    pub at_least: Span,
    /// The time over which answers are compared, again and again. 100ms to 1h.
    pub window: Span,
    /// How many answers it must have given within `window` to be judged at all. 1 to 1000000.
    pub answers: u32,
}

impl Default for SlowReplica {
    fn default() -> Self {
        Self { percent: 300, at_least: Span::from_millis(5), window: Span::from_secs(10), answers: 20 }
    }
}
