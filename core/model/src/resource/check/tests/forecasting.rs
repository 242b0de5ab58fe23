//! What is wrong with forecasts, and with events that are known to come.

use super::*;

/// What is wrong with a service of which so much is scaled.
fn scaled(scale: &Value) -> Vec<String> {
    problems_of(&[service("shop", json!({"scale": scale}))])
}

#[test]
fn a_forecast_must_be_computable_and_needs_an_autoscaler() {
    let with = |forecast: Value| scaled(&json!({"max": 5, "forecast": forecast}));
    assert_eq!(with(json!({"mode": "on"})), [""; 0]);
    assert_eq!(with(json!({"mode": "on", "horizon": "511m", "quantile": 0.5})), [""; 0]);
    for (forecast, problem) in [
        (
            json!({"mode": "on", "quantile": 0.4}),
            "0 spec.scale.forecast.quantile: with 0.4 the number of replicas would be too small",
        ),
        (
            json!({"mode": "on", "step": "500ms"}),
            "0 spec.scale.forecast.step: must be between 1s and 1h, not 500ms",
        ),
        (
            json!({"mode": "on", "horizon": "512m"}),
            "0 spec.scale.forecast.horizon: with steps of 1m the horizon must be between",
        ),
        (
            json!({"mode": "on", "horizon": "0"}),
            "0 spec.scale.forecast.horizon: with steps of 1m the horizon",
        ),
    ] {
        let found = with(forecast);
        assert!(found.iter().any(|line| line.starts_with(problem)), "{problem} is not in {found:#?}");
    }
    let fixed = |mode| scaled(&json!({"replicas": 2, "forecast": {"mode": mode}}));
    assert!(
        fixed("on")[0].starts_with("0 spec.scale.forecast: the service has no autoscaler"),
        "{:?}",
        fixed("on")
    );
    assert_eq!(fixed("shadow"), [""; 0]);
}

#[test]
fn known_events_need_a_duration_an_effect_and_a_unique_name() {
    let event = |name: &str, more: Value| {
        let mut event = json!({"name": name, "at": "2026-11-27", "duration": "1h"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let with = |events: &[Value]| scaled(&json!({"max": 5, "forecast": {"mode": "on", "events": events}}));
    let sale = event("sale", json!({"factor": 3}));
    assert_eq!(with(&[sale.clone(), event("advert", json!({"load": 1200}))]), [""; 0]);
    for (events, problem) in [
        (vec![sale.clone(), sale.clone()], "events[1].name: there is another event named sale"),
        (
            vec![event("a", json!({"factor": 3, "duration": "500ms"}))],
            "events[0].duration: must be between 1s",
        ),
        (vec![event("a", json!({"load": 0}))], "events[0].load: a load must be above 0"),
        (vec![sale; 33], "events: a service has at most 32 events, not 33"),
    ] {
        let found = with(&events);
        let problem = format!("0 spec.scale.forecast.{problem}");
        assert!(found.iter().any(|line| line.starts_with(&problem)), "{problem} is not in {found:#?}");
    }
}

#[test]
fn a_forecast_needs_a_policy_with_a_target() {
    let marks = json!({"watermarks": {"low": 10, "high": 20}});
    let found = scaled(&json!({"max": 5, "policy": marks, "forecast": {"mode": "on"}}));
    let problem = "0 spec.scale.forecast: policy watermarks has no target by which a load could be converted into replicas";
    assert!(found.iter().any(|line| line.starts_with(problem)), "{found:#?}");
    assert_eq!(scaled(&json!({"max": 5, "policy": marks, "forecast": {"mode": "off"}})), [""; 0]);
    let slo = json!({"latency": {"quantile": 0.95, "below": "250ms"}});
    assert_eq!(scaled(&json!({"max": 5, "slo": slo, "forecast": {"mode": "shadow"}})), [""; 0]);
}

#[test]
fn no_shadow_may_have_the_name_of_the_forecast() {
    let scale = |mode| json!({"max": 5, "forecast": {"mode": mode}, "shadows": [{"name": "forecast"}]});
    assert!(
        scaled(&scale("shadow"))[0]
            .starts_with("0 spec.scale.shadows[0].name: this name is used for the forecast")
    );
    assert_eq!(scaled(&scale("on")), [""; 0]);
}
