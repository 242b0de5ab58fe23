//! Burst: a long mean for every day, and a short one for when load multiplies.
//!
//! Source: knative/serving `pkg/autoscaler/scaling/autoscaler.go` and "Configuring autoscaling: panic mode". What differs is in
//! docs/decisions/0024.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Found;
use crate::resource::{MetricSpec, Span};

/// Most panic windows in a stable one: what is remembered of the load is as fine as the panic window needs.
pub const PANICS_PER_STABLE_MAX: u32 = 20;

/// The number follows the mean of one metric over a stable window; while its mean over a short panic window asks for several times the
/// replicas there are, it follows the larger of both, and nothing is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct BurstPolicy {
    /// The name of the metric to follow; required where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The window that is followed while there is no burst. 6s to 1h.
    pub stable_window: Span,
    /// The short window in which a burst is recognised. 1s to `stableWindow`, at least a twentieth of it.
    pub panic_window: Span,
    /// A panic begins when the mean over the panic window reaches this percentage of what the ready replicas should carry, and
    /// ends when it has been below for a whole stable window. 110 to 1000.
    pub panic_threshold_percent: u32,
}

impl Default for BurstPolicy {
    fn default() -> Self {
        let (stable_window, panic_window) = (Span::from_secs(60), Span::from_secs(6));
        Self { metric: None, stable_window, panic_window, panic_threshold_percent: 200 }
    }
}

impl BurstPolicy {
    /// What is wrong with it as the policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], found: &mut Found) {
        found.metric(at, self.metric.as_deref(), metrics);
        let (least, most) = (Span::from_secs(6), Span::from_secs(3600));
        found.within(&format!("{at}.stableWindow"), self.stable_window, (least, most));
        let stable = self.stable_window.clamp(least, most);
        let twentieth = Span::from_millis(stable.as_millis().div_ceil(u64::from(PANICS_PER_STABLE_MAX)));
        let least = twentieth.max(Span::from_secs(1));
        found.within(&format!("{at}.panicWindow"), self.panic_window, (least, stable));
        found.between(&format!("{at}.panicThresholdPercent"), self.panic_threshold_percent, (110, 1000));
    }
}
