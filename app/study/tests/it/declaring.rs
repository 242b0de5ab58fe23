//! Services as manifests declare them.

use std::sync::Arc;

use fluid::Share;
use model::resource::{Bounds, Resource};
use study::{
    Candidate, CapacityRule, DeclaredError, Setting, Summary, assumptions, declared, declared_capacity,
    widest_bounds,
};

use crate::comparing::{MEASURE, compared, evenings, setting};

pub(crate) fn service(name: &str, scale: &serde_json::Value) -> Resource {
    resource(serde_json::json!({
        "apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"run": {"command": ["shop"]}, "resources": {"cpu": "1"}, "scale": scale},
    }))
}

fn autoscaler(of: &str) -> Resource {
    resource(serde_json::json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "any"},
        "spec": {"scaleTargetRef": {"kind": "Service", "name": of}, "minReplicas": 2, "maxReplicas": 80, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
        ]},
    }))
}

fn resource(json: serde_json::Value) -> Resource {
    serde_json::from_value(json).expect("it is a resource")
}

#[test]
fn the_only_service_is_selected_and_one_of_several_must_be_named() {
    let (shop, till) = (
        service("shop", &serde_json::json!({"replicas": 3})),
        service("till", &serde_json::json!({"replicas": 1})),
    );
    assert_eq!(declared([&shop], None).unwrap().name.as_str(), "shop");
    assert_eq!(declared([&shop, &till], Some("till")).unwrap().name.as_str(), "till");
    let several = declared([&shop, &till], None).expect_err("it is not clear which");
    assert!(
        several.to_string().contains("several services: shop, till; select one with --service"),
        "{several}"
    );
    assert!(matches!(declared([&shop], Some("bar")), Err(DeclaredError::Unknown { .. })));
    assert!(matches!(declared([], None), Err(DeclaredError::Nothing)));
}

#[test]
fn an_autoscaler_applies_to_its_service_or_to_a_placeholder() {
    let shop = service("shop", &serde_json::json!({"replicas": 3}));
    let with = declared([&shop, &autoscaler("shop")], None).unwrap();
    assert_eq!(widest_bounds(&with), Bounds { min: 2, max: 80 });
    let alone = declared([&autoscaler("shop")], None).unwrap();
    assert_eq!((alone.name.as_str(), widest_bounds(&alone)), ("shop", Bounds { min: 2, max: 80 }));
}

#[test]
fn schedules_widen_the_bounds_and_are_followed() {
    let shop = service(
        "shop",
        &serde_json::json!({
            "min": 1, "max": 80,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
            "schedule": [{"cron": "55 19 * * *", "timezone": "UTC", "duration": "4h5m", "min": 44}],
        }),
    );
    let shop = Arc::new(declared([&shop], None).unwrap());
    assert_eq!(widest_bounds(&shop), Bounds { min: 1, max: 80 });
    let setting = Setting { bounds: widest_bounds(&shop), ..setting() };
    let findings = compared(&evenings(), &setting, &[Candidate::declared(&shop)]).unwrap();
    let summary = Summary::of(&findings, MEASURE, Vec::new());
    assert_eq!(summary.policies[0].violated_requests_percent, 0.0, "{summary:?}");
    assert_eq!(summary.best.as_deref(), Some("declared"));
}

#[test]
fn the_capacity_follows_from_an_autoscaler_by_requests() {
    let shop = service(
        "shop",
        &serde_json::json!({
            "max": 20,
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "14"}}}],
        }),
    );
    let shop = Arc::new(declared([&shop], None).unwrap());
    let capacity = declared_capacity(&shop, Share::of(0.7).unwrap()).unwrap();
    assert!((capacity.rate() - 20.0).abs() < 1e-9);
    assert!(assumptions(&shop).is_empty());
    let setting =
        Setting { capacity: CapacityRule::Given(capacity), bounds: widest_bounds(&shop), ..setting() };
    let findings = compared(&evenings(), &setting, &[Candidate::declared(&shop)]).unwrap();
    let score = &findings.results[0].outcome.score;
    // 100 requests a second are eight replicas, 10 are one: for 4 of 24 hours.
    assert!(
        (score.replica_hours() / (2.0 * (4.0 * 8.0 + 20.0)) - 1.0).abs() < 0.03,
        "{}",
        score.replica_hours()
    );
}

#[test]
fn the_capacity_does_not_follow_from_an_slo() {
    let slo = serde_json::json!({"latency": {"quantile": 0.95, "below": "250ms"}});
    let shop = declared([&service("shop", &serde_json::json!({"max": 10, "slo": slo}))], None).unwrap();
    assert_eq!(declared_capacity(&shop, Share::of(0.7).unwrap()), None);
}

#[test]
fn a_declared_event_is_scaled_for_in_the_simulation_at_no_higher_cost() {
    // Three days of minutes; in the third, from ten to twelve in Berlin, four times as much as usual.
    let minute = |n: u32| if (2 * 1440 + 540..2 * 1440 + 660).contains(&n) { 4800 } else { 1200 };
    let loads: String = (0..3 * 1440).map(|n| format!("{},{}\n", n * 60, minute(n))).collect();
    let scored = |events: &serde_json::Value| {
        let scale = serde_json::json!({
            "min": 1, "max": 60,
            "metrics": [{"type": "Pods", "pods": {
                "metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "7"},
            }}],
            "forecast": {"mode": "on", "events": events},
        });
        let mut json = serde_json::to_value(service("shop", &scale)).unwrap();
        json["spec"]["ports"] = serde_json::json!([{"name": "http", "protocol": "http"}]);
        json["spec"]["expose"] = serde_json::json!({"listen": "127.0.0.1:8080", "port": "http"});
        let shop = Arc::new(declared([&resource(json)], None).unwrap());
        let capacity = CapacityRule::Given(declared_capacity(&shop, Share::of(0.7).unwrap()).unwrap());
        let setting = Setting { capacity, bounds: widest_bounds(&shop), ..setting() };
        let findings = compared(&loads, &setting, &[Candidate::declared(&shop)]).unwrap();
        Summary::of(&findings, MEASURE, Vec::new()).policies[0].clone()
    };
    let unknown = scored(&serde_json::json!([]));
    let known = scored(&serde_json::json!([
        {"name": "sale", "at": "1970-01-03T10:00", "timezone": "Europe/Berlin", "duration": "2h", "factor": 4},
    ]));
    assert!(unknown.violated_requests_percent > 0.1, "{unknown:?}");
    assert_eq!(known.violated_requests_percent, 0.0);
    assert!(known.replica_hours < unknown.replica_hours * 1.02, "{known:?}, {unknown:?}");
}

#[test]
fn features_that_are_not_simulated_are_noted() {
    let shop = service(
        "shop",
        &serde_json::json!({
            "max": 20, "toZero": {},
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "External", "external": {"metric": {"name": "orders"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
            ],
        }),
    );
    let notes = assumptions(&Arc::new(declared([&shop], None).unwrap())).join("\n");
    for part in [
        "memory is not simulated",
        "orders is assumed to be the load",
        "may scale to zero, which is not simulated",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}
