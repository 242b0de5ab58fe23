//! Vertical scaling: the resources of a replica, learned from its usage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Quantity;

/// What is learned of the processor and memory that replicas use, and what becomes of it. A resource that the service is scaled by stays as
/// declared: the number of replicas answers its load already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Vertical {
    /// What is done with the recommendation. Default: recommend.
    #[serde(default)]
    pub mode: VerticalMode,
    /// Bounds of the recommended processor, in cores. Default: at least 25m.
    #[serde(default, skip_serializing_if = "AmountRange::is_open")]
    pub cpu: AmountRange,
    /// Bounds of the recommended memory, in bytes. Default: at least 16Mi.
    #[serde(default, skip_serializing_if = "AmountRange::is_open")]
    pub memory: AmountRange,
}

/// What becomes of a recommendation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum VerticalMode {
    /// Nothing is learned, and what was learned is forgotten.
    Off,
    /// The recommendation is shown, and not applied.
    #[default]
    Recommend,
    /// New replicas are started with it; those that run keep what they have.
    Initial,
    /// New replicas are started with it, and those that run are changed to it: in place where the platform can do that, else by a
    /// successor, one at a time. While the metrics ask for more replicas than may run, each gets more processor instead.
    Auto,
}

/// The least and the most of an amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AmountRange {
    /// The least. Above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Quantity>,
    /// The most; not below `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Quantity>,
}

impl AmountRange {
    /// Whether neither bound is given.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}
