//! The service that manifests declare, as it is decided on.

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

/// Why manifests do not say which policy to try.
#[derive(Debug, Error)]
pub enum DeclaredError {
    /// Nothing in them scales.
    #[error(
        "the manifests declare no service and no autoscaler, so there is no policy to try; name a file that does"
    )]
    Nothing,
    /// There are several, and none is named.
    #[error("the manifests declare several services: {names}; say which with --service")]
    Several {
        /// Their names.
        names: String,
    },
    /// The one that is named is not among them.
    #[error("the manifests do not declare the service {name}; they declare: {names}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        names: String,
    },
    /// An autoscaler asks for what none can do.
    #[error("could not use the autoscaler of {name}")]
    Autoscaler {
        /// Of which service.
        name: String,
        /// Why.
        source: Problems,
    },
}

/// The service called `name` among `resources`, or the only one; with the autoscaler that targets it.
///
/// An autoscaler whose service is not declared is tried on one that requests a whole core.
pub fn declared<'r>(
    resources: impl IntoIterator<Item = &'r Resource>,
    name: Option<&str>,
) -> Result<Declared, DeclaredError> {
    chosen(found(resources)?, name).map(as_declared)
}

/// All services among `resources`, each with the autoscaler that targets it, in the order in which they are declared.
pub fn all_declared<'r>(
    resources: impl IntoIterator<Item = &'r Resource>,
) -> Result<Vec<Declared>, DeclaredError> {
    Ok(found(resources)?.into_iter().map(as_declared).collect())
}

fn as_declared((name, spec, autoscaler): Found) -> Declared {
    let generation = Generation::default();
    Declared { name, revision: generation, generation, spec, autoscaler }
}

fn found<'r>(resources: impl IntoIterator<Item = &'r Resource>) -> Result<Vec<Found>, DeclaredError> {
    let mut services: Vec<Found> = Vec::new();
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
            None => services.push((autoscaler.service.clone(), bare(), Some(autoscaler))),
        }
    }
    Ok(services)
}

type Found = (ServiceName, ServiceSpec, Option<AutoscalerSpec>);

fn chosen(mut services: Vec<Found>, name: Option<&str>) -> Result<Found, DeclaredError> {
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

/// A service of which nothing is known.
fn bare() -> ServiceSpec {
    let spec = serde_json::json!({"run": {"command": ["unknown"]}, "resources": {"cpu": "1"}});
    serde_json::from_value(spec).expect("a test makes one")
}

/// A service of so many replicas that is sized by its promise to be well for `objective` of the requests, and by what was learned of it.
pub(crate) fn promising(
    Bounds { min, max }: Bounds,
    objective: f64,
    learned: Option<LearnedPrice>,
) -> Resource {
    let objective = objective.clamp(0.5, 0.9999);
    // How fast it is to answer is nothing that the model tells apart: what a replica carries is given.
    let slo = serde_json::json!({"latency": {"quantile": 0.95, "below": "500ms"}, "objective": objective, "learned": learned});
    let spec = serde_json::json!({
        "run": {"command": ["unknown"]}, "ports": [{"name": "http"}], "expose": {"listen": "127.0.0.1:80", "port": "http"},
        "scale": {"min": min, "max": max, "slo": slo},
    });
    let resource = serde_json::json!({"apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": PROMISING}, "spec": spec});
    serde_json::from_value(resource).expect("a test makes one")
}

/// What a service is called that is made up to be tried.
pub(crate) const PROMISING: &str = "promising";

/// The widest bounds that hold for a service at any time.
pub fn widest_bounds(declared: &Declared) -> Bounds {
    let own = declared.autoscaler.as_ref().map(|spec| Bounds { min: spec.min, max: spec.max });
    let own = own.unwrap_or_else(|| declared.spec.scale.bounds());
    declared.spec.scale.schedule.iter().fold(own, |bounds, schedule| Bounds {
        min: bounds.min.min(schedule.min.unwrap_or(bounds.min)).min(schedule.max.unwrap_or(bounds.min)),
        max: bounds.max.max(schedule.max.unwrap_or(bounds.max)).max(schedule.min.unwrap_or(bounds.max)),
    })
}

/// What a replica carries when its autoscaler aims at so many requests a second for each, and `target` is the share that is to be used.
pub fn capacity_told(declared: &Declared, target: Share) -> Option<Capacity> {
    // What a promise aims at is learned, and not declared.
    let aiming = declared.autoscaler.iter().filter(|spec| spec.policy.slo().is_none());
    aiming
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

/// What a try of `declared` cannot show or has to assume, each as a sentence.
pub fn notes_on(declared: &Arc<Declared>) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(spec) = &declared.autoscaler else {
        notes.push(format!(
            "{} has no autoscaler: it is tried with its fixed number of replicas and its schedules",
            declared.name
        ));
        return notes;
    };
    for metric in &spec.metrics {
        match metric {
            MetricSpec::Resource { resource: MeteredResource::Memory, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Memory, .. } => notes.push(
                "memory is not in the model: that metric says nothing here, which may scale out and never in"
                    .to_owned(),
            ),
            MetricSpec::Resource { resource: MeteredResource::Cpu, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Cpu, .. } => {
                if declared.spec.resources.cpu.is_none() {
                    notes.push(format!(
                        "{} requests no cpu, so its metric cpu says nothing; declare it under resources",
                        declared.name
                    ));
                }
            }
            MetricSpec::Pods { metric, .. } if metric.name == REQUEST_RATE_METRIC => {}
            MetricSpec::Pods { metric, .. } => {
                notes.push(format!(
                    "the metric {} is taken to be the requests a second that a replica serves",
                    metric.name
                ));
            }
            MetricSpec::Object { metric, .. } | MetricSpec::External { metric, .. } => {
                notes.push(format!("the metric {} is taken to be the load of the trace", metric.name));
            }
        }
    }
    if declared.spec.scale.to_zero.is_some() {
        notes.push(format!(
            "{} may rest, which is not in the model: it is tried as one that does not",
            declared.name
        ));
    }
    notes
}
