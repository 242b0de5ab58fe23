//! Services, autoscalers, replicas and nodes, in the form of `/v1`.

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

/// The API version of objects that are not declared.
const API_VERSION: &str = "homeostat/v1";

/// All services that are declared or still have replicas, or only the service `name`.
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
    let views = view::services_with_notes(handle, names, agent.probe_notes())?;
    if let (Some(name), true) = (name, declared.is_empty() && views.is_empty()) {
        return Err(Failure::not_found("service", name));
    }
    // A service that was just applied may not have reached the loop yet; a deleted one is listed until its last replica is gone.
    let traffic = agent.traffic();
    let shown = views.into_iter().map(|view| {
        let counters = endpoints::counters(&traffic, &view.name);
        let versions = endpoints::versions(&traffic, &view.name);
        let (endpoints, zone) = endpoints::external(&traffic, &view.name, handle.now().wall);
        let certificate = certificates::condition(agent.tls(view.name.as_str()).as_ref(), handle.now().wall);
        let balancers = agent.balancers(&view.name);
        let errors = agent.errors_per_second(&view.name).map(MilliRps::per_second);
        let resource = declared.get(view.name.as_str()).map(StoredResource::versioned);
        let mut service = service(resource, view);
        service.status.traffic.errors_per_second = errors;
        service.status.proxy = counters;
        service.status.versions = versions;
        (service.status.endpoints, service.status.zone) = (endpoints, zone);
        service.status.conditions.extend(certificate);
        service.status.conditions.extend(balancers::condition(&balancers));
        service.status.external = balancers::external(&balancers);
        service
    });
    Ok(shown.collect())
}

/// A service with its declaration, or with the last known one if it is deleted.
fn service(declared: Option<Resource>, view: ServiceView) -> v1::Service {
    let resource = declared.or_else(|| {
        let spec = view.last_declared.as_ref()?.spec.clone();
        Some(Resource::Service(Service { metadata: Metadata::named(view.name.clone()), spec }))
    });
    match resource {
        Some(resource) => object(&resource, view.status),
        None => v1::Object {
            api_version: API_VERSION.into(),
            kind: Kind::Service.as_str().into(),
            metadata: name_only(view.name.as_str()),
            spec: Map::new(),
            status: view.status,
        },
    }
}

/// Fails for a service that is neither declared nor running.
pub(crate) fn require_service(handle: &Handle, service: &ServiceName) -> Result<(), Failure> {
    let is_it = |resource: &Resource| matches!(resource, Resource::Service(it) if it.name() == service);
    if handle.resources().iter().any(|stored| is_it(&stored.resource)) {
        return Ok(());
    }
    let name = service.clone();
    let is_known = handle.query(move |control, _| control.knowledge().service(&name).is_some())?;
    if is_known { Ok(()) } else { Err(Failure::not_found("service", service.as_str())) }
}

/// An object that is not declared: only a name and a status.
pub(crate) fn undeclared<S>(kind: &str, name: &str, status: S) -> v1::Object<S> {
    v1::Object {
        api_version: API_VERSION.into(),
        kind: kind.into(),
        metadata: name_only(name),
        spec: Map::new(),
        status,
    }
}

fn name_only(name: &str) -> Map<String, Value> {
    Map::from_iter([("name".to_owned(), Value::from(name))])
}

/// All declared autoscalers, or only the autoscaler `name`.
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
            found.push(object(&stored.versioned(), autoscaler_status(autoscaler, view.as_ref())));
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

/// The evaluation of each metric of an autoscaler, with its `MetricStatus` if the autoscaler declares the metric.
fn current_metrics(autoscaler: &HorizontalPodAutoscaler, decision: &Decision) -> Vec<v1::AutoscalerMetric> {
    let declared = autoscaler.autoscaler().map(|it| it.metrics).unwrap_or_default();
    let with_status = |(index, metric): (usize, v1::Metric)| {
        let spec = declared.get(index).filter(|spec| spec.name() == metric.name);
        let status = spec.map(|spec| metric_status::of(spec, metric.ratio)).unwrap_or_default();
        v1::AutoscalerMetric { metric, status }
    };
    decision::metrics(decision).into_iter().enumerate().map(with_status).collect()
}

