//! Reading: services, autoscalers, replicas, nodes, one or all.

use std::collections::{BTreeMap, BTreeSet};

use agent::{Agent, ReplicaDetail};
use model::decision::Decision;
use model::event::EventKind;
use model::identity::ReplicaId;
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::resource::{HorizontalPodAutoscaler, Kind, Metadata, Resource, Service};
use orchestrator::{Handle, StoredResource};
use platform::Support;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::balancers;
use crate::certificates;
use crate::decision;
use crate::endpoints;
use crate::failure::Failure;
use crate::metric_status;
use crate::timestamps::rfc3339;
use crate::v1;
use crate::view::{self, PlaceView, ServiceView};

/// The version in which resources are shown that nobody declares.
const API_VERSION: &str = "homeostat/v1";

/// The services that are declared or not gone yet, or the one of them that is called `name`.
pub(crate) fn services(
    handle: &Handle,
    agent: &Agent,
    name: Option<&str>,
) -> Result<Vec<v1::Service>, Failure> {
    let declared: BTreeMap<String, StoredResource> = handle
        .resources()
        .into_iter()
        .filter(|stored| matches!(stored.resource, Resource::Service(_)))
        .map(|stored| (stored.resource.name().to_owned(), stored))
        .filter(|(found, _)| name.is_none_or(|name| name == found))
        .collect();
    let names = name.map(|name| ServiceName::parse(name).into_iter().collect());
    let views = view::services(handle, names)?;
    if let (Some(name), true) = (name, declared.is_empty() && views.is_empty()) {
        return Err(Failure::not_found("service", name));
    }
    // One that was applied in this moment may not have reached the loop yet; one that was deleted is there until its last replica
    // is gone.
    let traffic = agent.traffic();
    let shown = views.into_iter().map(|view| {
        let proxied = endpoints::service(&traffic, &view.name);
        let versions = endpoints::versions(&traffic, &view.name);
        let (endpoints, zone) = endpoints::elsewhere(&traffic, &view.name, handle.now().wall);
        let certificate = certificates::condition(agent.tls(view.name.as_str()).as_ref(), handle.now().wall);
        let kept = agent.balancers(&view.name);
        let errors = agent.errors_per_second(&view.name).map(MilliRps::per_second);
        let resource = declared.get(view.name.as_str()).map(|stored| stored.resource.clone());
        let mut service = service(resource, view);
        service.status.traffic.errors_per_second = errors;
        service.status.proxy = proxied;
        service.status.versions = versions;
        (service.status.endpoints, service.status.zone) = (endpoints, zone);
        service.status.conditions.extend(certificate);
        service.status.conditions.extend(balancers::condition(&kept));
        service.status.external = balancers::external(&kept);
        service
    });
    Ok(shown.collect())
}

/// A service as it was written, or as much of it as is known of one that is deleted.
fn service(written: Option<Resource>, view: ServiceView) -> v1::Service {
    let resource = written.or_else(|| {
        let spec = view.last_declared.as_ref()?.spec.clone();
        Some(Resource::Service(Service { metadata: Metadata::named(view.name.clone()), spec }))
    });
    match resource {
        Some(resource) => object(&resource, view.status),
        None => v1::Object {
            api_version: API_VERSION.into(),
            kind: Kind::Service.as_str().into(),
            metadata: name_alone(view.name.as_str()),
            spec: Map::new(),
            status: view.status,
        },
    }
}

/// A resource that nobody declares.
pub(crate) fn by_name<S>(kind: &str, name: &str, status: S) -> v1::Object<S> {
    v1::Object {
        api_version: API_VERSION.into(),
        kind: kind.into(),
        metadata: name_alone(name),
        spec: Map::new(),
        status,
    }
}

fn name_alone(name: &str) -> Map<String, Value> {
    Map::from_iter([("name".to_owned(), Value::from(name))])
}

/// The autoscalers that are declared, or the one of them that is called `name`.
pub(crate) fn autoscalers(handle: &Handle, name: Option<&str>) -> Result<Vec<v1::Autoscaler>, Failure> {
    let mut found = Vec::new();
    for stored in handle.resources() {
        if let Resource::HorizontalPodAutoscaler(autoscaler) = &stored.resource
            && name.is_none_or(|name| name == stored.resource.name())
        {
            let target = target_of(autoscaler);
            let view = match target {
                Some(target) => view::services(handle, Some(vec![target]))?.pop(),
                None => None,
            };
            found.push(object(&stored.resource, autoscaler_status(autoscaler, view.as_ref())));
        }
    }
    match name {
        Some(name) if found.is_empty() => Err(Failure::not_found("hpa", name)),
        Some(_) | None => Ok(found),
    }
}

