//! The reactive baselines: Kubernetes' HPA, as manifests that a user could write.

use model::resource::SCALE_IN_STABILIZATION_DEFAULT;
use serde_json::{Value, json};

use super::declaration::Declaration;
use super::manifests;
use crate::service::Service;

/// Kubernetes' HPA on processor time at the target of the service, with the default `behavior` of `autoscaling/v2`.
pub fn by_cpu(service: &Service) -> Declaration {
    manifests::by_cpu(service, &behavior(service))
}

/// Kubernetes' HPA on the rate of requests at the target of the service, with the default `behavior` of `autoscaling/v2`.
pub fn by_requests(service: &Service) -> Declaration {
    manifests::by_requests(service, &behavior(service))
}

/// The planner considers recommendations younger than the window, HPA those that are not older. There is one each tick, so the end of the
/// first tick after HPA's window gives the same ones; it is at most the longest tick, which a manifest may declare.
fn behavior(service: &Service) -> Value {
    let ticks_within = SCALE_IN_STABILIZATION_DEFAULT.as_millis() / service.tick.as_millis().max(1);
    let window = service.tick * u32::try_from(ticks_within + 1).unwrap_or(u32::MAX);
    json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": window.as_secs()}}})
}
