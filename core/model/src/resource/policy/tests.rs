use std::time::Duration;

use serde_json::{Value, json};

use crate::name::ServiceName;
use crate::resource::AutoScale;
use crate::resource::hpa::v2;

use super::*;

/// What is wrong with a policy over metrics of these names, one line each.
fn said(policy: Value, metrics: &[&str]) -> Vec<String> {
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
fn what_stands_in_for_a_number_of_replicas_needs_a_policy_that_goes_by_such() {
    let said = |policy: Value| -> Vec<String> {
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
        assert_eq!(said(policy), [""; 0]);
    }
    for policy in [
        json!({"watermarks": {"high": 8, "low": 2}}),
        json!({"formula": {"expression": "queue", "target": 1}}),
    ] {
        let problems = said(policy);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("spec.scale.metrics[0].external.fallback"), "{problems:?}");
    }
}

#[test]
fn in_a_service_something_may_stand_in_after_a_second() {
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

fn said_of_steps(steps: &Value) -> Vec<String> {
    said(json!({"step": steps}), &["queue"])
}

#[test]
fn steps_without_a_gap_and_in_order_have_no_problem() {
    let steps = json!({
        "above": [{"from": 70, "to": 90, "replicas": 1}, {"from": 90, "percent": 50, "atLeast": 2}],
        "below": [{"to": 10, "exactly": 1}, {"from": 10, "to": 30, "replicas": 1}],
        "evaluation": {"every": "30s", "breaches": 2, "of": 5}, "cooldown": {"out": "1m", "in": "5m"},
    });
    assert_eq!(said_of_steps(&steps), [""; 0]);
    assert_eq!(said_of_steps(&json!({"above": [{"from": 70, "replicas": 1}]})), [""; 0]);
    assert_eq!(said_of_steps(&json!({"below": [{"from": 0, "to": 70, "replicas": 1}]})), [""; 0]);
}

#[test]
fn steps_that_overlap_leave_a_gap_or_end_too_early_are_named_by_their_place() {
    let at = "spec.scale.policy.step";
    for (steps, sentence) in [
        (json!({}), "it has no step: give above, below or both"),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 1}, {"from": 80, "replicas": 2}]}),
            ".above[1].from: it begins at 80 and overlaps the step before, which ends at 90",
        ),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 1}, {"from": 95, "replicas": 2}]}),
            ".above[1].from: from 90 to 95 there is a gap: let it begin at 90",
        ),
        (
            json!({"above": [{"from": 70, "replicas": 1}, {"from": 95, "replicas": 2}]}),
            ".above[0]: it needs to: a step comes after it",
        ),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 1}]}),
            ".above[0].to: from 90 on no step adds anything: the last one goes on without an end; take to out",
        ),
        (
            json!({"above": [{"replicas": 1}]}),
            ".above[0]: it needs from, the value from which on replicas are added",
        ),
        (
            json!({"below": [{"from": 10, "to": 30, "replicas": 1}]}),
            ".below[0].from: below 10 no step removes anything: the first one has no beginning; take from out",
        ),
        (
            json!({"below": [{"replicas": 1}]}),
            ".below[0]: it needs to, the value below which replicas are removed",
        ),
        (
            json!({"above": [{"from": 30, "replicas": 1}], "below": [{"to": 30, "replicas": 1}]}),
            ".below[0].to: replicas are removed below 30 and added from 30 on, so that the number never rests: leave a range \
             between them",
        ),
        (
            json!({"above": [{"from": 70, "to": 90, "replicas": 3}, {"from": 90, "replicas": 2}]}),
            ".above[1]: it is further off and changes less than the step next to it",
        ),
        (
            json!({"below": [{"to": 10, "percent": 10}, {"from": 10, "to": 30, "percent": 20}]}),
            ".below[0]: it is further off and changes less than the step next to it",
        ),
    ] {
        let expected =
            if sentence.starts_with('.') { format!("{at}{sentence}") } else { format!("{at}: {sentence}") };
        assert_eq!(said_of_steps(&steps), [expected], "{steps}");
    }
}

#[test]
fn a_step_does_exactly_one_thing_within_its_range() {
    let read = |step: Value| serde_json::from_value::<ScaleStep>(step).map_err(|error| error.to_string());
    for (step, sentence) in [
        (json!({"from": 1}), "a step does one thing: give exactly one of replicas, percent and exactly"),
        (json!({"from": 1, "replicas": 1, "exactly": 2}), "a step does one thing"),
        (json!({"from": 1, "replicas": 1, "atLeast": 2}), "atLeast goes beside percent only"),
        (json!({"from": 1, "replicas": 0}), "replicas lies between 1 and 1000000, not 0"),
        (json!({"from": 1, "percent": 10_001}), "percent lies between 1 and 10000, not 10001"),
        (json!({"from": 2, "to": 2, "replicas": 1}), "a step ends above its beginning, not at 2 after 2"),
        (json!({"from": -1, "replicas": 1}), "a threshold is at least 0, not -1"),
    ] {
        let said = read(step.clone()).expect_err("it is no step");
        assert!(said.starts_with(sentence), "{step}: {said}");
    }
}

#[test]
fn evaluations_and_cool_downs_have_a_range() {
    let steps = |more: Value| {
        let mut steps = json!({"above": [{"from": 70, "replicas": 1}]});
        steps.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        said_of_steps(&steps)
    };
    for (more, sentence) in [
        (json!({"evaluation": {"every": "500ms"}}), "evaluation.every: it lies between 1s and 1h, not 500ms"),
        (json!({"evaluation": {"breaches": 0}}), "evaluation.breaches: it lies between 1 and 60, not 0"),
        (json!({"evaluation": {"breaches": 4, "of": 3}}), "evaluation.of: it lies between 4 and 60, not 3"),
        (json!({"cooldown": {"in": "2h"}}), "cooldown.in: it lies between 0s and 1h, not 2h"),
    ] {
        assert_eq!(steps(more), [format!("spec.scale.policy.step.{sentence}")]);
    }
}

