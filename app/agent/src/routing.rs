//! Updates the proxy's table from the agent's state of a service.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use balance::{Balance, EndpointId, Weight};
use model::action::{Admission, Failure, FailureKind, Outcome};
use model::identity::Generation;
use model::name::ServiceName;
use model::resource::{self, Expose, Port, PortName};
use orchestrator::ReplicaAccess;
use platform::Life;
use proxy::{
    AdaptivePolicy, ConnectionSpec, EndpointRoute, EndpointState, HashKey, HedgeAfter, HedgePolicy, Limits,
    NamedPort, OutlierPolicy, Protocol, ProxyVersion, RouteError, ServiceRoute, SlowPolicy, SlowStart, Table,
    Timeouts,
};

use crate::balancers;
use crate::certificates;
use crate::external_endpoints;
use crate::known::{KnownReplica, KnownService};
use crate::shared::Shared;

/// [Sets](set_route) the route of a service, as the outcome of an action.
pub(crate) fn update_route(shared: &Shared, name: &ServiceName, service: &KnownService) -> Outcome {
    outcome(set_route(shared, name, service))
}

/// Sets the route of a service by an order to expose it, which takes its address over from a service that still listens there.
///
/// The declared addresses differ, so an order for the other service follows. Later changes of its replicas must not take the address back.
pub(crate) fn expose_route(shared: &Shared, name: &ServiceName, service: &KnownService) -> Outcome {
    outcome(set_route_by(Table::expose_service, shared, name, service))
}

fn outcome(result: Result<(), RouteError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Applied,
        Err(error) => Outcome::Failed(failure(&error)),
    }
}

/// Sets the endpoints of a service in the proxy and in its external balancers. Does nothing when it is neither exposed nor behind a
/// route. After an error the earlier route stays.
pub(crate) fn set_route(
    shared: &Shared,
    name: &ServiceName,
    service: &KnownService,
) -> Result<(), RouteError> {
    set_route_by(Table::set_service, shared, name, service)
}

fn set_route_by(
    set_service: fn(&Table, &ServiceRoute) -> Result<Option<SocketAddr>, RouteError>,
    shared: &Shared,
    name: &ServiceName,
    service: &KnownService,
) -> Result<(), RouteError> {
    let exposed = service.exposed.as_ref().map(|declared| &declared.spec);
    let tls = exposed.and_then(|spec| spec.expose.as_ref()?.tls.as_ref());
    let tls = certificates::set(shared, name.as_str(), tls.as_slice());
    let Some(spec) = exposed.or(service.routed.as_deref()) else {
        balancers::clear(shared, name);
        return Ok(());
    };
    let mut route = ServiceRoute { tls, ..ServiceRoute::without_listener(name.as_str()) };
    if let Some(expose) = &spec.expose {
        if exposed.is_some() {
            route.listen = expose.listen.map(|listen| listen.0);
            route.access_log.clone_from(&expose.access_log);
            route.proxy_protocol.accept = expose.proxy_protocol.accept;
        }
        apply_expose(&mut route, expose);
        route.preferred_zone = external_endpoints::preferred_zone(expose, shared.zone.as_ref());
    }
    if let Some(to_zero) = spec.scale.to_zero {
        route.timeouts.endpoint = to_zero.wait.into();
    }
    if let Some(port) = spec.traffic_port() {
        let zone = shared.zone.as_ref().map(external_endpoints::zone);
        let declared = DeclaredAccess {
            access: ReplicaAccess::of(spec),
            port,
            generation: service.exposed.as_ref().map(|exposed| exposed.generation),
        };
        let replicas = service.replicas.values().filter_map(|replica| endpoint(replica, &declared));
        route.endpoints = replicas.map(|replica| EndpointRoute { zone: zone.clone(), ..replica }).collect();
        route.protocol = relayed_protocol(protocol(port.protocol), &route.endpoints);
        let elsewhere = spec.expose.as_ref().map(|expose| external_endpoints::endpoints(&expose.endpoints));
        let connection = Some(connection(&declared.access, port.protocol));
        let elsewhere = elsewhere.into_iter().flatten();
        route.endpoints.extend(elsewhere.map(|external| EndpointRoute { connection, ..external }));
    }
    set_service(&shared.table, &route)?;
    balancers::update(shared, name, service, &route);
    Ok(())
}

/// What is relayed for clients: what is declared, as soon as a replica is ready for it.
///
/// Until then clients are served as the replicas of an earlier version were declared, so that a version that does not start does not take
/// them away from their clients. The versions of HTTP do not differ here: clients may speak any of them, whatever the replicas speak.
fn relayed_protocol(declared: Protocol, replicas: &[EndpointRoute]) -> Protocol {
    let is_as_declared = |protocol: Protocol| {
        protocol == declared || [protocol, declared].iter().all(|protocol| protocol.is_http())
    };
    let protocols = |is_selected: fn(&EndpointRoute) -> bool| {
        let selected = replicas.iter().filter(move |replica| is_selected(replica));
        selected.filter_map(|replica| Some(replica.connection?.protocol))
    };
    let is_serving = |replica: &EndpointRoute| replica.state == EndpointState::Serving;
    if protocols(is_serving).any(is_as_declared) {
        return declared;
    }
    protocols(is_serving).chain(protocols(|_| true)).find(|it| !is_as_declared(*it)).unwrap_or(declared)
}

