//! High and low watermarks: the number changes only outside of a range.
//!
//! Source: DataDog/watermarkpodautoscaler, README and `replica_calculator.go`. What differs is in docs/decisions/0024.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyProblems;
use super::evaluation::delays;
use crate::resource::{MetricSpec, Quantity, Span};

/// Replicas are added while one metric is above the high watermark and removed while it is below the low one; between them the
/// number does not change.
///
/// A scale-out brings it down to the high watermark, and a scale-in brings it up to the low one, but never above the high one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WatermarkPolicy {
    /// The name of the metric; required if there are several. The type of its target defines its unit (percent of the requested
    /// resources, a mean over the replicas, or a total); the value of the target is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Above this value replicas are added.
    pub high: Quantity,
    /// Below this value replicas are removed. Above 0, below `high`.
    pub low: Quantity,
    /// How long the metric must have been above `high` without interruption before replicas are added. 0s to 1h.
    #[serde(default)]
    pub out_after: Span,
    /// How long the metric must have been below `low` without interruption before replicas are removed. 0s to 1h. Scale-in is also
    /// stabilized, as declared in `behavior`.
    #[serde(default)]
    pub in_after: Span,
}

impl WatermarkPolicy {
    /// The problems of this policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], problems: &mut PolicyProblems) {
        problems.metric(at, self.metric.as_deref(), metrics);
        let Self { high, low, .. } = self;
        if *low <= Quantity::ZERO {
            problems.add(format!("{at}.low"), format!("a watermark must be above 0, not {low}"));
        } else if low >= high {
            problems.add(
                format!("{at}.low"),
                format!("the low watermark ({low}) must be below the high one ({high})"),
            );
        }
        delays(at, [("outAfter", self.out_after), ("inAfter", self.in_after)], problems);
    }
}