#[test]
fn a_metric_that_is_not_there_is_answered_with_the_one_that_was_meant() {
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
        (
            Some("queu"),
            &["queue", "lag"],
            Some(".metric: no metric here is called \"queu\"; did you mean queue?"),
        ),
        (
            Some("latency"),
            &["queue", "lag"],
            Some(".metric: no metric here is called \"latency\"; there are queue, lag"),
        ),
        (
            None,
            &["queue", "lag"],
            Some(": it looks at one metric: say at which by metric, one of queue, lag"),
        ),
        (
            Some("lag"),
            &["lag", "lag"],
            Some(".metric: 2 metrics here are called \"lag\", and it looks at one"),
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|sentence| format!("{at}{sentence}")).collect();
        assert_eq!(said(marks(metric), metrics), expected);
    }
}

#[test]
fn watermarks_are_in_order() {
    let said = |high: i32, low: i32| said(json!({"watermarks": {"high": high, "low": low}}), &["queue"]);
    assert_eq!(said(20, 10), [""; 0]);
    let at = "spec.scale.policy.watermarks.low";
    assert_eq!(said(20, 20), [format!("{at}: the low watermark (20) must be below the high one (20)")]);
    assert_eq!(said(20, 0), [format!("{at}: a watermark is above 0, not 0")]);
}

#[test]
fn windows_are_in_order_and_fine_enough_to_be_remembered() {
    let said = |stable: &str, panic: &str, percent: u32| {
        let burst = json!({"stableWindow": stable, "panicWindow": panic, "panicThresholdPercent": percent});
        said(json!({"burst": burst}), &["queue"])
    };
    assert_eq!(said("1m", "6s", 200), [""; 0]);
    assert_eq!(said("1h", "3m", 110), [""; 0]);
    let at = "spec.scale.policy.burst";
    assert_eq!(said("5s", "1s", 200), [format!("{at}.stableWindow: it lies between 6s and 1h, not 5s")]);
    assert_eq!(said("1m", "2s", 200), [format!("{at}.panicWindow: it lies between 3s and 1m, not 2s")]);
    assert_eq!(said("1m", "2m", 200), [format!("{at}.panicWindow: it lies between 3s and 1m, not 2m")]);
    assert_eq!(
        said("1m", "6s", 100),
        [format!("{at}.panicThresholdPercent: it lies between 110 and 1000, not 100")]
    );
}

#[test]
fn target_tracking_waits_for_an_hour_at_most() {
    let said = |field: &str| said(json!({"targetTracking": {field: "61m"}}), &["queue"]);
    for field in ["warmup", "outAfter", "inAfter"] {
        assert_eq!(
            said(field),
            [format!("spec.scale.policy.targetTracking.{field}: it lies between 0s and 1h, not 61m")]
        );
    }
}

#[test]
fn a_promise_stands_alone_and_within_what_can_be_learned() {
    let slo = |latency: Value| json!({"slo": {"latency": latency}});
    let of = |policy: Value| said(policy, &[]);
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
    let metrics = said(slo(json!({"quantile": 0.99, "below": "200ms"})), &["queue"]);
    assert!(metrics.len() == 1 && metrics[0].starts_with("spec.scale.metrics:"), "{metrics:?}");
}

#[test]
fn what_was_learned_has_weights_above_zero_and_ranges_that_do_not_end_before_they_begin() {
    let leaning = |factor: f64, from: f64, to: f64| json!({"factor": factor, "from": from, "to": to});
    let of = |version: u32, rises: f64, level: Value| {
        let learned = json!({"version": version, "rises": rises, "forecast": 1, "level": level,
            "trend": leaning(0.5, 0.2, 4.0), "unrest": leaning(2.0, 1.0, 1.0)});
        said(json!({"slo": {"latency": {"quantile": 0.99, "below": "200ms"}, "learned": learned}}), &[])
    };
    assert_eq!(of(1, 0.2, leaning(1.0, 0.5, 20.0)), [""; 0]);
    let at = "spec.scale.policy.slo.learned";
    assert_eq!(
        of(2, 0.0, leaning(0.0, 3.0, 2.0)),
        [
            format!("{at}.version: must be 1, not 2; learn it again with this version of Homeostat"),
            format!("{at}.rises: must be between 0.001 and 1000, not 0"),
            format!("{at}.level.factor: must be between 0.001 and 1000, not 0"),
            format!("{at}.level.to: must be at least from, 3, not 2"),
        ]
    );
}

#[test]
fn a_promise_is_written_as_a_field_of_its_own() {
    let written = json!({"max": 9, "slo": {"latency": {"quantile": 0.99, "below": "200ms"}}});
    let scale: crate::resource::Scale = serde_json::from_value(written.clone()).expect("a scale");
    assert_eq!(scale.promise().map(|slo| slo.latency.to_string()).as_deref(), Some("p99 < 200ms"));
    let printed = serde_json::to_value(&scale).expect("printed");
    assert_eq!((&printed["slo"], printed.get("policy")), (&written["slo"], None));
    let twice = json!({"max": 9, "policy": "unanimous", "slo": written["slo"]});
    assert!(serde_json::from_value::<crate::resource::Scale>(twice).is_err());
}
