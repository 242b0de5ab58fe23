use std::time::Duration;

use serde_json::{Value, json};

use crate::name::ServiceName;
use crate::resource::AutoScale;
use crate::resource::hpa::v2;

use super::*;

/// What is wrong with a policy over metrics of these names, one line each.
fn problems_of(policy: Value, metrics: &[&str]) -> Vec<String> {
    let metric = |name: &&str| -> v2::MetricSpec {
        serde_json::from_value(json!({"type": "External", "external":
            {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": 10}}}))
        .expect("a metric")
    };
    let policy = serde_json::from_value(policy).expect("a policy of the right form");
    let (metrics, behavior) = (metrics.iter().map(metric).collect(), None);
    let auto = AutoScale { min: 1, max: 10, metrics, policy, behavior };
    match auto.to_spec(&ServiceName::parse("shop").expect("a name")) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.as_slice().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_fallback_needs_a_policy_that_uses_proposals() {
    let problems_of = |policy: Value| -> Vec<String> {
        let metrics =
            serde_json::from_value(json!([{"type": "External", "external": {"metric": {"name": "queue"},
            "target": {"type": "AverageValue", "averageValue": 10}, "fallback": {"replicas": 3}}}]));
        let policy = serde_json::from_value(policy).expect("a policy of the right form");
        let metrics = metrics.expect("metrics");
        let auto = AutoScale { min: 1, max: 10, metrics, policy, behavior: None };
        let problems = auto.to_spec(&ServiceName::parse("shop").expect("a name")).err();
        problems.iter().flat_map(crate::resource::Problems::as_slice).map(ToString::to_string).collect()
    };
    for policy in [json!("hpa"), json!("unanimous"), json!({"targetTracking": {}})] {
        assert_eq!(problems_of(policy), [""; 0]);
    }
    for policy in [
        json!({"watermarks": {"high": 8, "low": 2}}),
        json!({"formula": {"expression": "queue", "target": 1}}),
    ] {
        let problems = problems_of(policy);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("spec.scale.metrics[0].external.fallback"), "{problems:?}");
    }
}

#[test]
fn in_a_service_a_fallback_may_take_effect_after_a_second() {
    let after = |secs: i64| {
        let metrics = serde_json::from_value(json!([{"type": "External", "external": {
            "metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": 10},
            "fallback": {"replicas": 3, "failureDurationSeconds": secs}}}]));
        let (metrics, policy) = (metrics.expect("metrics"), serde_json::from_value(json!("hpa")));
        let policy = policy.expect("a policy");
        let auto = AutoScale { min: 1, max: 10, metrics, policy, behavior: None };
        let spec = auto.to_spec(&ServiceName::parse("shop").expect("a name"));
        spec.map(|spec| spec.metrics[0].fallback().expect("it is declared").after)
    };
    assert_eq!(after(1).expect("it is allowed"), Duration::from_secs(1));
    let problems = after(0).expect_err("a failure takes some time").into_vec();
    assert!(problems[0].path.ends_with("fallback.failureDurationSeconds"), "{problems:?}");
}

fn problems_of_steps(steps: &Value) -> Vec<String> {
    problems_of(json!({"step": steps}), &["queue"])
}

#[test]
fn contiguous_steps_in_order_are_valid() {
    let steps = json!({
        "above": [{"from": 70, "to": 90, "replicas": 1}, {"from": 90, "percent": 50, "atLeast": 2}],
        "below": [{"to": 10, "exactly": 1}, {"from": 10, "to": 30, "replicas": 1}],
        "evaluation": {"every": "30s", "breaches": 2, "of": 5}, "cooldown": {"out": "1m", "in": "5m"},
    });
    assert_eq!(problems_of_steps(&steps), [""; 0]);
    assert_eq!(problems_of_steps(&json!({"above": [{"from": 70, "replicas": 1}]})), [""; 0]);
    assert_eq!(problems_of_steps(&json!({"below": [{"from": 0, "to": 70, "replicas": 1}]})), [""; 0]);
}

#[test]
fn invalid_steps_are_reported_with_their_path() {
    let at = "spec.scale.policy.step";
    for (steps, sentence) in [
        (json!({}), "it has no steps: give above, below or both"),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 1}, {"from": 80, "replicas": 2}]}),
            ".above[1].from: must be 90, the end of the step before, not 80: they overlap",
        ),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 1}, {"from": 95, "replicas": 2}]}),
            ".above[1].from: must be 90, the end of the step before, not 95: there is a gap",
        ),
        (
            json!({"above": [{"from": 70, "replicas": 1}, {"from": 95, "replicas": 2}]}),
            ".above[0]: to is missing: another step follows",
        ),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 1}]}),
            ".above[0].to: no step covers values from 90: remove to from the last step",
        ),
        (
            json!({"above": [{"replicas": 1}]}),
            ".above[0]: from is missing, the value from which replicas are added",
        ),
        (
            json!({"below": [{"from": 10, "to": 30, "replicas": 1}]}),
            ".below[0].from: no step covers values below 10: remove from from the first step",
        ),
        (
            json!({"below": [{"replicas": 1}]}),
            ".below[0]: to is missing, the value below which replicas are removed",
        ),
        (
            json!({"above": [{"from": 30, "replicas": 1}], "below": [{"to": 30, "replicas": 1}]}),
            ".below[0].to: replicas are removed below 30 and added from 30 on, so the number would never stabilize: leave a range \
             between them",
        ),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 3}, {"from": 90, "replicas": 2}]}),
            ".above[1]: it is further away and changes less than the adjacent step",
        ),
        (
            json!({"below": [{"to": 10, "percent": 10}, {"from": 10, "to": 30, "percent": 20}]}),
            ".below[0]: it is further away and changes less than the adjacent step",
        ),
    ] {
        let expected =
            if sentence.starts_with('.') { format!("{at}{sentence}") } else { format!("{at}: {sentence}") };
        assert_eq!(problems_of_steps(&steps), [expected], "{steps}");
    }
}

