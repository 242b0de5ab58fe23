//! What is said of schedules that contradict the usual bounds.

use super::*;

fn shop(scale: &Value) -> Resource {
    service("shop", json!({"scale": scale}))
}

#[test]
fn a_scheduled_minimum_above_the_usual_maximum_is_a_warning() {
    let with =
        |min: u32| json!({"max": 3, "schedule": [{"cron": "0 8 * * *", "duration": "1h", "min": min}]});
    assert_eq!(problems_of(&[shop(&with(3))]), [""; 0]);
    let text = "0 spec.scale.schedule[0].min: the usual maximum is 3, and this minimum takes precedence over it: \
                5 replicas run during that time";
    has(&[shop(&with(5))], text);
    assert_eq!(check(&[shop(&with(5))], Severity::Error)[0].severity, Severity::Warning);
}

#[test]
fn a_scheduled_minimum_with_a_maximum_or_of_a_fixed_number_is_none() {
    let hours = json!([{"cron": "0 8 * * *", "duration": "1h", "min": 6, "max": 8}]);
    assert_eq!(problems_of(&[shop(&json!({"max": 3, "schedule": hours}))]), [""; 0]);
    let hours = json!([{"cron": "0 8 * * *", "duration": "1h", "min": 6}]);
    let fixed = shop(&json!({"replicas": 2, "schedule": hours}));
    assert_eq!(problems_of(std::slice::from_ref(&fixed)), [""; 0]);
    // The HorizontalPodAutoscaler has a maximum of 5.
    has(&[fixed, hpa("shop", "shop")], "0 spec.scale.schedule[0].min: the usual maximum is 5");
}
