//! Burst: a long-term mean usually, and a short-term mean during bursts.
//!
//! Source: knative/serving `pkg/autoscaler/scaling/autoscaler.go` and "Configuring autoscaling: panic mode". What differs is in
//! docs/decisions/0024.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyProblems;
use crate::resource::{MetricSpec, Span};

/// The most panic windows in a stable window: the remembered load has the resolution of the panic window.
pub const PANICS_PER_STABLE_MAX: u32 = 20;

/// The number follows the mean of one metric over a stable window. While its mean over a short panic window requires several times the
/// current replicas, the number follows the larger of both, and no replica is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct BurstPolicy {
    /// The name of the metric to follow; required where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The window of the mean outside of bursts. 6s to 1h.
    pub stable_window: Span,
    /// The short window in which a burst is detected. 1s to `stableWindow`, at min a twentieth of it.
    pub panic_window: Span,
    /// A panic begins when the mean over the panic window reaches this percentage of the load of the ready replicas at their
    /// target, and ends when it has been below for a stable window. 110 to 1000.
    pub panic_threshold_percent: u32,
}

impl Default for BurstPolicy {
    fn default() -> Self {
        let (stable_window, panic_window) = (Span::from_secs(60), Span::from_secs(6));
        Self { metric: None, stable_window, panic_window, panic_threshold_percent: 200 }
    }
}

impl BurstPolicy {
    /// The problems of this policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], problems: &mut PolicyProblems) {
        problems.metric(at, self.metric.as_deref(), metrics);
        let (min, max) = (Span::from_secs(6), Span::from_secs(3600));
        problems.within(&format!("{at}.stableWindow"), self.stable_window, (min, max));
        let stable = self.stable_window.clamp(min, max);
        let twentieth = Span::from_millis(stable.as_millis().div_ceil(u64::from(PANICS_PER_STABLE_MAX)));
        let min = twentieth.max(Span::from_secs(1));
        problems.within(&format!("{at}.panicWindow"), self.panic_window, (min, stable));
        problems.between(&format!("{at}.panicThresholdPercent"), self.panic_threshold_percent, (110, 1000));
    }
}