#[test]
fn a_step_does_exactly_one_thing_within_its_range() {
    let read = |step: Value| serde_json::from_value::<ScaleStep>(step).map_err(|error| error.to_string());
    for (step, sentence) in [
        (json!({"from": 1}), "give exactly one of replicas, percent and exactly"),
        (json!({"from": 1, "replicas": 1, "exactly": 2}), "give exactly one of"),
        (json!({"from": 1, "replicas": 1, "atLeast": 2}), "atLeast is allowed only with percent"),
        (json!({"from": 1, "replicas": 0}), "replicas must be between 1 and 1000000, not 0"),
        (json!({"from": 1, "percent": 10_001}), "percent must be between 1 and 10000, not 10001"),
        (json!({"from": 2, "to": 2, "replicas": 1}), "to must be above from (2), not 2"),
        (json!({"from": -1, "replicas": 1}), "a threshold must be at least 0, not -1"),
    ] {
        let error = read(step.clone()).expect_err("it is invalid");
        assert!(error.starts_with(sentence), "{step}: {error}");
    }
}

#[test]
fn evaluations_and_cooldowns_have_a_range() {
    let steps = |more: Value| {
        let mut steps = json!({"above": [{"from": 70, "replicas": 1}]});
        steps.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        problems_of_steps(&steps)
    };
    for (more, sentence) in [
        (json!({"evaluation": {"every": "500ms"}}), "evaluation.every: must be between 1s and 1h, not 500ms"),
        (json!({"evaluation": {"breaches": 0}}), "evaluation.breaches: must be between 1 and 60, not 0"),
        (json!({"evaluation": {"breaches": 4, "of": 3}}), "evaluation.of: must be between 4 and 60, not 3"),
        (json!({"cooldown": {"in": "2h"}}), "cooldown.in: must be between 0s and 1h, not 2h"),
    ] {
        assert_eq!(steps(more), [format!("spec.scale.policy.step.{sentence}")]);
    }
}

#[test]
fn an_unknown_metric_is_reported_with_the_most_similar_one() {
    let marks = |metric: Option<&str>| {
        let mut marks = json!({"watermarks": {"high": 20, "low": 10}});
        if let Some(metric) = metric {
            marks["watermarks"]["metric"] = metric.into();
        }
        marks
    };
    let at = "spec.scale.policy.watermarks";
    for (metric, metrics, expected) in [
        (Some("queue"), ["queue", "lag"].as_slice(), None),
        (None, &["queue"], None),
        (Some("queu"), &["queue", "lag"], Some(".metric: there is no metric \"queu\"; did you mean queue?")),
        (
            Some("latency"),
            &["queue", "lag"],
            Some(".metric: there is no metric \"latency\"; the metrics are queue, lag"),
        ),
        (None, &["queue", "lag"], Some(": the policy uses one metric: set metric to one of queue, lag")),
        (Some("lag"), &["lag", "lag"], Some(".metric: 2 metrics are named \"lag\", and the policy uses one")),
    ] {
        let expected: Vec<String> = expected.iter().map(|sentence| format!("{at}{sentence}")).collect();
        assert_eq!(problems_of(marks(metric), metrics), expected);
    }
}

#[test]
fn watermarks_are_in_order() {
    let problems_of =
        |high: i32, low: i32| problems_of(json!({"watermarks": {"high": high, "low": low}}), &["queue"]);
    assert_eq!(problems_of(20, 10), [""; 0]);
    let at = "spec.scale.policy.watermarks.low";
    assert_eq!(
        problems_of(20, 20),
        [format!("{at}: the low watermark (20) must be below the high one (20)")]
    );
    assert_eq!(problems_of(20, 0), [format!("{at}: a watermark must be above 0, not 0")]);
}

