//! Applies routes to the proxy: shared listeners, and the services behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use model::input::Declared;
use model::name::ServiceName;
use orchestrator::Routing;
use proxy::{AttachedRoute, Gateway, RouteError, RouteTraffic, Table};

use crate::certificates::{self, CertificateStatus};
use crate::known::{KnownNode, KnownRoutes, KnownService};
use crate::routing;
use crate::shared::Shared;

/// The state of a route, for the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDetail {
    /// Its name.
    pub route: ServiceName,
    /// The address on which the proxy listens for it, or why it does not listen.
    pub listening: Result<SocketAddr, Arc<str>>,
    /// The status of its listener's certificates; `None` without TLS.
    pub tls: Option<CertificateStatus>,
    /// Its counters.
    pub traffic: RouteTraffic,
}

/// Replaces the routes of the proxy.
pub(crate) fn set_routes(shared: &Shared, routing: Arc<Routing>) {
    let node = &mut *shared.known();
    if node.routes.routing == routing {
        return;
    }
    let gateways = gateways(&routing);
    node.routes.listeners.retain(|listen, _| {
        let stays = gateways.contains_key(listen);
        if !stays {
            shared.table.remove_gateway(*listen);
            certificates::set(shared, &listen.to_string(), &[]);
        }
        stays
    });
    for (name, spec) in &routing.services {
        let service = node.service(name);
        service.routed = Some(Arc::clone(spec));
        routing::update_route(shared, name, service);
    }
    for gateway in gateways.values() {
        listen(shared, &mut node.routes, gateway);
    }
    node.routes.routing = routing;
    let names: Vec<ServiceName> = node.services.keys().cloned().collect();
    for name in names {
        remove_if_unused(&shared.table, node, &name);
        node.forget_if_unused(&name);
    }
}

/// Tries again to listen where that has failed.
pub(crate) fn retry(shared: &Shared, node: &mut KnownNode) {
    let routes = &mut node.routes;
    if routes.listeners.values().all(Result::is_ok) {
        return;
    }
    for gateway in gateways(&routes.routing).values() {
        if routes.listeners.get(&gateway.listen).is_some_and(Result::is_err) {
            listen(shared, routes, gateway);
        }
    }
}

/// Removes a service from the proxy when no route refers to it any more and its last replica is gone.
pub(crate) fn remove_if_unused(table: &Table, node: &mut KnownNode, name: &ServiceName) {
    if node.routes.routing.services.contains_key(name) {
        return;
    }
    let Some(service) = node.services.get_mut(name) else { return };
    if service.routed.is_some() && service.replicas.is_empty() {
        service.routed = None;
        remove_if_hidden(table, name, service);
    }
}

/// Removes a service that is no longer exposed from the proxy. While it has replicas, it stays there without a listener, so that their
/// requests in flight are still counted: the loop stops a replica as soon as it is drained, and not before.
pub(crate) fn conceal(
    table: &Table,
    name: &ServiceName,
    service: &mut KnownService,
    before: Option<&Declared>,
) {
    if service.routed.is_none() && !service.replicas.is_empty() {
        service.routed = before.map(|declared| Arc::new(declared.spec.clone()));
    }
    remove_if_hidden(table, name, service);
}

/// Removes a service from the proxy unless it is exposed or behind a route.
fn remove_if_hidden(table: &Table, name: &ServiceName, service: &KnownService) {
    if service.exposed.is_none() && service.routed.is_none() {
        table.remove_service(name.as_str());
    }
}

/// The state of each route.
pub(crate) fn details(shared: &Shared) -> Vec<RouteDetail> {
    let mut traffic: BTreeMap<Arc<str>, RouteTraffic> =
        shared.table.route_traffic().into_iter().map(|it| (Arc::clone(&it.route), it)).collect();
    let node = shared.known();
    let routes = node.routes.routing.routes.iter();
    let detail = routes.filter_map(|route| {
        Some(RouteDetail {
            route: route.name.clone(),
            tls: certificates::status(
                &shared.certificates,
                shared.table.gateway_tls(route.spec.listen.0),
                &route.spec.tls,
            ),
            listening: node.routes.listeners.get(&route.spec.listen.0)?.clone(),
            traffic: traffic.remove(route.name.as_str()).unwrap_or_default(),
        })
    });
    detail.collect()
}

fn gateways(routing: &Routing) -> BTreeMap<SocketAddr, Gateway> {
    let mut gateways: BTreeMap<SocketAddr, Gateway> = BTreeMap::new();
    for route in &routing.routes {
        let listen = route.spec.listen.0;
        let gateway =
            gateways.entry(listen).or_insert_with(|| Gateway { listen, tls: None, routes: Vec::new() });
        gateway.routes.push(AttachedRoute {
            name: Arc::from(route.name.as_str()),
            created: route.created,
            spec: Arc::clone(&route.spec),
        });
    }
    gateways
}

fn listen(shared: &Shared, routes: &mut KnownRoutes, gateway: &Gateway) {
    let declared: Vec<_> = gateway.routes.iter().filter_map(|route| route.spec.tls.as_ref()).collect();
    let tls = certificates::set(shared, &gateway.listen.to_string(), &declared);
    let gateway = &Gateway { tls, ..gateway.clone() };
    let listening =
        shared.table.set_gateway(gateway).map_err(|error| Arc::from(message_of(&error, gateway.listen)));
    if let Err(why) = &listening
        && routes.listeners.get(&gateway.listen).is_none_or(|before| before.as_ref() != Err(why))
    {
        tracing::warn!(address = %gateway.listen, error = %why, "route_not_listening");
    }
    if let Ok(address) = &listening
        && routes.listeners.get(&gateway.listen) != Some(&listening)
    {
        let names: Vec<&str> = gateway.routes.iter().map(|route| &*route.name).collect();
        tracing::info!(routes = %names.join(" "), %address, "routed");
    }
    routes.listeners.insert(gateway.listen, listening);
}

fn message_of(error: &RouteError, address: SocketAddr) -> String {
    match error {
        RouteError::AddressInUse { .. } => {
            format!(
                "could not listen on {address}: another program uses the address; stop it or choose another address"
            )
        }
        RouteError::AddressTaken { by, .. } => {
            format!("could not listen on {address}: service {by} uses the address; choose another one")
        }
        RouteError::Listen { source, .. } => {
            format!("could not listen on {address}: {source}; check the address and the permissions")
        }
        RouteError::Tls { error, .. } => format!("could not listen on {address} over TLS: {error}"),
        RouteError::EndpointTwice { .. }
        | RouteError::TooManyEndpoints { .. }
        | RouteError::Expression(_)
        | RouteError::Stopping { .. } => error.to_string(),
    }
}
