//! Updates the proxy's table from the agent's state of a service.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use balance::{Balance, EndpointId, Weight};
use model::action::{Admission, Failure, FailureKind, Outcome};
use model::name::ServiceName;
use model::resource::{self, Expose, Port, PortName, ServiceSpec};
use platform::Life;
use proxy::{
    AdaptivePolicy, EndpointRoute, EndpointState, HashKey, HedgeAfter, HedgePolicy, Limits, OutlierPolicy,
    Protocol, ProxyVersion, RouteError, ServicePort, ServiceRoute, SlowPolicy, SlowStart, Table, Timeouts,
};

use crate::balancers;
use crate::certificates;
use crate::external_endpoints;
use crate::known::{KnownReplica, KnownService};
use crate::shared::Shared;

/// Sets the endpoints of a service in the proxy and in its external balancers. Does nothing when it is neither exposed nor behind a
/// route.
pub(crate) fn update_route(shared: &Shared, name: &ServiceName, service: &KnownService) -> Outcome {
    let exposed = service.exposed.as_ref().map(|declared| &declared.spec);
    let tls = exposed.and_then(|spec| spec.expose.as_ref()?.tls.as_ref());
    let tls = certificates::set(shared, name.as_str(), tls.as_slice());
    let Some(spec) = exposed.or(service.routed.as_deref()) else {
        balancers::clear(shared, name);
        return Outcome::Applied;
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
    if let Some(port) = traffic_port(spec) {
        route.protocol = protocol(port.protocol);
        route.ports = spec.ports.iter().map(service_port).collect();
        let zone = shared.zone.as_ref().map(external_endpoints::zone);
        let replicas = service.replicas.values().filter_map(|replica| endpoint(replica, port));
        route.endpoints = replicas.map(|replica| EndpointRoute { zone: zone.clone(), ..replica }).collect();
        let elsewhere = spec.expose.as_ref().map(|expose| external_endpoints::endpoints(&expose.endpoints));
        route.endpoints.extend(elsewhere.into_iter().flatten());
    }
    match shared.table.set_service(&route) {
        Ok(_) => {
            balancers::update(shared, name, service, &route);
            Outcome::Applied
        }
        Err(error) => Outcome::Failed(failure(&error)),
    }
}

/// The port of a service that gets its requests: that of `expose`, or the first TCP port.
fn traffic_port(spec: &ServiceSpec) -> Option<&Port> {
    match &spec.expose {
        Some(_) => spec.exposed_port(),
        None => spec.first_port(),
    }
}

fn service_port(port: &Port) -> ServicePort {
    ServicePort { name: Arc::from(port.name.as_str()), protocol: protocol(port.protocol) }
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

/// Translates the settings of `expose`.
fn apply_expose(route: &mut ServiceRoute, expose: &Expose) {
    route.balance = balance_of(expose.balance);
    route.hash_key = hash_key(&expose.hash);
    route.proxy_protocol.send = expose.proxy_protocol.send.map(|version| match version {
        resource::ProxyVersion::V1 => ProxyVersion::V1,
        resource::ProxyVersion::V2 => ProxyVersion::V2,
    });
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

/// The number of the port of a replica that gets the requests to `port` of its service.
///
/// A replica of an earlier version may have no port of that name: until it is replaced, it gets them on the port that was declared for
/// its own version. When that is not known, after a restart, it is the replica's only port.
fn port_number(replica: &KnownReplica, port: &PortName) -> Option<u16> {
    let of_own_version = || Some(&traffic_port(replica.own_spec()?)?.name);
    replica.life.ports.get(replica.port(port).or_else(of_own_version)?).copied()
}

fn endpoint(replica: &KnownReplica, port: &Port) -> Option<EndpointRoute> {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ports = &replica.life.ports;
    let mut route = EndpointRoute::new(endpoint_id(&replica.life), at(port_number(replica, &port.name)?));
    route.ports = ports.iter().map(|(name, &port)| (Arc::from(name.as_str()), at(port))).collect();
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