#[test]
fn burst_windows_have_an_order_and_a_range() {
    let problems_of = |stable: &str, panic: &str, percent: u32| {
        let burst = json!({"stableWindow": stable, "panicWindow": panic, "panicThresholdPercent": percent});
        problems_of(json!({"burst": burst}), &["queue"])
    };
    assert_eq!(problems_of("1m", "6s", 200), [""; 0]);
    assert_eq!(problems_of("1h", "3m", 110), [""; 0]);
    let at = "spec.scale.policy.burst";
    assert_eq!(
        problems_of("5s", "1s", 200),
        [format!("{at}.stableWindow: must be between 6s and 1h, not 5s")]
    );
    assert_eq!(
        problems_of("1m", "2s", 200),
        [format!("{at}.panicWindow: must be between 3s and 1m, not 2s")]
    );
    assert_eq!(
        problems_of("1m", "2m", 200),
        [format!("{at}.panicWindow: must be between 3s and 1m, not 2m")]
    );
    assert_eq!(
        problems_of("1m", "6s", 100),
        [format!("{at}.panicThresholdPercent: must be between 110 and 1000, not 100")]
    );
}

#[test]
fn times_of_target_tracking_are_at_most_an_hour() {
    let problems_of = |field: &str| problems_of(json!({"targetTracking": {field: "61m"}}), &["queue"]);
    for field in ["warmup", "outAfter", "inAfter"] {
        assert_eq!(
            problems_of(field),
            [format!("spec.scale.policy.targetTracking.{field}: must be between 0s and 1h, not 61m")]
        );
    }
}

#[test]
fn an_slo_excludes_metrics_and_has_a_range() {
    let slo = |latency: Value| json!({"slo": {"latency": latency}});
    let of = |policy: Value| problems_of(policy, &[]);
    assert_eq!(of(slo(json!({"quantile": 0.99, "below": "200ms"}))), [""; 0]);
    assert_eq!(
        of(slo(json!({"quantile": 0.9999, "below": "1m"}))),
        [
            "spec.scale.policy.slo.latency.quantile: must be between 0.5 and 0.999, not 0.9999",
            "spec.scale.policy.slo.latency.below: must be between 1ms and 30s, not 1m",
        ]
    );
    let policy =
        json!({"slo": {"latency": {"quantile": 0.9, "below": "1s"}, "objective": 0.4, "capacity": 0}});
    assert_eq!(of(policy).len(), 2);
    let metrics = problems_of(slo(json!({"quantile": 0.99, "below": "200ms"})), &["queue"]);
    assert!(metrics.len() == 1 && metrics[0].starts_with("spec.scale.metrics:"), "{metrics:?}");
}

#[test]
fn a_learned_price_has_positive_factors_and_ordered_ranges() {
    let sensitivity = |factor: f64, from: f64, to: f64| json!({"factor": factor, "from": from, "to": to});
    let of = |version: u32, rises: f64, level: Value| {
        let learned = json!({"version": version, "rises": rises, "forecast": 1, "level": level,
            "trend": sensitivity(0.5, 0.2, 4.0), "unrest": sensitivity(2.0, 1.0, 1.0)});
        problems_of(
            json!({"slo": {"latency": {"quantile": 0.99, "below": "200ms"}, "learned": learned}}),
            &[],
        )
    };
    assert_eq!(of(1, 0.2, sensitivity(1.0, 0.5, 20.0)), [""; 0]);
    let at = "spec.scale.policy.slo.learned";
    assert_eq!(
        of(2, 0.0, sensitivity(0.0, 3.0, 2.0)),
        [
            format!("{at}.version: must be 1, not 2; learn it again with this version of Homeostat"),
            format!("{at}.rises: must be between 0.001 and 1000, not 0"),
            format!("{at}.level.factor: must be between 0.001 and 1000, not 0"),
            format!("{at}.level.to: must be at least from, 3, not 2"),
        ]
    );
}

#[test]
fn an_slo_is_serialized_as_its_own_field() {
    let written = json!({"max": 9, "slo": {"latency": {"quantile": 0.99, "below": "200ms"}}});
    let scale: crate::resource::Scale = serde_json::from_value(written.clone()).expect("a scale");
    assert_eq!(scale.slo().map(|slo| slo.latency.to_string()).as_deref(), Some("p99 < 200ms"));
    let printed = serde_json::to_value(&scale).expect("printed");
    assert_eq!((&printed["slo"], printed.get("policy")), (&written["slo"], None));
    let twice = json!({"max": 9, "policy": "unanimous", "slo": written["slo"]});
    assert!(serde_json::from_value::<crate::resource::Scale>(twice).is_err());
}
