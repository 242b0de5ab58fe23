//! High and low watermark: the number changes outside of a range, and rests within it.
//!
//! Source: DataDog/watermarkpodautoscaler, README and `replica_calculator.go`. What differs is in docs/decisions/0024.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Found;
use super::pace::delays;
use crate::resource::{MetricSpec, Quantity, Span};

/// Replicas are added while one metric is above the high watermark and removed while it is below the low one; between them the
/// number stays.
///
/// As many are added as bring it down to the high watermark, and as many are removed as bring it up to the low one, but never so many
/// that it would be above the high one then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WatermarkPolicy {
    /// The name of the metric to look at; required where there are several. The type of its target says how it is read (in
    /// percent of what is requested, as a mean over the replicas, or as a total); the value of the target is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Above this value replicas are added.
    pub high: Quantity,
    /// Below this value replicas are removed. Above 0, below `high`.
    pub low: Quantity,
    /// How long the metric must have been above `high`, without a break, before replicas are added. 0s to 1h.
    #[serde(default)]
    pub out_after: Span,
    /// How long the metric must have been below `low`, without a break, before replicas are removed. 0s to 1h. Scale-in is also
    /// stabilised, as `behavior` says.
    #[serde(default)]
    pub in_after: Span,
}

impl WatermarkPolicy {
    /// What is wrong with it as the policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], found: &mut Found) {
        found.metric(at, self.metric.as_deref(), metrics);
        let Self { high, low, .. } = self;
        if *low <= Quantity::ZERO {
            found.add(format!("{at}.low"), format!("a watermark is above 0, not {low}"));
        } else if low >= high {
            found.add(
                format!("{at}.low"),
                format!("the low watermark ({low}) must be below the high one ({high})"),
            );
        }
        delays(at, [("outAfter", self.out_after), ("inAfter", self.in_after)], found);
    }
}
