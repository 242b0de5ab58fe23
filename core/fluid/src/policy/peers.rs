//! Policies of other autoscalers that production has as well, with the settings that their makers recommend.
//!
//! Where the target is not 70 %, thresholds move with it.

use std::time::Duration;

use serde_json::json;

use super::declaration::Declaration;
use super::written::{amount, by_cpu, by_requests};
use crate::service::Service;

/// An evaluation and its period: a minute, as CloudWatch's alarms have.
const MINUTE: Duration = Duration::from_mins(1);

/// The longest time that a policy takes for its windows.
const WINDOW_MAX: Duration = Duration::from_hours(1);

/// A target beyond which there is no room for thresholds above it.
const TARGET_MAX: f64 = 0.95;

/// Steps over the mean processor time of a minute. At a target of 70 %: a tenth more from 75 % on, a quarter from 85 %, half from 95 %; a tenth fewer
/// below 50 %, a quarter below 30 %, after five minutes of it.
///
/// Source: AWS EC2 Auto Scaling, "Step and simple scaling policies".
pub fn step(service: &Service) -> Declaration {
    let target = service.target.part().min(TARGET_MAX);
    let above = |sixths: f64| amount(target + (1.0 - target) * sixths / 6.0);
    let below = |sevenths: f64| amount(target * sevenths / 7.0);
    let every = MINUTE.clamp(service.tick, WINDOW_MAX);
    by_cpu(
        service,
        &json!({"policy": {"step": {
            "above": [
                {"from": above(1.0), "to": above(3.0), "percent": 10},
                {"from": above(3.0), "to": above(5.0), "percent": 25},
                {"from": above(5.0), "percent": 50},
            ],
            "below": [
                {"to": below(3.0), "percent": 25},
                {"from": below(3.0), "to": below(5.0), "percent": 10},
            ],
            "evaluation": {"every": seconds(every), "breaches": 1},
            "cooldown": {"out": "1m", "in": "5m"},
        }}}),
    )
}

/// Target tracking by processor time: above the target for three minutes, or below it for fifteen.
///
/// Source: AWS EC2 Auto Scaling, "Target tracking scaling policies".
pub fn target_tracking(service: &Service) -> Declaration {
    by_cpu(
        service,
        &json!({
            // A replica of the model is warm when it is ready.
            "policy": {"targetTracking": {"warmup": "0s", "outAfter": "3m", "inAfter": "15m"}},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        }),
    )
}

/// The mean rate of requests of a minute, and that of six seconds, or of a longer tick, while it asks for twice what is ready.
///
/// Source: Knative, "Configuring the autoscaler", with its defaults.
pub fn burst(service: &Service) -> Declaration {
    let stable = (service.tick * 4).clamp(MINUTE, WINDOW_MAX);
    let panic = service.tick.clamp(Duration::from_secs(6), stable);
    by_requests(
        service,
        &json!({
            "policy": {"burst": {"stableWindow": seconds(stable), "panicWindow": seconds(panic), "panicThresholdPercent": 200}},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        }),
    )
}

/// Whole seconds, rounded up, in the words of a manifest.
fn seconds(span: Duration) -> String {
    format!("{}s", span.as_millis().div_ceil(1000))
}
