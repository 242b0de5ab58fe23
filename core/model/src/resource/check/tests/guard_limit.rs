//! What is said of more replicas than the guard lets run.

use super::*;

fn warned(resources: &[Resource]) -> Vec<String> {
    let found = check(resources, Severity::Error);
    assert!(found.iter().all(|it| it.severity == Severity::Warning), "{found:#?}");
    found.into_iter().map(|it| format!("{} {}", it.resource, it.problem.path)).collect()
}

#[test]
fn declarations_above_the_guards_limit_are_warnings_in_every_field() {
    let fixed = |replicas: u32| service("shop", json!({"scale": {"replicas": replicas}}));
    assert_eq!(warned(&[fixed(1000)]), [""; 0]);
    assert_eq!(warned(&[fixed(1001)]), ["0 spec.scale.replicas"]);
    has(
        &[fixed(1001)],
        "0 spec.scale.replicas: the guard allows at most 1000 replicas per service, so 1001 are never reached",
    );
    let schedule = json!([{"cron": "0 8 * * *", "duration": "1h", "min": 2000}]);
    let auto =
        json!({"scale": {"max": 5000, "schedule": schedule, "shadows": [{"name": "bold", "max": 1001}]}});
    assert_eq!(
        warned(&[service("shop", auto)]),
        ["0 spec.scale.max", "0 spec.scale.schedule[0]", "0 spec.scale.shadows[0].max"]
    );
    let spec = json!({"scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "maxReplicas": 1001});
    let hpa = resource("autoscaling/v2", "HorizontalPodAutoscaler", "shop", &spec);
    assert_eq!(warned(&[fixed(1), hpa]), ["1 spec.maxReplicas"]);
}
