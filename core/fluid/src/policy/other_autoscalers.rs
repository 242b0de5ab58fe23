//! The policies of AWS and Knative, as manifests with the settings that their documentation recommends.
//!
//! Thresholds are relative to the target of the service.

use std::time::Duration;

use serde_json::json;

use super::declaration::Declaration;
use super::manifests::{amount, by_cpu, by_requests};
use crate::service::Service;

/// The evaluation period: that of CloudWatch's alarms.
const MINUTE: Duration = Duration::from_mins(1);

/// The longest window that a manifest may declare.
const WINDOW_MAX: Duration = Duration::from_hours(1);

/// The largest target that leaves a range for thresholds above it.
const TARGET_MAX: f64 = 0.95;

/// Step scaling on the mean processor time of a minute. At a target of 70 %: +10 % from 75 % on, +25 % from 85 %, +50 % from 95 %;
/// −10 % below 50 %, −25 % below 30 %, with a cooldown of five minutes.
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

/// Target tracking on processor time: acts after three minutes above the target, or fifteen below it.
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

/// Stable and panic mode on the rate of requests: windows of a minute and of six seconds, each at least as long as its number of ticks.
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

/// A manifest's duration in whole seconds, rounded up.
fn seconds(span: Duration) -> String {
    format!("{}s", span.as_millis().div_ceil(1000))
}
