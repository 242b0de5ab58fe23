//! What people declare of replicas that fail or are slow though they are ready.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Span;

/// When a replica that is ready is left out for a while, because of how it answers. While more than half are, none is: then the cause is more
/// likely one that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Outliers {
    /// Failures in a row, without one good answer between them, for which a replica is left out. 1 to 1000.
    pub failures_in_a_row: u32,
    /// How long it is left out for the first time; for the k-th time k times as long, less one for each such time that went well. 100ms to 1h.
    pub ejection: Span,
    /// It is never left out for longer. At least `ejection`, and at most 1h.
    pub longest: Span,
    /// So many percent of the replicas are left out at once, at most; one always may be. 1 to 50.
    pub max_percent: u32,
    /// When it is left out because it answers far more slowly than the others; `{}` for three times as long. Default: never.
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
    /// Whether it is what holds when nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a replica is too slow to be left in. The medians of what answers take are compared, each replica's with the median of the others' over
/// the same time; at least three must have answered enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SlowReplica {
    /// Its answers take more than so many percent of what the others' do. 110 to 10000.
    pub percent: u32,
    /// And longer by at least this. 0s to 1h.
    pub at_least: Span,
    /// So long its answers are looked at before it is judged. 100ms to 1h.
    pub window: Span,
    /// So many answers it has given in that time; with fewer nothing is said of it. 1 to 1000000.
    pub answers: u32,
}

impl Default for SlowReplica {
    fn default() -> Self {
        Self { percent: 300, at_least: Span::from_millis(5), window: Span::from_secs(10), answers: 20 }
    }
}