/// The service that an autoscaler targets.
pub(crate) fn target_of(autoscaler: &HorizontalPodAutoscaler) -> Option<ServiceName> {
    ServiceName::parse(&autoscaler.target().name).ok()
}

fn autoscaler_status(
    autoscaler: &HorizontalPodAutoscaler,
    view: Option<&ServiceView>,
) -> v1::AutoscalerStatus {
    let decision = view.and_then(|view| view.decision.as_ref()).map(|explanation| explanation.decision());
    let of_view = |number: fn(&v1::ServiceStatus) -> u32| view.map_or(0, |view| number(&view.status));
    v1::AutoscalerStatus {
        current_replicas: of_view(|status| status.replicas),
        desired_replicas: of_view(|status| status.desired_replicas),
        conditions: decision.as_ref().map(|it| view::scaling_conditions(&it.conditions)).unwrap_or_default(),
        current_metrics: decision.as_ref().map(|it| current_metrics(autoscaler, it)).unwrap_or_default(),
    }
}

/// What each metric of an autoscaler said; in Kubernetes' words where it is one that the autoscaler declares.
fn current_metrics(autoscaler: &HorizontalPodAutoscaler, decision: &Decision) -> Vec<v1::AutoscalerMetric> {
    let declared = autoscaler.autoscaler().map(|it| it.metrics).unwrap_or_default();
    let metric = |(place, said): (usize, v1::Metric)| {
        let spec = declared.get(place).filter(|spec| spec.name() == said.name);
        let status = spec.map(|spec| metric_status::of(spec, said.ratio)).unwrap_or_default();
        v1::AutoscalerMetric { said, status }
    };
    decision::metrics(decision).into_iter().enumerate().map(metric).collect()
}

/// The replicas of all services, those of one, or a single one.
pub(crate) fn replicas(
    handle: &Handle,
    agent: &Agent,
    selector: &ReplicaSelector,
) -> Result<Vec<v1::Replica>, Failure> {
    let (names, one) = match selector {
        ReplicaSelector::All => (None, None),
        ReplicaSelector::OfService(service) => (Some(vec![service.clone()]), None),
        ReplicaSelector::One(replica) => (Some(vec![replica.service.clone()]), Some(replica)),
    };
    let views = view::services(handle, names)?;
    let places = views.into_iter().flat_map(|view| view.places);
    let places: Vec<PlaceView> = places.filter(|place| one.is_none_or(|one| *one == place.replica)).collect();
    if let (Some(one), true) = (one, places.is_empty()) {
        return Err(Failure::not_found("replica", &one.to_string()));
    }
    Ok(with_details(handle, places, agent))
}

/// Which replicas are meant.
#[derive(Clone, Debug)]
pub(crate) enum ReplicaSelector {
    All,
    OfService(ServiceName),
    One(ReplicaId),
}

/// What a replica waits for, and why it could not be started, which the wait may say itself.
fn with_cause(wait: Option<String>, why: &str) -> String {
    match wait {
        Some(wait) if wait.contains(why) => wait,
        Some(wait) => format!("{wait}; {why}"),
        None => why.to_owned(),
    }
}

/// Adds what only the agent knows, and of a replica that could not be started why.
pub(crate) fn with_details(handle: &Handle, mut places: Vec<PlaceView>, agent: &Agent) -> Vec<v1::Replica> {
    let failures = failed_starts(handle, &places);
    for place in &mut places {
        if let Some(why) = failures.get(&place.replica) {
            place.status.message = Some(with_cause(place.status.message.take(), why));
        }
    }
    let wanted: BTreeSet<&ReplicaId> = places.iter().map(|place| &place.replica).collect();
    let details: BTreeMap<ReplicaId, ReplicaDetail> = agent
        .details()
        .into_iter()
        .filter(|detail| wanted.contains(&detail.replica))
        .map(|detail| (detail.replica.clone(), detail))
        .collect();
    let (traffic, now) = (agent.traffic(), handle.now().wall);
    let shown = places.into_iter().map(|place| {
        let (name, is_occupied) = (place.replica.clone(), place.is_occupied);
        let mut shown = replica(place, &details);
        if is_occupied {
            shown.status.endpoint = endpoints::endpoint(&traffic, &name, &shown.status, now);
        }
        shown
    });
    shown.collect()
}

