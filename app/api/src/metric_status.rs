//! The measured value of a metric as a `MetricStatus` of `autoscaling/v2`.
//!
//! Source: Kubernetes `api/autoscaling/v2/types.go`.

use model::resource::{MetricIdentifier, MetricSpec, Percent, Quantity, ResourceTarget, TotalTarget};
use serde_json::{Map, Value, json};

/// The status of a metric whose value is `ratio` times its target; without `current` when nothing was measured.
pub(crate) fn of(spec: &MetricSpec, ratio: Option<f64>) -> Map<String, Value> {
    let (kind, key, mut measured, target) = match spec {
        MetricSpec::Resource { resource, target } => {
            ("Resource", "resource", json!({"name": resource.as_str()}), Target::from(*target))
        }
        MetricSpec::ContainerResource { container, resource, target } => {
            let measured = json!({"container": container, "name": resource.as_str()});
            ("ContainerResource", "containerResource", measured, Target::from(*target))
        }
        MetricSpec::Pods { metric, average } => {
            ("Pods", "pods", json!({"metric": identifier(metric)}), Target::AverageValue(*average))
        }
        MetricSpec::Object { object, metric, target } => {
            let measured = json!({"describedObject": object, "metric": identifier(metric)});
            ("Object", "object", measured, Target::from(*target))
        }
        MetricSpec::External { metric, target, .. } => {
            ("External", "external", json!({"metric": identifier(metric)}), Target::from(*target))
        }
    };
    if let Some(current) = ratio.and_then(|ratio| target.times(ratio)) {
        measured["current"] = current;
    }
    Map::from_iter([("type".to_owned(), json!(kind)), (key.to_owned(), measured)])
}

fn identifier(metric: &MetricIdentifier) -> Value {
    match &metric.selector {
        Some(selector) => json!({"name": metric.name, "selector": selector}),
        None => json!({"name": metric.name}),
    }
}

/// The target of a metric.
#[derive(Clone, Copy, Debug)]
enum Target {
    AverageUtilization(Percent),
    AverageValue(Quantity),
    Value(Quantity),
}

impl Target {
    /// The target times `ratio`, as a `MetricValueStatus`; `None` when the product is not a valid amount.
    fn times(self, ratio: f64) -> Option<Value> {
        let quantity = |target: Quantity| {
            let milli = (target.milli() as f64 * ratio).round();
            let is_amount = milli.is_finite() && milli.abs() < i64::MAX as f64;
            is_amount.then(|| Quantity::from_milli(milli as i64))
        };
        Some(match self {
            Self::AverageUtilization(Percent(target)) => {
                let percent = (f64::from(target) * ratio).round();
                json!({"averageUtilization": (0.0..=f64::from(i32::MAX)).contains(&percent).then_some(percent as i32)?})
            }
            Self::AverageValue(target) => json!({"averageValue": quantity(target)?}),
            Self::Value(target) => json!({"value": quantity(target)?}),
        })
    }
}

impl From<ResourceTarget> for Target {
    fn from(target: ResourceTarget) -> Self {
        match target {
            ResourceTarget::Utilization(percent) => Self::AverageUtilization(percent),
            ResourceTarget::Average(quantity) => Self::AverageValue(quantity),
        }
    }
}

impl From<TotalTarget> for Target {
    fn from(target: TotalTarget) -> Self {
        match target {
            TotalTarget::Value(quantity) => Self::Value(quantity),
            TotalTarget::Average(quantity) => Self::AverageValue(quantity),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::resource::MeteredResource;
    use model::resource::hpa::shapes::CrossVersionObjectReference;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }

    fn status(spec: &MetricSpec, ratio: Option<f64>) -> Value {
        Value::Object(of(spec, ratio))
    }

    #[test]
    fn a_measured_value_is_in_the_field_of_kubernetes() {
        let cpu = MetricSpec::Resource {
            resource: MeteredResource::Cpu,
            target: ResourceTarget::Utilization(Percent(50)),
        };
        let expected =
            json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 58}}});
        assert_eq!(status(&cpu, Some(58.0 / 50.0)), expected);
        let rate = MetricSpec::Pods {
            metric: MetricIdentifier { name: "rate".to_owned(), selector: None },
            average: quantity("10"),
        };
        let expected = json!({"type": "Pods", "pods": {"metric": {"name": "rate"}, "current": {"averageValue": "12500m"}}});
        assert_eq!(status(&rate, Some(1.25)), expected);
        let queue = MetricSpec::External {
            metric: MetricIdentifier { name: "queue".to_owned(), selector: None },
            target: TotalTarget::Value(quantity("30")),
            fallback: None,
        };
        let expected = json!({"type": "External", "external": {"metric": {"name": "queue"}, "current": {"value": "60"}}});
        assert_eq!(status(&queue, Some(2.0)), expected);
    }

    #[test]
    fn a_metric_that_was_not_measured_has_no_current_value() {
        let object = CrossVersionObjectReference {
            api_version: None,
            kind: "Service".to_owned(),
            name: "shop".to_owned(),
        };
        let spec = MetricSpec::Object {
            object,
            metric: MetricIdentifier { name: "hits".to_owned(), selector: None },
            target: TotalTarget::Average(quantity("1")),
        };
        for ratio in [None, Some(f64::NAN), Some(f64::INFINITY), Some(1e300)] {
            let status = status(&spec, ratio);
            assert_eq!(
                (&status["type"], &status["object"]["metric"]["name"]),
                (&json!("Object"), &json!("hits"))
            );
            assert_eq!(status["object"].get("current"), None, "{ratio:?}");
        }
    }
}
