//! Which services there are and which endpoints answer for them: the handle for those who decide.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use balance::EndpointId;
use thiserror::Error;

use crate::listener::Listener;
use crate::route::{EndpointState, ServiceRoute};
use crate::service::Service;
use crate::traffic::ServiceTraffic;
use crate::worker::{Order, Shared};

/// Endpoints of one service at most: each has about 3.3 KiB of counters for each worker, so 54 MiB on four.
const ENDPOINTS_MAX: usize = 4096;

/// Why a service was not set. Nothing has changed: neither the service nor what it listens on.
#[derive(Debug, Error)]
pub enum RouteError {
    /// Another program listens there.
    #[error(
        "service `{service}` cannot listen on {address}: another program does; stop it or choose another address"
    )]
    AddressInUse {
        /// The service.
        service: Arc<str>,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Another service of this proxy listens there.
    #[error("service `{service}` cannot listen on {address}: service `{by}` does; choose another address")]
    AddressTaken {
        /// The service.
        service: Arc<str>,
        /// Where it was to listen.
        address: SocketAddr,
        /// Who listens there.
        by: Arc<str>,
    },
    /// The address is not ours or not allowed, or descriptors have run out.
    #[error(
        "service `{service}` cannot listen on {address}: the system refuses it; check the address and the rights"
    )]
    Listen {
        /// The service.
        service: Arc<str>,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Two endpoints have the same id.
    #[error("service `{service}` cannot be routed: endpoint {id} is named twice")]
    EndpointTwice {
        /// The service.
        service: Arc<str>,
        /// The endpoint.
        id: EndpointId,
    },
    /// More endpoints than a service may have.
    #[error("service `{service}` cannot be routed: it has {count} endpoints and may have {ENDPOINTS_MAX}")]
    TooManyEndpoints {
        /// The service.
        service: Arc<str>,
        /// How many it has.
        count: usize,
    },
    /// The proxy is shutting down.
    #[error("service `{service}` cannot be routed: the proxy is shutting down")]
    Stopping {
        /// The service.
        service: Arc<str>,
    },
}

/// Why the state of an endpoint was not changed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// There is no such service.
    #[error("endpoint {id} was not changed: there is no service `{service}`")]
    NoService {
        /// The service.
        service: Arc<str>,
        /// The endpoint.
        id: EndpointId,
    },
    /// The service has no such endpoint.
    #[error("endpoint {id} was not changed: service `{service}` has no such endpoint")]
    NoEndpoint {
        /// The service.
        service: Arc<str>,
        /// The endpoint.
        id: EndpointId,
    },
}

/// The routing table: cheap to clone, usable from any thread, never waits for a request.
///
/// Changes take effect before the call returns: no request that is routed later sees the old state.
#[derive(Debug, Clone)]
pub struct Table {
    shared: Arc<Shared>,
    entries: Arc<Mutex<BTreeMap<Arc<str>, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    service: Arc<Service>,
    listener: Listener,
}