/// The proxy's protocol for a declared one.
fn protocol(declared: resource::Protocol) -> Protocol {
    match declared {
        resource::Protocol::Http => Protocol::Http1,
        resource::Protocol::Tcp => Protocol::Tcp,
        resource::Protocol::Udp => Protocol::Udp,
        resource::Protocol::Http2 | resource::Protocol::Grpc => Protocol::Http2,
    }
}

fn proxy_version(declared: resource::ProxyVersion) -> ProxyVersion {
    match declared {
        resource::ProxyVersion::V1 => ProxyVersion::V1,
        resource::ProxyVersion::V2 => ProxyVersion::V2,
    }
}

/// Translates the settings of `expose`.
fn apply_expose(route: &mut ServiceRoute, expose: &Expose) {
    route.balance = balance_of(expose.balance);
    route.hash_key = hash_key(&expose.hash);
    route.proxy_protocol.send = expose.proxy_protocol.send.map(proxy_version);
    route.slow_start = expose.slow_start.map_or(SlowStart::OFF, |window| SlowStart::over(window.into()));
    route.limits = Limits {
        in_flight: expose.limits.in_flight.and_then(NonZeroU32::new),
        in_flight_per_endpoint: expose.limits.in_flight_per_replica.and_then(NonZeroU32::new),
        adaptive: expose.limits.adaptive.map(adaptive),
    };
    route.hedge = expose.hedge.map(hedge);
    route.outliers = outliers(&expose.outliers);
    route.timeouts = Timeouts {
        connect: expose.timeouts.connect.into(),
        response_head: expose.timeouts.response.into(),
        client_idle: expose.timeouts.idle.into(),
        stream_idle: expose.timeouts.stream.into(),
        ..Timeouts::default()
    };
}

fn adaptive(declared: resource::Adaptive) -> AdaptivePolicy {
    // Declarations are checked before they are stored: these are at least 1.
    let bound = |bound| NonZeroU32::new(bound).unwrap_or(NonZeroU32::MIN);
    let resource::Adaptive { min, max, tolerance_percent } = declared;
    AdaptivePolicy { min: bound(min), max: bound(max), tolerance_percent }
}

fn outliers(declared: &resource::Outliers) -> OutlierPolicy {
    OutlierPolicy {
        failures_in_a_row: declared.failures_in_a_row,
        base: declared.ejection.into(),
        longest: declared.longest.into(),
        ejected_percent_max: u8::try_from(declared.max_percent).unwrap_or(u8::MAX),
        slow: declared.slow.map(|slow| SlowPolicy {
            percent: slow.percent,
            at_least: slow.at_least.into(),
            window: slow.window.into(),
            answers_min: slow.answers.into(),
        }),
    }
}

fn hedge(declared: resource::Hedge) -> HedgePolicy {
    let percent = |percent: u32| u8::try_from(percent).unwrap_or(u8::MAX);
    let percentile = declared.percentile.unwrap_or(resource::HEDGE_PERCENTILE);
    HedgePolicy {
        after: declared
            .after
            .map_or(HedgeAfter::Percentile(percent(percentile)), |after| HedgeAfter::Fixed(after.into())),
        budget_percent: percent(declared.budget_percent),
    }
}

/// Stops routing requests to a replica immediately. The caller updates the route of its service afterwards.
pub(crate) fn remove_from_traffic(table: &Table, life: &Life) {
    // A service that is not exposed has no route to remove it from.
    drop(table.set_endpoint_state(life.replica.service.as_str(), endpoint_id(life), EndpointState::Out));
}

/// The proxy's id of a replica.
pub(crate) fn endpoint_id(life: &Life) -> EndpointId {
    EndpointId { ordinal: life.replica.ordinal.0, incarnation: life.incarnation.0 }
}

/// How replicas of the declared version are reached.
struct DeclaredAccess<'a> {
    access: ReplicaAccess,
    /// The port of the service that gets its requests.
    port: &'a Port,
    /// The version, if the service is exposed.
    generation: Option<Generation>,
}

impl DeclaredAccess<'_> {
    /// How a replica is reached: as its own version declares, which is perhaps an earlier one. `None` when that is not known.
    ///
    /// `expose` is no part of a version: what is exposed now holds for the replicas of the declared version, even if it has changed since.
    fn own<'a>(&'a self, replica: &'a KnownReplica) -> Option<&'a ReplicaAccess> {
        let is_declared = self.generation == Some(replica.life.generation);
        if is_declared { Some(&self.access) } else { replica.access.as_deref() }
    }

    /// The port of a replica that gets the requests to its service; `None` when it has none.
    fn main_port<'a>(&'a self, replica: &'a KnownReplica) -> Option<&'a PortName> {
        let declared = &self.port.name;
        let Some(own) = self.own(replica) else { return replica.similar_port(declared) };
        // A version that was not exposed is reached on the declared port if it has that, or else on its first one.
        let has_port = |name: &&PortName| replica.life.ports.contains_key(*name);
        own.exposed_port.as_ref().or(Some(declared)).filter(has_port).or_else(|| own.first_port())
    }
}

