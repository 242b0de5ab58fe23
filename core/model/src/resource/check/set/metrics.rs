//! Checks between metrics and their sources.

use std::collections::BTreeMap;

use super::{ResourceProblem, Set, Severity, error, warning};
use crate::measure::MetricKey;
use crate::resource::{
    AutoscalerSpec, METRIC_SOURCES_MAX, MeteredResource, MetricOrigin, ReplicasOrigin, Resource, Service,
    ServiceSpec,
};

pub(super) fn problems(set: &Set<'_>, resources: &[Resource], dangling: Severity) -> Vec<ResourceProblem> {
    let mut found = too_many(set);
    let sources = sources(set, &mut found);
    for (i, source) in &set.metric_sources {
        if let MetricOrigin::Replicas(origin) = &source.spec.from {
            found.extend(replicas(set, origin, *i, dangling));
        }
    }
    for (i, resource) in resources.iter().enumerate() {
        let (spec, path) = match resource {
            Resource::Service(service) => (service.autoscaler().ok().flatten(), "spec.scale.metrics"),
            Resource::HorizontalPodAutoscaler(hpa) => (hpa.autoscaler().ok(), "spec.metrics"),
            Resource::Route(_) | Resource::MetricSource(_) => (None, ""),
        };
        found.extend(spec.iter().flat_map(|spec| unmeasured(spec, &sources, i, path)));
        found.extend(spec.iter().flat_map(|spec| unrequested(spec, set, i, path)));
        if let Resource::Service(service) = resource {
            found.extend(unmeasured_removal(service, &sources, i));
        }
    }
    found
}

fn too_many(set: &Set<'_>) -> Vec<ResourceProblem> {
    let beyond = set.metric_sources.get(METRIC_SOURCES_MAX);
    let text = || {
        let count = set.metric_sources.len();
        format!(
            "there may be at most {METRIC_SOURCES_MAX} MetricSources, not {count}; delete those that no autoscaler uses"
        )
    };
    beyond.map(|(i, _)| error(*i, "metadata.name", text())).into_iter().collect()
}

/// The sources by the metric that they measure. Two sources of one metric would contradict each other.
fn sources<'s>(set: &Set<'s>, found: &mut Vec<ResourceProblem>) -> BTreeMap<MetricKey, &'s str> {
    let mut sources = BTreeMap::new();
    for (i, source) in &set.metric_sources {
        let key = source.spec.key();
        if let Some(other) = sources.get(&key) {
            let text = format!("metricsource/{other} measures {key} already: remove one of them");
            found.push(error(*i, "spec.metric", text));
        } else {
            sources.insert(key, source.name().as_str());
        }
    }
    sources
}

fn replicas(set: &Set<'_>, origin: &ReplicasOrigin, i: usize, dangling: Severity) -> Option<ResourceProblem> {
    let name = origin.service.as_str();
    let Some((_, service)) = set.services.get(name) else {
        return Some(set.no_such_service(i, "spec.from.replicas.service", dangling, name));
    };
    let why = no_port(&service.spec, origin)?;
    Some(error(i, "spec.from.replicas.port", format!("service {name} {why}")))
}

fn no_port(spec: &ServiceSpec, origin: &ReplicasOrigin) -> Option<String> {
    match &origin.port {
        None if spec.ports.is_empty() => Some("has no port to ask: add one under its spec.ports".to_owned()),
        Some(port) if spec.ports.iter().all(|it| it.name != *port) => Some(format!("has no port {port}")),
        None | Some(_) => None,
    }
}

/// Warns of metrics without a source, which may be declared later.
fn unmeasured<'a>(
    spec: &'a AutoscalerSpec,
    sources: &'a BTreeMap<MetricKey, &str>,
    resource: usize,
    path: &'a str,
) -> impl Iterator<Item = ResourceProblem> + use<'a> {
    spec.metrics.iter().enumerate().filter_map(move |(nth, metric)| {
        let key = MetricKey::of(metric, &spec.service)?;
        no_source(&key, sources, resource, || format!("{path}[{nth}]"))
    })
}

/// Warns of utilization targets for a resource that the service does not request. Allowed, as in Kubernetes, but such a metric never gives
/// a number.
fn unrequested<'a>(
    spec: &'a AutoscalerSpec,
    set: &'a Set<'_>,
    resource: usize,
    path: &'a str,
) -> impl Iterator<Item = ResourceProblem> + use<'a> {
    let service = set.services.get(spec.service.as_str()).map(|(_, service)| *service);
    let metrics = service.into_iter().flat_map(|service| {
        let requests = &service.spec.resources;
        spec.metrics.iter().enumerate().filter(move |(_, metric)| match metric.shared() {
            Some(MeteredResource::Cpu) => requests.cpu.is_none(),
            Some(MeteredResource::Memory) => requests.memory.is_none(),
            None => false,
        })
    });
    metrics.map(move |(nth, metric)| {
        let (name, service) = (metric.name(), &spec.service);
        let text = format!(
            "the target of {name} is a utilization, and service {service} requests no {name} that it could be a share of: declare \
             spec.resources.{name}"
        );
        warning(resource, format!("{path}[{nth}]"), text)
    })
}

/// Warns of metrics without a source by which replicas are removed or must stay.
fn unmeasured_removal(
    service: &Service,
    sources: &BTreeMap<MetricKey, &str>,
    resource: usize,
) -> impl Iterator<Item = ResourceProblem> {
    let (scale, name) = (&service.spec.scale, service.name());
    let keys = [
        (scale.remove.key(name), "spec.scale.remove.cheapest"),
        (scale.protect_key(name), "spec.scale.protect"),
    ];
    let missing =
        move |(key, path): (Option<MetricKey>, &str)| no_source(&key?, sources, resource, || path.to_owned());
    keys.into_iter().filter_map(missing)
}

fn no_source(
    key: &MetricKey,
    sources: &BTreeMap<MetricKey, &str>,
    resource: usize,
    path: impl FnOnce() -> String,
) -> Option<ResourceProblem> {
    let is_missing = !sources.contains_key(key);
    is_missing.then(|| {
        warning(resource, path(), format!("nothing measures {key} yet: declare a MetricSource for it"))
    })
}
