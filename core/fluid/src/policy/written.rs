//! Manifests that a user could write, decided on by the planner: the policies of production are made of these.

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

/// A service that is scaled by processor time: `aimed` is the part of a replica that is to be used, `more` the other fields of `spec.scale`.
///
/// The target is an amount, not a share: production cuts shares off to whole per cents, as Kubernetes does, and published rules do not. A sample
/// counts as soon as its replica is ready.
pub(super) fn by_cpu(service: &Service, more: &Value) -> Declaration {
    let target = json!({"type": "AverageValue", "averageValue": amount(service.target.part())});
    written(service, &json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}), more)
}

/// A service that is scaled by the rate of requests that come.
pub(super) fn by_requests(service: &Service, more: &Value) -> Declaration {
    let target = json!({"type": "AverageValue", "averageValue": amount(service.target.part())});
    let metric =
        json!({"type": "External", "external": {"metric": {"name": REQUEST_RATE_METRIC}, "target": target}});
    written(service, &metric, more).metered(vec![Meter::ArrivedInCapacities])
}

/// A part of what a replica requests: see [`WHOLE`].
pub(super) fn amount(part: f64) -> String {
    format!("{}m", of_whole(part).0)
}

/// One metric within the bounds of the service, and `more`.
fn written(service: &Service, metric: &Value, more: &Value) -> Declaration {
    let mut scale = json!({
        // Without replicas there is no processor to measure. Where the service may have none, its own bounds still hold.
        "min": service.bounds.min.max(1),
        "max": service.bounds.max.max(1),
        "metrics": [metric],
    });
    if let (Some(scale), Some(more)) = (scale.as_object_mut(), more.as_object()) {
        scale.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    declaration(&scale)
}

/// A service that is scaled so.
fn declaration(scale: &Value) -> Declaration {
    let manifest = json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": "baseline"},
        "spec": {"run": {"command": ["baseline"]}, "resources": {"cpu": format!("{WHOLE}m")}, "scale": scale},
    });
    let Ok(Resource::Service(service)) = serde_json::from_value(manifest) else {
        unreachable!("a baseline is a manifest of ours, and a test makes each of them")
    };
    let declared = Declared {
        name: service.name().clone(),
        revision: Generation::default(),
        generation: Generation::default(),
        autoscaler: service.autoscaler().expect("a baseline is checked by a test"),
        spec: service.spec,
    };
    Declaration::of(Arc::new(declared), Settings::default(), Duration::ZERO)
}
