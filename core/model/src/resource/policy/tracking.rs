//! Target tracking: Kubernetes' algorithm with a warm-up of new replicas.
//!
//! Source: AWS EC2 Auto Scaling, "Target tracking scaling policies" and "Set the default instance warmup". What differs is in
//! docs/decisions/0024.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyProblems;
use super::evaluation::delays;
use crate::resource::Span;

/// Each metric proposes replicas in the ratio of its value to its target, and the largest proposal counts, as with `hpa`. But replicas
/// that are not warm yet are not measured; they count as already added at a scale-out, and while there are any, no replica is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TrackingPolicy {
    /// How long a replica that has become ready takes until its usage is representative. 0s to 1h. Default: the measured
    /// time in which new replicas of the service use more than the others, up to 2m; 30s before it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Span>,
    /// How long more replicas must have been proposed without interruption before they are added. 0s to 1h.
    pub out_after: Span,
    /// How long fewer replicas must have been proposed without interruption before some are removed. 0s to 1h. Scale-in is also
    /// stabilized, as declared in `behavior`.
    pub in_after: Span,
}

/// Three and fifteen periods of the loop, as the alarms of CloudWatch for a target.
impl Default for TrackingPolicy {
    fn default() -> Self {
        Self { warmup: None, out_after: Span::from_secs(3), in_after: Span::from_secs(15) }
    }
}

/// The warm-up before one was measured.
const WARMUP_DEFAULT: Duration = Duration::from_secs(30);

impl TrackingPolicy {
    /// The duration of the warm-up; `measured` is the one of earlier replicas.
    pub fn warmup(&self, measured: Option<Duration>) -> Duration {
        self.warmup.map(Span::as_duration).or(measured).unwrap_or(WARMUP_DEFAULT)
    }

    /// The problems of this policy at the path `at`.
    pub(super) fn problems(&self, at: &str, problems: &mut PolicyProblems) {
        let Self { warmup, out_after, in_after } = *self;
        let warmup = warmup.unwrap_or(Span::from_secs(0));
        delays(at, [("warmup", warmup), ("outAfter", out_after), ("inAfter", in_after)], problems);
    }
}
