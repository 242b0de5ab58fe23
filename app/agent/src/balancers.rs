//! Keeps external balancers up to date with the replicas of their services.

use std::sync::Arc;
use std::time::Duration;

use external::{BalancerFiles, Connections, Notice, Server, ServerState, Upstream};
use model::action::Admission;
use model::event::EventKind;
use model::name::ServiceName;
use model::resource::Count;
use orchestrator::Handle;
use platform::LifeState;
use proxy::{EndpointRoute, EndpointState, EndpointTraffic, Origin, Protocol, ServiceRoute};

use crate::known::{KnownReplica, KnownService};
use crate::shared::Shared;

/// How long shutdown waits for external balancers: the default timeouts of a check and of a reload.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(20);

/// The balancer files, none yet. Notices about a file become events of its service.
pub(crate) fn balancer_files(runtime: tokio::runtime::Handle, loop_handle: Handle) -> BalancerFiles {
    let record_event = move |notice: Notice| {
        let kind = if notice.is_warning { EventKind::BalancerFailed } else { EventKind::BalancerReloaded };
        loop_handle.record_event(&notice.service, None, kind, notice.message);
    };
    BalancerFiles::new(runtime, Arc::new(record_event))
}

/// Sends the endpoints of a service to its external balancers, the same as in the proxy.
pub(crate) fn update(shared: &Shared, name: &ServiceName, service: &KnownService, route: &ServiceRoute) {
    let exposed = service.exposed.as_ref().and_then(|declared| declared.spec.expose.as_ref());
    let Some(expose) = exposed else { return clear(shared, name) };
    let servers: Vec<Server> = route.endpoints.iter().filter_map(server).collect();
    let is_replica = |server: &&Server| server.ordinal.is_some();
    let is_served =
        servers.iter().filter(is_replica).any(|server| matches!(server.state, ServerState::Serving { .. }));
    // Whether a hold, a schedule or an autoscaler wants no replicas is not known here. In that case the previous file stays until a replica is ready, or
    // for at most half a minute. Its replicas have ended, so the balancer finds no server either way.
    let is_none_wanted = service.exposed.as_ref().is_some_and(|it| it.spec.scale.count == Count::Fixed(0));
    let is_settled = (is_served || is_none_wanted) && service.replicas.values().all(is_known);
    let upstream = Upstream {
        service: name.to_string(),
        name: name.to_string(),
        balance: expose.balance,
        hash: expose.hash.clone(),
        servers,
    };
    shared.balancers.set(name, &expose.external, &upstream, is_settled);
}

/// Removes all endpoints of a service from its external balancers.
pub(crate) fn clear(shared: &Shared, name: &ServiceName) {
    let none = Upstream {
        service: name.to_string(),
        name: name.to_string(),
        balance: Default::default(),
        hash: Default::default(),
        servers: Vec::new(),
    };
    shared.balancers.set(name, &[], &none, true);
}

fn server(endpoint: &EndpointRoute) -> Option<Server> {
    let state = match endpoint.state {
        EndpointState::Serving => ServerState::Serving { weight: endpoint.weight.get() },
        EndpointState::Draining => ServerState::Draining,
        EndpointState::Out => return None,
    };
    let ordinal = match endpoint.origin {
        Origin::Replica => Some(endpoint.id.ordinal),
        Origin::Elsewhere => None,
    };
    let http2 = endpoint.connection.is_some_and(|connection| connection.protocol == Protocol::Http2);
    Some(Server { ordinal, address: endpoint.address, http2, state })
}

/// Whether it is known if a replica can serve: its admission was ordered, and its probes have results if it may serve.
fn is_known(replica: &KnownReplica) -> bool {
    let is_ordered = replica.declared.is_some();
    let may_serve =
        matches!(replica.admission, Admission::Serving { .. }) && replica.life.state == LifeState::Running;
    is_ordered && (replica.health.started || !may_serve)
}

/// Requests in flight over external balancers, which the proxy does not see; a snapshot at one moment.
#[derive(Debug, Default)]
pub(crate) struct ExternalRequests {
    /// Read on first use; `Some(None)` when the connections could not be listed.
    connections: Option<Option<Connections>>,
}

impl ExternalRequests {
    /// How many requests a draining replica may still have over external balancers: as many as it has open connections, and at least
    /// one while a balancer may not be updated yet, or the connections are not known.
    pub(crate) fn in_flight(
        &mut self,
        shared: &Shared,
        service: &ServiceName,
        endpoint: &EndpointTraffic,
    ) -> u32 {
        if endpoint.state != EndpointState::Draining {
            return 0;
        }
        let Some(is_settling) = shared.balancers.is_settling(service) else { return 0 };
        let connections = self.connections.get_or_insert_with(|| {
            Connections::read().map_err(|error| tracing::warn!(error = %error, "connections_not_listed")).ok()
        });
        // Each request of the proxy itself has a connection, too.
        let open =
            connections.as_ref().map(|all| all.to(endpoint.address).saturating_sub(endpoint.in_flight));
        open.unwrap_or(1).max(u32::from(is_settling))
    }
}