impl Table {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, entries: Arc::default() }
    }

    /// Sets a service as a whole; answers where it listens.
    ///
    /// A new service begins to listen; one whose `listen` changed listens on the new address before the old one is
    /// given up; otherwise the listening socket is not touched. Endpoints that keep id and address keep their
    /// connections and counters; those left out get nothing new and finish what they have.
    pub fn set_service(&self, route: &ServiceRoute) -> Result<SocketAddr, RouteError> {
        check(route)?;
        let mut entries = self.entries();
        if self.shared.is_stopped() {
            return Err(RouteError::Stopping { service: Arc::clone(&route.service) });
        }
        let known = entries.get(&route.service);
        let stays = known.is_some_and(|entry| entry.listener.requested == route.listen);
        let actual = if stays {
            known.map_or(route.listen, |entry| entry.listener.actual)
        } else {
            let (listener, socket) = open(&entries, route)?;
            let actual = listener.actual;
            let service = known.map_or_else(
                || Arc::new(Service::new(route, self.shared.clock, self.shared.doors.len())),
                |entry| Arc::clone(&entry.service),
            );
            self.start_accepting(socket, &service, entries.len());
            let entry = Entry { service, listener };
            if let Some(old) = entries.insert(Arc::clone(&route.service), entry) {
                old.listener.close();
            }
            actual
        };
        if let Some(entry) = entries.get(&route.service) {
            entry.service.update(route);
        }
        drop(entries);
        self.shared.announce_change();
        Ok(actual)
    }

    /// Changes the state of one endpoint. Draining and taking out end its idle connections, not its requests.
    pub fn set_endpoint_state(
        &self,
        service: &str,
        id: EndpointId,
        state: EndpointState,
    ) -> Result<(), EndpointError> {
        let Some(known) = self.service(service) else {
            return Err(EndpointError::NoService { service: service.into(), id });
        };
        if !known.set_state(id, state) {
            return Err(EndpointError::NoEndpoint { service: service.into(), id });
        }
        self.shared.announce_change();
        Ok(())
    }

    /// Removes a service: it stops listening at once, and its connections end after the request they are at.
    /// `false` if there was none.
    pub fn remove_service(&self, service: &str) -> bool {
        let Some(entry) = self.entries().remove(service) else {
            return false;
        };
        entry.service.close();
        entry.listener.close();
        self.shared.announce_change();
        true
    }

    /// Where a service listens.
    #[must_use]
    pub fn address(&self, service: &str) -> Option<SocketAddr> {
        self.entries().get(service).map(|entry| entry.listener.actual)
    }

    /// All counters, by service name. They only grow: rates are differences between two readings.
    ///
    /// Costs about 1 µs for each endpoint and worker, and stops nobody.
    #[must_use]
    pub fn traffic(&self) -> Vec<ServiceTraffic> {
        let services: Vec<_> = self.entries().values().map(|entry| Arc::clone(&entry.service)).collect();
        services.iter().map(|service| service.traffic()).collect()
    }

    /// Requests that an endpoint is answering now, tunnels included; 0 for one that is not known.
    #[must_use]
    pub fn in_flight(&self, service: &str, id: EndpointId) -> u32 {
        let endpoint = self.service(service).and_then(|service| service.endpoint(id));
        endpoint.map_or(0, |endpoint| endpoint.in_flight())
    }

    /// Waits until an endpoint answers no request any more; at once for one that is not known.
    ///
    /// Set it to draining first: on a serving endpoint the next request may come right after.
    pub fn drained(&self, service: &str, id: EndpointId) -> impl Future<Output = ()> + Send + 'static {
        let endpoint = self.service(service).and_then(|service| service.endpoint(id));
        async move {
            if let Some(endpoint) = endpoint {
                endpoint.wait_until_empty().await;
            }
        }
    }

    /// Stops listening for all services.
    pub(crate) fn close_listeners(&self) {
        self.entries().values().for_each(|entry| entry.listener.close());
    }

    fn start_accepting(&self, socket: TcpListener, service: &Arc<Service>, nth: usize) {
        let order = Order::Listen { socket, service: Arc::clone(service) };
        // Listeners take turns, so that no worker accepts for all services.
        let worker = nth % self.shared.doors.len();
        if !self.shared.order(worker, order) {
            tracing::error!(service = %service.name, worker, "worker takes no orders");
        }
    }

    fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.entries().get(name).map(|entry| Arc::clone(&entry.service))
    }

    /// Each change leaves the map whole, so a panic while it was locked does no harm.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(route: &ServiceRoute) -> Result<(), RouteError> {
    let service = || Arc::clone(&route.service);
    let count = route.endpoints.len();
    if count > ENDPOINTS_MAX {
        return Err(RouteError::TooManyEndpoints { service: service(), count });
    }
    let mut ids: Vec<_> = route.endpoints.iter().map(|endpoint| endpoint.id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(RouteError::EndpointTwice { service: service(), id: pair[0] }),
        None => Ok(()),
    }
}

fn open(
    entries: &BTreeMap<Arc<str>, Entry>,
    route: &ServiceRoute,
) -> Result<(Listener, TcpListener), RouteError> {
    let (service, address) = (Arc::clone(&route.service), route.listen);
    Listener::open(address).map_err(|source| {
        let ours = entries.iter().find(|(_, entry)| entry.listener.actual == address);
        match (source.kind(), ours) {
            (io::ErrorKind::AddrInUse, Some((by, _))) => {
                RouteError::AddressTaken { service, address, by: Arc::clone(by) }
            }
            (io::ErrorKind::AddrInUse, None) => RouteError::AddressInUse { service, address, source },
            (_, _) => RouteError::Listen { service, address, source },
        }
    })
}
