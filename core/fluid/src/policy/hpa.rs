//! The reactive baselines: Kubernetes' autoscaler, as manifests that a user could write.

use model::resource::SCALE_IN_STABILIZATION_DEFAULT;
use serde_json::{Value, json};

use super::declaration::Declaration;
use super::written;
use crate::service::Service;

/// Kubernetes' autoscaler by processor time: the target of the service is used of each replica, rules of change as `autoscaling/v2` has them when
/// a manifest says nothing.
pub fn by_cpu(service: &Service) -> Declaration {
    written::by_cpu(service, &behavior(service))
}

/// Kubernetes' autoscaler by the rate of requests: so many that the target of each replica is used.
pub fn by_requests(service: &Service) -> Declaration {
    written::by_requests(service, &behavior(service))
}

/// Production asks recommendations younger than the window, the published rule those that are not older.
fn behavior(service: &Service) -> Value {
    let window = SCALE_IN_STABILIZATION_DEFAULT + service.tick;
    json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": window.as_secs()}}})
}
