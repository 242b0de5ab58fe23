//! Target tracking: as Kubernetes' algorithm, but replicas that have just begun are waited for.
//!
//! Source: AWS EC2 Auto Scaling, "Target tracking scaling policies" and "Set the default instance warmup". What differs is in
//! docs/decisions/0024.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Found;
use super::pace::delays;
use crate::resource::Span;

/// Each metric asks for replicas in the ratio of its value to its target, and the metric that asks for the most wins, as with
/// `hpa`. But replicas that are not warm yet are not measured; they count as already added when more are asked for, and while
/// there are any, none is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TrackingPolicy {
    /// How long a replica that has become ready takes until its usage is representative. 0s to 1h. Default: as long as new
    /// replicas of the service were seen to use more than the others, up to 2m; 30s until that has been seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Span>,
    /// How long more must have been asked for, without a break, before replicas are added. 0s to 1h.
    pub out_after: Span,
    /// How long fewer must have been asked for, without a break, before replicas are removed. 0s to 1h. Scale-in is also
    /// stabilised, as `behavior` says.
    pub in_after: Span,
}

/// Three and fifteen periods of the loop, as CloudWatch's alarms of a target take three and fifteen of theirs.
impl Default for TrackingPolicy {
    fn default() -> Self {
        Self { warmup: None, out_after: Span::from_secs(3), in_after: Span::from_secs(15) }
    }
}

/// How long a replica takes to warm up before any was seen to.
const WARMUP_UNSEEN: Duration = Duration::from_secs(30);

impl TrackingPolicy {
    /// How long a replica takes to warm up, where replicas were `seen` to take so long.
    pub fn warmup(&self, seen: Option<Duration>) -> Duration {
        self.warmup.map(Span::as_duration).or(seen).unwrap_or(WARMUP_UNSEEN)
    }

    /// What is wrong with it as the policy at the path `at`.
    pub(super) fn problems(&self, at: &str, found: &mut Found) {
        let Self { warmup, out_after, in_after } = *self;
        let warmup = warmup.unwrap_or(Span::from_secs(0));
        delays(at, [("warmup", warmup), ("outAfter", out_after), ("inAfter", in_after)], found);
    }
}