fn connection(access: &ReplicaAccess, spoken: resource::Protocol) -> ConnectionSpec {
    ConnectionSpec { protocol: protocol(spoken), proxy_header: access.proxy_header.map(proxy_version) }
}

fn endpoint(replica: &KnownReplica, declared: &DeclaredAccess<'_>) -> Option<EndpointRoute> {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let access = declared.own(replica).unwrap_or(&declared.access);
    let ports = &replica.life.ports;
    let main = declared.main_port(replica)?;
    let mut route = EndpointRoute::new(endpoint_id(&replica.life), at(*ports.get(main)?));
    route.connection = Some(connection(access, access.protocol(main).unwrap_or(declared.port.protocol)));
    let named = ports.iter().filter_map(|(name, &port)| {
        let protocol = protocol(access.protocol(name)?);
        Some(NamedPort { name: Arc::from(name.as_str()), address: at(port), protocol })
    });
    route.ports = named.collect();
    route.version = replica.life.generation.0;
    (route.state, route.weight) = match replica.admission {
        Admission::Serving { weight } if replica.may_serve() => {
            let weight = u16::try_from(weight).ok().and_then(Weight::new).unwrap_or(Weight::ONE);
            (EndpointState::Serving, weight)
        }
        Admission::Draining => (EndpointState::Draining, Weight::ONE),
        Admission::Serving { .. } | Admission::Spare => (EndpointState::Out, Weight::ONE),
    };
    Some(route)
}

fn balance_of(balance: resource::Balance) -> Balance {
    match balance {
        resource::Balance::RoundRobin => Balance::RoundRobin,
        resource::Balance::Random => Balance::Random,
        resource::Balance::Weighted => Balance::Weighted,
        resource::Balance::LeastLoaded => Balance::LeastLoaded,
        resource::Balance::ConsistentHash => Balance::ConsistentHash,
    }
}

fn hash_key(key: &resource::HashKey) -> HashKey {
    match key {
        resource::HashKey::Address => HashKey::Address,
        resource::HashKey::Header(name) => HashKey::Header(Arc::from(name.as_str())),
        resource::HashKey::Cookie(name) => HashKey::Cookie(Arc::from(name.as_str())),
    }
}

fn failure(error: &RouteError) -> Failure {
    let kind = match error {
        RouteError::AddressInUse { .. } | RouteError::AddressTaken { .. } => FailureKind::AddressInUse,
        RouteError::Listen { .. }
        | RouteError::Tls { .. }
        | RouteError::EndpointTwice { .. }
        | RouteError::TooManyEndpoints { .. }
        | RouteError::Expression(_)
        | RouteError::Stopping { .. } => FailureKind::Other,
    };
    Failure { kind, message: Arc::from(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(ordinal: u32, protocol: Protocol, state: EndpointState) -> EndpointRoute {
        let id = EndpointId { ordinal, incarnation: 1 };
        let connection = Some(ConnectionSpec { protocol, proxy_header: None });
        EndpointRoute { connection, state, ..EndpointRoute::new(id, ([127, 0, 0, 1], 1).into()) }
    }

    #[test]
    fn clients_are_served_as_declared_from_the_first_replica_on_that_is_ready_for_it() {
        use EndpointState::{Draining, Out, Serving};
        use Protocol::{Http1, Http2, Tcp, Udp};
        for declared in [Http1, Http2, Tcp, Udp] {
            assert_eq!(relayed_protocol(declared, &[]), declared, "without replicas");
            assert_eq!(relayed_protocol(declared, &[replica(0, declared, Out)]), declared);
        }
        // Declared, then each replica's own, then what is relayed.
        let cases = [
            (Http1, vec![(Tcp, Serving), (Http1, Out)], Tcp),
            (Http1, vec![(Tcp, Serving), (Http1, Serving)], Http1),
            (Tcp, vec![(Http2, Serving), (Tcp, Out)], Http2),
            (Udp, vec![(Http1, Serving)], Http1),
            (Http1, vec![(Udp, Out), (Http1, Out)], Udp),
            (Http1, vec![(Udp, Draining), (Http1, Serving)], Http1),
            (Http2, vec![(Tcp, Out), (Http1, Serving)], Http2),
            (Http1, vec![(Tcp, Out), (Udp, Serving)], Udp),
        ];
        for (declared, own, relayed) in cases {
            let replicas: Vec<_> =
                (0..).zip(&own).map(|(i, (protocol, state))| replica(i, *protocol, *state)).collect();
            assert_eq!(relayed_protocol(declared, &replicas), relayed, "{declared:?}: {own:?}");
        }
    }
}