/// Why the replicas of `places` that wait for another try could not be started. The loop knows how the last one ended, and of one
/// that never began only what it told.
fn failed_starts(handle: &Handle, places: &[PlaceView]) -> BTreeMap<ReplicaId, String> {
    let waiting: BTreeSet<&ReplicaId> = places
        .iter()
        .filter(|place| !place.has_exited && place.status.phase == "Backoff")
        .map(|place| &place.replica)
        .collect();
    if waiting.is_empty() {
        return BTreeMap::new();
    }
    // Later ones take the place of earlier ones.
    let failed = handle.events().recent_events(None, usize::MAX).into_iter().filter_map(|event| {
        let replica = ReplicaId { service: event.service.clone(), ordinal: event.replica? };
        (event.kind == EventKind::ActionFailed.name() && waiting.contains(&replica))
            .then(|| (replica, event.message.clone()))
    });
    failed.collect()
}

fn replica(place: PlaceView, details: &BTreeMap<ReplicaId, ReplicaDetail>) -> v1::Replica {
    let mut status = place.status;
    let is_of_this_life =
        |detail: &&ReplicaDetail| place.is_occupied && detail.incarnation.0 == status.incarnation;
    if let Some(detail) = details.get(&place.replica).filter(is_of_this_life) {
        status.pid = detail.pid;
        status.ports = detail.ports.iter().map(|(name, port)| (name.as_str().to_owned(), *port)).collect();
        status.started_at = Some(rfc3339(detail.started_at));
        status.adopted = detail.adopted;
        status.message = status.message.or_else(|| detail.probe_note.as_ref().map(ToString::to_string));
    }
    v1::Object {
        api_version: API_VERSION.into(),
        kind: "Replica".into(),
        metadata: name_alone(&place.replica.to_string()),
        spec: Map::new(),
        status,
    }
}

/// The nodes; there is one.
pub(crate) fn nodes(handle: &Handle, agent: &Agent, name: Option<&str>) -> Result<Vec<v1::Node>, Failure> {
    let (node, seen) = handle.query(|control, _| {
        let knowledge = control.knowledge();
        (knowledge.node.clone(), knowledge.inventory_seen)
    })?;
    let node = node.filter(|node| name.is_none_or(|name| name == node.as_str()));
    let Some(node) = node else {
        return name.map_or(Ok(Vec::new()), |name| Err(Failure::not_found("node", name)));
    };
    let running: usize = view::services(handle, None)?
        .iter()
        .map(|view| view.places.iter().filter(|it| it.is_occupied).count())
        .sum();
    let capabilities = agent.capabilities();
    let missing = |support: Support| match support {
        Support::Full => None,
        Support::Degraded(why) => Some(why.to_string()),
    };
    let capabilities = [
        ("cpu", capabilities.cpu),
        ("memory", capabilities.memory),
        ("containment", capabilities.containment),
        ("users", capabilities.users),
    ];
    Ok(vec![v1::Object {
        api_version: API_VERSION.into(),
        kind: "Node".into(),
        metadata: name_alone(node.as_str()),
        spec: Map::new(),
        status: v1::NodeStatus {
            ready: seen && handle.is_ready(),
            replicas: u32::try_from(running).unwrap_or(u32::MAX),
            capabilities: capabilities.map(|(name, support)| (name.to_owned(), missing(support))).into(),
        },
    }])
}

/// A resource as it was written, with how it is.
pub(crate) fn object<S: Serialize>(resource: &Resource, status: S) -> v1::Object<S> {
    let written =
        serde_json::to_value(resource).expect("the keys of every resource are texts, so that it is JSON");
    let part = |name: &str| match written.get(name) {
        Some(Value::Object(part)) => part.clone(),
        Some(_) | None => Map::new(),
    };
    v1::Object {
        api_version: resource.api_version().into(),
        kind: resource.kind().as_str().into(),
        metadata: part("metadata"),
        spec: part("spec"),
        status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_start_failed_is_said_once() {
        let why = "port 6379 is in use";
        assert_eq!(with_cause(None, why), why);
        assert_eq!(
            with_cause(Some(format!("{why}; the next try is at 10:00")), why),
            format!("{why}; the next try is at 10:00")
        );
        assert_eq!(with_cause(Some("waits until 10:00".into()), why), format!("waits until 10:00; {why}"));
    }
}
