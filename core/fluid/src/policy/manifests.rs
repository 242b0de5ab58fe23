//! Policies made of manifests that a user could write, decided by the planner.

use std::sync::Arc;
use std::time::Duration;

use model::identity::Generation;
use model::input::Declared;
use model::resource::{REQUEST_RATE_METRIC, Resource};
use model::settings::Settings;
use serde_json::{Value, json};

use super::declaration::Declaration;
use super::meters::{Meter, WHOLE, of_whole};
use crate::service::Service;

/// A service that is scaled on processor time at the target of `service`; `more` are further fields of `spec.scale`.
///
/// The target is an amount, not a utilization: the planner truncates utilizations to whole per cent, as Kubernetes does, and the
/// published rules do not. A sample counts as soon as its replica is ready.
pub(super) fn by_cpu(service: &Service, more: &Value) -> Declaration {
    let target = json!({"type": "AverageValue", "averageValue": amount(service.target.part())});
    policy_for(service, &json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}), more)
}

/// A service that is scaled on the rate of arriving requests; `more` are further fields of `spec.scale`.
pub(super) fn by_requests(service: &Service, more: &Value) -> Declaration {
    let target = json!({"type": "AverageValue", "averageValue": amount(service.target.part())});
    let metric =
        json!({"type": "External", "external": {"metric": {"name": REQUEST_RATE_METRIC}, "target": target}});
    policy_for(service, &metric, more).with_meters(vec![Meter::ArrivedInCapacities])
}

/// A share of what a replica requests, as a quantity: see [`WHOLE`].
pub(super) fn amount(part: f64) -> String {
    format!("{}m", of_whole(part).0)
}

/// The policy with one metric, the bounds of the service, and `more`.
fn policy_for(service: &Service, metric: &Value, more: &Value) -> Declaration {
    let mut scale = json!({
        // Without replicas there is no processor time to measure. A lower minimum of the service still applies to the run.
        "min": service.bounds.min.max(1),
        "max": service.bounds.max.max(1),
        "metrics": [metric],
    });
    if let (Some(scale), Some(more)) = (scale.as_object_mut(), more.as_object()) {
        scale.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    declaration(&scale)
}

/// The policy of a service with this `spec.scale`.
fn declaration(scale: &Value) -> Declaration {
    let manifest = json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": "baseline"},
        "spec": {"run": {"command": ["baseline"]}, "resources": {"cpu": format!("{WHOLE}m")}, "scale": scale},
    });
    let Ok(Resource::Service(service)) = serde_json::from_value(manifest) else {
        unreachable!("a baseline is a valid manifest, which a test checks")
    };
    let declared = Declared {
        name: service.name().clone(),
        revision: Generation::default(),
        generation: Generation::default(),
        autoscaler: service.autoscaler().expect("a baseline has a valid autoscaler, which a test checks"),
        spec: service.spec,
    };
    Declaration::of(Arc::new(declared), Settings::default(), Duration::ZERO)
}
