//! The declared service of a study, and what has to be assumed about it.

use std::sync::Arc;

use fluid::{Capacity, Share};
use model::identity::Generation;
use model::input::Declared;
use model::name::ServiceName;
use model::resource::{
    AutoscalerSpec, Bounds, LearnedPrice, MeteredResource, MetricSpec, Problems, REQUEST_RATE_METRIC,
    Resource, ServiceSpec,
};
use thiserror::Error;

/// The manifests do not determine a policy.
#[derive(Debug, Error)]
pub enum DeclaredError {
    /// They declare neither a service nor an autoscaler.
    #[error(
        "the manifests declare neither a service nor an autoscaler, so there is no policy; name a file that does"
    )]
    Nothing,
    /// They declare several services, and none is selected.
    #[error("the manifests declare several services: {names}; select one with --service")]
    Several {
        /// Their names.
        names: String,
    },
    /// The selected service is not declared.
    #[error("the manifests do not declare the service {name}; they declare: {names}")]
    Unknown {
        /// The selected name.
        name: String,
        /// The declared names.
        names: String,
    },
    /// An autoscaler is invalid.
    #[error("could not use the autoscaler of {name}")]
    Autoscaler {
        /// The service.
        name: String,
        /// Its problems.
        source: Problems,
    },
}

/// The service `name` among `resources`, or the only one, with the autoscaler that targets it.
///
/// An autoscaler whose service is not declared is simulated with one that requests a whole core.
pub fn declared<'r>(
    resources: impl IntoIterator<Item = &'r Resource>,
    name: Option<&str>,
) -> Result<Declared, DeclaredError> {
    select(services(resources)?, name).map(as_declared)
}

/// All services among `resources`, each with the autoscaler that targets it, in the order of declaration.
pub fn all_declared<'r>(
    resources: impl IntoIterator<Item = &'r Resource>,
) -> Result<Vec<Declared>, DeclaredError> {
    Ok(services(resources)?.into_iter().map(as_declared).collect())
}

fn as_declared((name, spec, autoscaler): DeclaredService) -> Declared {
    let generation = Generation::default();
    Declared { name, revision: generation, generation, spec, autoscaler }
}

fn services<'r>(
    resources: impl IntoIterator<Item = &'r Resource>,
) -> Result<Vec<DeclaredService>, DeclaredError> {
    let mut services: Vec<DeclaredService> = Vec::new();
    let mut autoscalers = Vec::new();
    let failed = |name: &str, source| DeclaredError::Autoscaler { name: name.to_owned(), source };
    for resource in resources {
        match resource {
            Resource::Service(service) => {
                let autoscaler =
                    service.autoscaler().map_err(|source| failed(service.name().as_str(), source))?;
                services.push((service.name().clone(), service.spec.clone(), autoscaler));
            }
            Resource::HorizontalPodAutoscaler(hpa) => {
                autoscalers
                    .push(hpa.autoscaler().map_err(|source| failed("a HorizontalPodAutoscaler", source))?);
            }
            Resource::Route(_) | Resource::MetricSource(_) => {}
        }
    }
    for autoscaler in autoscalers {
        match services.iter_mut().find(|(service, ..)| *service == autoscaler.service) {
            Some((_, _, own)) => *own = Some(autoscaler),
            None => services.push((autoscaler.service.clone(), placeholder_spec(), Some(autoscaler))),
        }
    }
    Ok(services)
}

type DeclaredService = (ServiceName, ServiceSpec, Option<AutoscalerSpec>);

fn select(mut services: Vec<DeclaredService>, name: Option<&str>) -> Result<DeclaredService, DeclaredError> {
    let names = services.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ");
    match name {
        None if services.len() > 1 => Err(DeclaredError::Several { names }),
        None => services.pop().ok_or(DeclaredError::Nothing),
        Some(name) => services
            .into_iter()
            .find(|(service, ..)| service.as_str() == name)
            .ok_or_else(|| DeclaredError::Unknown { name: name.to_owned(), names }),
    }
}

/// The placeholder for a service that is not declared.
fn placeholder_spec() -> ServiceSpec {
    let spec = serde_json::json!({"run": {"command": ["unknown"]}, "resources": {"cpu": "1"}});
    serde_json::from_value(spec).expect("a test makes one")
}

