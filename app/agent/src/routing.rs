//! The proxy's table, kept as the desk says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use balance::{Balance, EndpointId, Weight};
use model::action::{Admission, Failure, FailureKind, Outcome};
use model::input::Declared;
use model::name::ServiceName;
use model::resource;
use platform::Life;
use proxy::{EndpointRoute, EndpointState, RouteError, ServiceRoute, Table, Timeouts};

use crate::desk::{ReplicaDesk, ServiceDesk};

/// Sets the route of a service as its desk says; nothing when it is not exposed.
pub(crate) fn route(table: &Table, name: &ServiceName, desk: &ServiceDesk) -> Outcome {
    let Some(declared) = &desk.exposed else { return Outcome::Applied };
    let Some(expose) = &declared.spec.expose else { return Outcome::Applied };
    let mut route = ServiceRoute::new(name.as_str(), expose.listen.0);
    route.balance = balance_of(expose.balance);
    route.timeouts = Timeouts {
        connect: expose.timeouts.connect.into(),
        response_head: expose.timeouts.response.into(),
        client_idle: expose.timeouts.idle.into(),
        ..Timeouts::default()
    };
    route.endpoints = desk.replicas.values().filter_map(|replica| endpoint(replica, declared)).collect();
    match table.set_service(&route) {
        Ok(_) => Outcome::Applied,
        Err(error) => Outcome::Failed(failure(&error)),
    }
}

/// Takes a replica out of the traffic at once; its route is set anew afterwards.
pub(crate) fn take_out(table: &Table, life: &Life) {
    // A service that is not exposed has no route: nothing to take it out of.
    drop(table.set_endpoint_state(life.replica.service.as_str(), endpoint_id(life), EndpointState::Out));
}

/// How the proxy calls a life.
pub(crate) fn endpoint_id(life: &Life) -> EndpointId {
    EndpointId { ordinal: life.replica.ordinal.0, incarnation: life.incarnation.0 }
}

fn endpoint(replica: &ReplicaDesk, declared: &Declared) -> Option<EndpointRoute> {
    let expose = declared.spec.expose.as_ref()?;
    let port = *replica.life.ports.get(&expose.port)?;
    let mut route =
        EndpointRoute::new(endpoint_id(&replica.life), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
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
    }
}

fn failure(error: &RouteError) -> Failure {
    let kind = match error {
        RouteError::AddressInUse { .. } | RouteError::AddressTaken { .. } => FailureKind::AddressInUse,
        RouteError::Listen { .. }
        | RouteError::EndpointTwice { .. }
        | RouteError::TooManyEndpoints { .. }
        | RouteError::Stopping { .. } => FailureKind::Other,
    };
    Failure { kind, message: Arc::from(error.to_string()) }
}