/// The replicas of all services, those of one, or a single one.
pub(crate) fn replicas(
    handle: &Handle,
    agent: &Agent,
    selector: &ReplicaSelector,
) -> Result<Vec<v1::Replica>, Failure> {
    let (names, only) = match selector {
        ReplicaSelector::All => (None, None),
        ReplicaSelector::OfService(service) => (Some(vec![service.clone()]), None),
        ReplicaSelector::One(replica) => (Some(vec![replica.service.clone()]), Some(replica)),
    };
    let views = view::services(handle, names)?;
    let places = views.into_iter().flat_map(|view| view.places);
    let places: Vec<PlaceView> =
        places.filter(|place| only.is_none_or(|only| *only == place.replica)).collect();
    if let (Some(only), true) = (only, places.is_empty()) {
        return Err(Failure::not_found("replica", &only.to_string()));
    }
    Ok(with_details(handle, places, agent))
}

/// Selects replicas.
#[derive(Clone, Debug)]
pub(crate) enum ReplicaSelector {
    All,
    OfService(ServiceName),
    One(ReplicaId),
}

/// The replicas of `places`, with the details that only the agent knows, and with the cause of failed starts.
pub(crate) fn with_details(handle: &Handle, mut places: Vec<PlaceView>, agent: &Agent) -> Vec<v1::Replica> {
    let mut failures = failed_starts(handle, &places);
    for place in &mut places {
        if let Some(why) = failures.remove(&place.replica) {
            place.status.message = Some(match place.status.message.take() {
                Some(wait) => view::with_end(wait, Some(why)),
                None => why,
            });
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

/// Why the replicas of `places` that wait for another start could not be started. The loop does not know after a restart of its own why a
/// start failed, so it is taken from the latest event.
fn failed_starts(handle: &Handle, places: &[PlaceView]) -> BTreeMap<ReplicaId, String> {
    let waiting: BTreeSet<&ReplicaId> = places
        .iter()
        .filter(|place| !place.has_exited && place.status.phase == "Backoff")
        .map(|place| &place.replica)
        .collect();
    if waiting.is_empty() {
        return BTreeMap::new();
    }
    // Events are ordered by time, so that the latest one of a replica is kept.
    let failed = handle.events().recent_events(None, usize::MAX).into_iter().filter_map(|event| {
        let replica = ReplicaId { service: event.service.clone(), ordinal: event.replica? };
        (event.kind == EventKind::ActionFailed.name() && waiting.contains(&replica))
            .then(|| (replica, event.message.clone()))
    });
    failed.collect()
}

fn replica(place: PlaceView, details: &BTreeMap<ReplicaId, ReplicaDetail>) -> v1::Replica {
    let mut status = place.status;
    let is_current_life =
        |detail: &&ReplicaDetail| place.is_occupied && detail.incarnation.0 == status.incarnation;
    if let Some(detail) = details.get(&place.replica).filter(is_current_life) {
        status.pid = detail.pid;
        status.ports = detail.ports.iter().map(|(name, port)| (name.as_str().to_owned(), *port)).collect();
        status.started_at = Some(rfc3339(detail.started_at));
        status.adopted = detail.adopted;
        status.message = status.message.or_else(|| detail.probe_note.as_ref().map(ToString::to_string));
    }
    v1::Object {
        api_version: API_VERSION.into(),
        kind: "Replica".into(),
        metadata: name_only(&place.replica.to_string()),
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
    let shortcoming = |support: Support| match support {
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
        metadata: name_only(node.as_str()),
        spec: Map::new(),
        status: v1::NodeStatus {
            ready: seen && handle.is_ready(),
            replicas: u32::try_from(running).unwrap_or(u32::MAX),
            capabilities: capabilities.map(|(name, support)| (name.to_owned(), shortcoming(support))).into(),
        },
    }])
}

/// A declared resource with its status.
pub(crate) fn object<S: Serialize>(resource: &Resource, status: S) -> v1::Object<S> {
    let declaration =
        serde_json::to_value(resource).expect("a resource has only string keys, so it is valid JSON");
    let part = |name: &str| match declaration.get(name) {
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