/// A service within these bounds that scales by an SLO with this objective, and by a learned price if there is one.
///
/// Its minimum is at least 1, as without replicas no request is served whose latency could be measured. A lower minimum of the bounds still
/// applies to the run.
pub(crate) fn slo_service(
    Bounds { min, max }: Bounds,
    objective: f64,
    learned: Option<LearnedPrice>,
) -> Resource {
    let objective = objective.clamp(0.5, 0.9999);
    let (min, max) = (min.max(1), max.max(1));
    // The latency does not matter: the model does not simulate it, and the capacity of a replica is given.
    let slo = serde_json::json!({"latency": {"quantile": 0.95, "below": "500ms"}, "objective": objective, "learned": learned});
    let spec = serde_json::json!({
        "run": {"command": ["unknown"]}, "ports": [{"name": "http"}], "expose": {"listen": "127.0.0.1:80", "port": "http"},
        "scale": {"min": min, "max": max, "slo": slo},
    });
    let resource = serde_json::json!({"apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": SLO_SERVICE}, "spec": spec});
    serde_json::from_value(resource).expect("a test makes one")
}

/// The name of a service that is only simulated.
pub(crate) const SLO_SERVICE: &str = "with-slo";

/// The widest bounds of a service at any time, schedules included.
pub fn widest_bounds(declared: &Declared) -> Bounds {
    let own = declared.autoscaler.as_ref().map(|spec| Bounds { min: spec.min, max: spec.max });
    let own = own.unwrap_or_else(|| declared.spec.scale.bounds());
    declared.spec.scale.schedule.iter().fold(own, |bounds, schedule| Bounds {
        min: bounds.min.min(schedule.min.unwrap_or(bounds.min)).min(schedule.max.unwrap_or(bounds.min)),
        max: bounds.max.max(schedule.max.unwrap_or(bounds.max)).max(schedule.min.unwrap_or(bounds.max)),
    })
}

/// The capacity of a replica that follows from the request rate that its autoscaler targets per replica, at the target utilization `target`.
pub fn declared_capacity(declared: &Declared, target: Share) -> Option<Capacity> {
    // The target of an SLO policy is learned, not declared.
    let with_target = declared.autoscaler.iter().filter(|spec| spec.policy.slo().is_none());
    with_target
        .flat_map(|spec| &spec.metrics)
        .filter_map(|metric| match metric {
            MetricSpec::Pods { metric, average } if metric.name == REQUEST_RATE_METRIC => Some(average),
            MetricSpec::Pods { .. }
            | MetricSpec::Resource { .. }
            | MetricSpec::ContainerResource { .. }
            | MetricSpec::Object { .. }
            | MetricSpec::External { .. } => None,
        })
        .find_map(|average| Capacity::per_second(average.milli() as f64 / 1000.0 / target.part()).ok())
}

/// What a simulation of `declared` has to assume or cannot show, each as a sentence.
pub fn assumptions(declared: &Arc<Declared>) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(spec) = &declared.autoscaler else {
        notes.push(format!(
            "{} has no autoscaler: it is simulated with its fixed number of replicas and its schedules",
            declared.name
        ));
        return notes;
    };
    for metric in &spec.metrics {
        match metric {
            MetricSpec::Resource { resource: MeteredResource::Memory, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Memory, .. } => notes.push(
                "memory is not simulated: that metric has no value here, which may scale out but never in"
                    .to_owned(),
            ),
            MetricSpec::Resource { resource: MeteredResource::Cpu, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Cpu, .. } => {
                if declared.spec.resources.cpu.is_none() {
                    notes.push(format!(
                        "{} does not request cpu, so its metric cpu has no value; declare it under resources",
                        declared.name
                    ));
                }
            }
            MetricSpec::Pods { metric, .. } if metric.name == REQUEST_RATE_METRIC => {}
            MetricSpec::Pods { metric, .. } => {
                notes.push(format!(
                    "the metric {} is assumed to be the requests per second of a replica",
                    metric.name
                ));
            }
            MetricSpec::Object { metric, .. } | MetricSpec::External { metric, .. } => {
                notes.push(format!("the metric {} is assumed to be the load of the trace", metric.name));
            }
        }
    }
    if declared.spec.scale.to_zero.is_some() {
        notes.push(format!(
            "{} may scale to zero, which is not simulated: it is simulated without",
            declared.name
        ));
    }
    notes
}
