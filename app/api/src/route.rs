//! Routes and their state in the proxy, in the form of `/v1`.

use std::collections::BTreeMap;

use agent::{Agent, RouteDetail};
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::resource::route::{BackendRef, RouteFilter, RouteRule};
use model::resource::{Kind, Resource, Route};
use orchestrator::Handle;

use crate::certificates;
use crate::endpoints::{self, STATUS_CLASSES};
use crate::failure::Failure;
use crate::resources::object;
use crate::state::State;
use crate::v1;
use crate::view;

/// All declared routes, or only the route `name`.
pub(crate) fn routes(handle: &Handle, agent: &Agent, name: Option<&str>) -> Result<Vec<v1::Route>, Failure> {
    let found = declared(handle, agent, name)?;
    Ok(found.into_iter().map(|(_, shown)| shown).collect())
}

/// Everything about one route.
pub(crate) async fn describe(state: &State, name: String) -> Result<v1::RouteDescription, Failure> {
    let agent = state.agent.clone();
    state
        .query(move |handle| {
            let not_found = || Failure::not_found("route", &name);
            let (route, shown) = declared(handle, &agent, Some(&name))?.pop().ok_or_else(not_found)?;
            let names: Vec<ServiceName> = route.spec.services().cloned().collect();
            let ready: BTreeMap<ServiceName, u32> = view::services(handle, Some(names))?
                .into_iter()
                .map(|view| (view.name, view.status.ready_replicas))
                .collect();
            let rules = route.spec.rules.iter().enumerate();
            let backends = rules.flat_map(|(index, rule)| backends(index, rule, &ready)).collect();
            Ok(v1::RouteDescription { route: shown, backends })
        })
        .await
}

fn declared(handle: &Handle, agent: &Agent, name: Option<&str>) -> Result<Vec<(Route, v1::Route)>, Failure> {
    let resources = handle.resources();
    let details: BTreeMap<ServiceName, RouteDetail> =
        agent.routes().into_iter().map(|detail| (detail.route.clone(), detail)).collect();
    let is_service = |name: &ServiceName| {
        resources.iter().any(|it| it.resource.kind() == Kind::Service && it.resource.name() == name.as_str())
    };
    let mut found = Vec::new();
    for stored in &resources {
        let Resource::Route(route) = &stored.resource else { continue };
        if name.is_none_or(|name| name == route.name().as_str()) {
            let missing: Vec<&ServiceName> = route.spec.services().filter(|name| !is_service(name)).collect();
            let mut status = status(details.get(route.name()), &missing);
            let tls = details.get(route.name()).and_then(|detail| detail.tls.as_ref());
            status.conditions.extend(certificates::condition(tls, handle.now().wall));
            status.requests_per_second =
                agent.route_requests_per_second(route.name()).map(MilliRps::per_second);
            found.push((route.clone(), object(&stored.versioned(), status)));
        }
    }
    match name {
        Some(name) if found.is_empty() => Err(Failure::not_found("route", name)),
        Some(_) | None => Ok(found),
    }
}

fn status(detail: Option<&RouteDetail>, missing: &[&ServiceName]) -> v1::RouteStatus {
    let condition = v1::Condition::new;
    let programmed = match detail.map(|detail| &detail.listening) {
        None => condition(
            "Programmed",
            "Unknown",
            "Pending",
            "the proxy has not applied the route yet".to_owned(),
        ),
        Some(Ok(address)) => {
            condition("Programmed", "True", "Programmed", format!("the proxy listens on {address}"))
        }
        Some(Err(why)) => condition("Programmed", "False", "AddressNotUsable", why.to_string()),
    };
    let resolved = if missing.is_empty() {
        condition("ResolvedRefs", "True", "ResolvedRefs", "every service that it names exists".to_owned())
    } else {
        let mut names: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
        names.dedup();
        let message = format!("there is no service {}; its requests are answered 500", names.join(", "));
        condition("ResolvedRefs", "False", "BackendNotFound", message)
    };
    let traffic = detail.map(|detail| &detail.traffic);
    let classes = STATUS_CLASSES.iter().zip(traffic.map(|traffic| traffic.status).unwrap_or_default());
    v1::RouteStatus {
        address: detail.and_then(|detail| Some(detail.listening.as_ref().ok()?.to_string())),
        requests_per_second: None,
        requests: traffic.map_or(0, |traffic| traffic.requests),
        over_rate: traffic.map_or(0, |traffic| traffic.over_rate),
        copies: traffic.map_or(0, |traffic| traffic.copies),
        copies_left_out: traffic.map_or(0, |traffic| traffic.copies_left_out),
        responses: classes.map(|(class, count)| ((*class).to_owned(), count)).collect(),
        latency: traffic.and_then(|traffic| endpoints::latency(&traffic.latency)),
        conditions: vec![programmed, resolved],
    }
}

fn backends(index: usize, rule: &RouteRule, ready: &BTreeMap<ServiceName, u32>) -> Vec<v1::RouteBackend> {
    let sum: f64 = rule.backend_refs.iter().map(|backend| f64::from(backend.weight)).sum();
    let entry = |backend: &BackendRef, share: Option<f64>| v1::RouteBackend {
        rule: index,
        service: backend.name.to_string(),
        port: backend.port.as_ref().map(ToString::to_string),
        share,
        ready_replicas: ready.get(&backend.name).copied(),
    };
    let share = |weight: u32| if sum > 0.0 { f64::from(weight) / sum } else { 0.0 };
    let targets = rule.backend_refs.iter().map(|backend| entry(backend, Some(share(backend.weight))));
    let mirrors = rule.filters.iter().filter_map(RouteFilter::mirror);
    targets.chain(mirrors.map(|mirror| entry(&mirror.backend_ref, None))).collect()
}
