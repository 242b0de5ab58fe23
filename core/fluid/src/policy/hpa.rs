//! The reactive baselines: manifests that anybody could write, through the planner.

use std::sync::Arc;
use std::time::Duration;

use model::identity::Generation;
use model::input::Declared;
use model::resource::{REQUEST_RATE_METRIC, Resource, SCALE_IN_STABILIZATION_DEFAULT};
use model::settings::Settings;
use serde_json::{Value, json};

use super::declaration::Declaration;
use super::meters::{Meter, WHOLE, of_whole};
use crate::service::Service;

/// Kubernetes' autoscaler by processor time: the target of the service is used of each replica, rules of change as `autoscaling/v2` has them when
/// a manifest says nothing.
///
/// Its target is an amount, not a share: production cuts shares off to whole per cents, as Kubernetes does, and the published rule
/// does not. A sample counts as soon as its replica is ready.
pub fn by_cpu(service: &Service) -> Declaration {
    let target = json!({"type": "AverageValue", "averageValue": target_of(service)});
    baseline(service, &json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}))
}

/// Kubernetes' autoscaler by the rate of requests: so many that the target of each replica is used.
pub fn by_requests(service: &Service) -> Declaration {
    let target = json!({"type": "AverageValue", "averageValue": target_of(service)});
    let metric =
        json!({"type": "External", "external": {"metric": {"name": REQUEST_RATE_METRIC}, "target": target}});
    baseline(service, &metric).metered(vec![Meter::ArrivedInCapacities])
}

/// One metric within the bounds of the service.
fn baseline(service: &Service, metric: &Value) -> Declaration {
    // Production asks recommendations younger than the window, the published rule those that are not older.
    let window = SCALE_IN_STABILIZATION_DEFAULT + service.tick;
    declaration(&json!({
        // Without replicas there is no processor to measure. Where the service may have none, its own bounds still hold.
        "min": service.bounds.min.max(1),
        "max": service.bounds.max.max(1),
        "metrics": [metric],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": window.as_secs()}},
    }))
}

/// The target of a service as a part of what a replica requests: see [`WHOLE`].
fn target_of(service: &Service) -> String {
    format!("{}m", of_whole(service.target.part()).0)
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
