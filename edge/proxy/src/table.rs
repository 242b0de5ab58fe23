//! The routing table: services and their endpoints, as set from outside.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use balance::EndpointId;

use crate::access::AccessLogState;
use crate::listener::{InheritedListener, Listener, ListenerSocket, Transport};
use crate::route::{EndpointState, Gateway, Protocol, ServiceRoute};
use crate::router::{Backend, Router};
use crate::service::Service;
use crate::tls::{Challenge, Terminator, TlsState};
use crate::traffic::{RouteTraffic, ServiceLoad, ServiceTraffic};
use crate::worker::{Command, Shared};

mod error;

use self::error::ENDPOINTS_MAX;
pub use self::error::{EndpointError, RouteError};

/// The routing table: cheap to clone, usable from any thread, never waits for a request.
///
/// Changes take effect before the call returns: no request that is routed later sees the old state.
#[derive(Debug, Clone)]
pub struct Table {
    shared: Arc<Shared>,
    entries: Arc<Mutex<BTreeMap<Arc<str>, Entry>>>,
    /// Sockets of another proxy that no service has claimed yet.
    inherited: Arc<Mutex<Vec<InheritedListener>>>,
    /// Wakes the thread that watches certificates, because there may be some now.
    wake_certificate_watch: Sender<()>,
}

#[derive(Debug)]
struct Entry {
    service: Arc<Service>,
    /// `None` for a service that is reached through a gateway only.
    listener: Option<Listener>,
}

impl Table {
    pub(crate) fn new(
        shared: Arc<Shared>,
        inherited: Vec<InheritedListener>,
        wake_certificate_watch: Sender<()>,
    ) -> Self {
        Self {
            shared,
            entries: Arc::default(),
            inherited: Arc::new(Mutex::new(inherited)),
            wake_certificate_watch,
        }
    }

    /// Sets a service as a whole; returns where it listens.
    ///
    /// A new service begins to listen. One whose `listen` changed listens on the new address before it closes the old one; otherwise the
    /// listening socket is not touched. Endpoints that keep id and address keep their connections and counters; those that are left out get
    /// no new requests and finish those they have. Certificates are read when they are first named, and again when their files change;
    /// connections keep the certificate of their handshake.
    pub fn set_service(&self, route: &ServiceRoute) -> Result<Option<SocketAddr>, RouteError> {
        check(route)?;
        let terminator = self.terminator(route)?;
        let mut entries = self.entries();
        let workers = self.shared.workers.len();
        let is_first = terminator.is_some() && !has_certificates(&entries);
        let log = route.access_log.as_ref().map(|declared| self.shared.logs.log(declared));
        let make = |_: &BTreeMap<_, _>| {
            let service = Service::new(route, self.shared.clock, workers);
            // Before it listens, so that TLS and the log are set for its first client.
            service.set_terminator(terminator.clone());
            service.set_access_log(log.clone());
            Ok(service)
        };
        let actual = self.set(&mut entries, route, make)?;
        if let Some(entry) = entries.get(&route.service) {
            entry.service.set_terminator(terminator);
            entry.service.set_access_log(log);
            entry.service.update(route);
        }
        self.publish(entries);
        if is_first {
            self.wake_certificate_watch();
        }
        Ok(actual)
    }

    /// Sets a listener that services share as a whole; returns where it listens.
    ///
    /// Later requests follow the new routes, on the same connections. Routes that keep their name keep their counters. Certificates are
    /// treated as by [`set_service`](Self::set_service).
    pub fn set_gateway(&self, gateway: &Gateway) -> Result<SocketAddr, RouteError> {
        let name = name_of(gateway.listen);
        let mut route = ServiceRoute::new(Arc::clone(&name), gateway.listen);
        route.tls.clone_from(&gateway.tls);
        let terminator = self.terminator(&route)?;
        let mut entries = self.entries();
        let workers = self.shared.workers.len();
        let is_first = terminator.is_some() && !has_certificates(&entries);
        let make = |entries: &BTreeMap<_, _>| {
            let find = |backend: &Backend| service_behind(backend, entries);
            let router = Router::new(&gateway.routes, workers, &self.shared.logs, find)?;
            let service = Service::with_router(router, &route, self.shared.clock, workers);
            service.set_terminator(terminator.clone());
            Ok(service)
        };
        let actual = self.set(&mut entries, &route, make)?.unwrap_or(gateway.listen);
        if let Some(router) = entries.get(&name).and_then(|entry| entry.service.router.as_ref()) {
            let find = |backend: &Backend| service_behind(backend, &entries);
            router.update(&gateway.routes, &self.shared.logs, find)?;
            router.set_port(actual.port());
        }
        if let Some(entry) = entries.get(&name) {
            entry.service.set_terminator(terminator);
            entry.service.connection_limit.set_max(connections_max(gateway));
        }
        self.publish(entries);
        if is_first {
            self.wake_certificate_watch();
        }
        Ok(actual)
    }

    /// The state of the access logs, by file.
    pub fn access_logs(&self) -> Vec<AccessLogState> {
        self.shared.logs.states()
    }

    /// Removes a listener that services share, as [`remove_service`](Self::remove_service) does.
    pub fn remove_gateway(&self, listen: SocketAddr) -> bool {
        self.remove_service(&name_of(listen))
    }

    /// Lets a service listen on the address of its route; `make` creates it if it is new.
    fn set(
        &self,
        entries: &mut BTreeMap<Arc<str>, Entry>,
        route: &ServiceRoute,
        make: impl FnOnce(&BTreeMap<Arc<str>, Entry>) -> Result<Service, RouteError>,
    ) -> Result<Option<SocketAddr>, RouteError> {
        if self.shared.is_stopped() {
            return Err(RouteError::Stopping { service: Arc::clone(&route.service) });
        }
        let known = entries.get(&route.service);
        let transport = Transport::of(route.protocol);
        let bound_to = |listener: &Listener| (listener.transport, listener.requested);
        let before = known.map(|entry| entry.listener.as_ref().map(bound_to));
        if before == Some(route.listen.map(|address| (transport, address))) {
            return Ok(known.and_then(|entry| Some(entry.listener.as_ref()?.actual)));
        }
        let opened = route.listen.map(|address| self.open_listener(entries, route, address)).transpose()?;
        let service =
            known.map_or_else(|| make(entries).map(Arc::new), |entry| Ok(Arc::clone(&entry.service)));
        let (listener, socket) = opened.unzip();
        let actual = listener.as_ref().map(|listener| listener.actual);
        let service = match service {
            Ok(service) => service,
            Err(error) => {
                listener.inspect(|listener| self.close(listener));
                return Err(error);
            }
        };
        if let (Some(socket), Some(listener)) = (socket, &listener) {
            self.start_accepting(socket, listener, &service, entries.len());
        }
        if let Some(old) = entries.insert(Arc::clone(&route.service), Entry { service, listener }) {
            old.listener.inspect(|listener| self.close(listener));
        }
        Ok(actual)
    }

    /// The TLS terminator of a service: the existing one, unless other files are named. Reads files, so the services must not be locked.
    fn terminator(&self, route: &ServiceRoute) -> Result<Option<Arc<Terminator>>, RouteError> {
        let Some(tls) = &route.tls else { return Ok(None) };
        let before = self.service(&route.service).and_then(|service| service.terminator());
        if let Some(before) = before.filter(|before| before.tls == *tls) {
            return Ok(Some(before));
        }
        let read = Terminator::new(tls);
        let read = read.map_err(|error| RouteError::Tls { service: Arc::clone(&route.service), error });
        read.map(|terminator| Some(Arc::new(terminator)))
    }

    /// Changes the state of one endpoint. `Draining` and `Out` close its idle connections, and do not end its requests.
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

    /// Removes a service: it stops listening at once, and its connections end after their current request.
    /// `false` if there was none.
    pub fn remove_service(&self, service: &str) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.remove(service) else {
            return false;
        };
        entry.service.close();
        entry.listener.inspect(|listener| self.close(listener));
        self.publish(entries);
        true
    }

    /// Where a service listens.
    #[must_use]
    pub fn address(&self, service: &str) -> Option<SocketAddr> {
        self.entries().get(service)?.listener.as_ref().map(|listener| listener.actual)
    }

    /// The state of a service's certificates; `None` for one that is unknown or has no TLS.
    #[must_use]
    pub fn tls(&self, service: &str) -> Option<TlsState> {
        Some(self.service(service)?.terminator()?.state())
    }

    /// The same for a listener that services share, by the requested address.
    #[must_use]
    pub fn gateway_tls(&self, listen: SocketAddr) -> Option<TlsState> {
        self.tls(&name_of(listen))
    }

    /// Sets or removes the answer of a host to an ACME challenge.
    ///
    /// Fails, and changes nothing, for a key that cannot be used.
    pub fn set_challenge(&self, host: &str, challenge: Option<Challenge>) -> Result<(), rustls::Error> {
        self.shared.challenges.set(host, challenge)
    }

    /// All counters, by service name. They only grow: rates are differences between two readings.
    ///
    /// Costs about 1 µs for each endpoint and worker, and blocks no worker.
    #[must_use]
    pub fn traffic(&self) -> Vec<ServiceTraffic> {
        let services = self.services(|service| service.router.is_none());
        services.iter().map(|service| service.traffic()).collect()
    }

    /// The counters of one service, as in [`traffic`](Self::traffic); `None` for an unknown one.
    #[must_use]
    pub fn traffic_of(&self, service: &str) -> Option<ServiceTraffic> {
        let service = self.service(service).filter(|service| service.router.is_none())?;
        Some(service.traffic())
    }

    /// The counters of all routes, listener by listener.
    #[must_use]
    pub fn route_traffic(&self) -> Vec<RouteTraffic> {
        let gateways = self.services(|service| service.router.is_some());
        gateways.iter().filter_map(|gateway| gateway.router.as_ref()).flat_map(Router::traffic).collect()
    }

    fn services(&self, is_selected: impl Fn(&Service) -> bool) -> Vec<Arc<Service>> {
        let entries = self.entries();
        let services = entries.values().map(|entry| &entry.service);
        services.filter(|service| is_selected(service)).map(Arc::clone).collect()
    }

    /// The load of a service's replicas; `None` for an unknown service.
    #[must_use]
    pub fn load(&self, service: &str) -> Option<ServiceLoad> {
        self.service(service).map(|service| service.load())
    }

    /// Requests that an endpoint is answering now, tunnels included; 0 for an unknown one.
    #[must_use]
    pub fn in_flight(&self, service: &str, id: EndpointId) -> u32 {
        let endpoint = self.service(service).and_then(|service| service.endpoint(id));
        endpoint.map_or(0, |endpoint| endpoint.in_flight())
    }

    /// Waits until an endpoint has no request in flight. Ready at once for an unknown one.
    ///
    /// Set it to draining first: a serving endpoint may get the next request right after.
    pub fn drained(&self, service: &str, id: EndpointId) -> impl Future<Output = ()> + Send + 'static {
        let endpoint = self.service(service).and_then(|service| service.endpoint(id));
        async move {
            if let Some(endpoint) = endpoint {
                endpoint.wait_until_drained().await;
            }
        }
    }

    /// Wakes the thread that watches certificates.
    pub(crate) fn wake_certificate_watch(&self) {
        // It ends with the proxy.
        let _ = self.wake_certificate_watch.send(());
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.is_stopped()
    }

    pub(crate) fn has_certificates(&self) -> bool {
        has_certificates(&self.entries())
    }

    /// Reloads certificates whose files have changed.
    pub(crate) fn reload_certificates(&self) {
        let services: Vec<_> = self.entries().values().map(|entry| Arc::clone(&entry.service)).collect();
        for service in services {
            if let Some(terminator) = service.terminator() {
                terminator.reload_if_changed(&service.name);
            }
        }
    }

    /// Waits until a request of any service begins to wait for an endpoint, or has begun to since this was last called.
    ///
    /// Cancel safe. If several callers wait, one of them is woken.
    pub async fn until_request_waits(&self) {
        self.shared.endpoint_awaited.notified().await;
    }

    /// All listening sockets, for a proxy that is to replace this one: it accepts the clients that this one has not accepted when it hands over.
    ///
    /// Fails when descriptors have run out.
    pub fn share_listeners(&self) -> io::Result<Vec<InheritedListener>> {
        let entries = self.entries();
        let listening = entries.iter().filter_map(|(name, entry)| Some((name, entry.listener.as_ref()?)));
        listening.map(|(name, listener)| listener.share(name)).collect()
    }

    /// How many inherited sockets no service has claimed yet.
    #[must_use]
    pub fn unclaimed(&self) -> usize {
        self.inherited().len()
    }

    /// Closes the inherited sockets that no service has claimed.
    pub(crate) fn close_unclaimed(&self) {
        self.inherited().clear();
    }

    /// Stops listening for all services.
    pub(crate) fn close_listeners(&self) {
        for entry in self.entries().values_mut() {
            // Dropped as well: a UDP socket stays bound until it is closed.
            entry.listener.take().inspect(|listener| self.close(listener));
        }
    }

    /// Drops all listening sockets, which another proxy continues to use.
    pub(crate) fn release_listeners(&self) {
        for entry in self.entries().values_mut() {
            entry.listener.take().inspect(Listener::release);
        }
    }

    /// Stops listening. As long as this proxy is not open, another one may still use the socket, which is only dropped.
    fn close(&self, listener: &Listener) {
        if self.shared.is_open() { listener.close() } else { listener.release() }
    }

    /// Opens a listening socket, or claims the one that was inherited for it.
    fn open_listener(
        &self,
        entries: &BTreeMap<Arc<str>, Entry>,
        route: &ServiceRoute,
        address: SocketAddr,
    ) -> Result<(Listener, ListenerSocket), RouteError> {
        let transport = Transport::of(route.protocol);
        let inherited_socket = {
            let mut inherited = self.inherited();
            let place = inherited.iter().position(|it| it.is_for(transport, &route.service, address));
            place.map(|place| inherited.swap_remove(place).socket)
        };
        let Some(socket) = inherited_socket else { return open(entries, route, address) };
        Listener::of(transport, socket, address).map_err(|source| RouteError::Listen {
            service: Arc::clone(&route.service),
            address,
            source,
        })
    }

    fn start_accepting(
        &self,
        socket: ListenerSocket,
        listener: &Listener,
        service: &Arc<Service>,
        nth: usize,
    ) {
        let stop = listener.stop.clone();
        let command = Command::Listen { socket, stop, service: Arc::clone(service) };
        // Listeners take turns, so that no worker accepts for all services.
        let worker = nth % self.shared.workers.len();
        if !self.shared.send(worker, command) {
            tracing::error!(service = %service.name, worker, "worker_unreachable");
        }
    }

    fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.entries().get(name).map(|entry| Arc::clone(&entry.service))
    }

    /// The list is consistent after every change, so a poisoned lock does no harm.
    fn inherited(&self) -> MutexGuard<'_, Vec<InheritedListener>> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a change of the table: shared listeners look up their services again, and the workers are notified.
    fn publish(&self, entries: MutexGuard<'_, BTreeMap<Arc<str>, Entry>>) {
        resolve_backends(&entries);
        drop(entries);
        self.shared.announce_change();
    }

    /// The map is consistent after every change, so a poisoned lock does no harm.
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

fn has_certificates(entries: &BTreeMap<Arc<str>, Entry>) -> bool {
    entries.values().any(|entry| entry.service.terminator().is_some())
}

/// The name of a shared listener among the services; no service can have it.
fn name_of(listen: SocketAddr) -> Arc<str> {
    format!("routes at {listen}").into()
}

/// The lowest connection limit of its routes.
fn connections_max(gateway: &Gateway) -> usize {
    let declared = gateway.routes.iter().filter_map(|route| route.spec.limits.connections);
    declared.min().map_or(usize::MAX, |least| least.get() as usize)
}

/// Lets every shared listener look up its services.
fn resolve_backends(entries: &BTreeMap<Arc<str>, Entry>) {
    let routers = entries.values().filter_map(|entry| entry.service.router.as_ref());
    routers.for_each(|router| router.resolve_backends(|backend| service_behind(backend, entries)));
}

/// The service that a rule names. A UDP service takes no requests, unless the rule names another of its ports.
fn service_behind(backend: &Backend, entries: &BTreeMap<Arc<str>, Entry>) -> Option<Arc<Service>> {
    let service = &entries.get(&backend.service)?.service;
    let takes_requests = backend.port.is_some() || service.snapshot().protocol != Protocol::Udp;
    takes_requests.then(|| Arc::clone(service))
}

fn open(
    entries: &BTreeMap<Arc<str>, Entry>,
    route: &ServiceRoute,
    address: SocketAddr,
) -> Result<(Listener, ListenerSocket), RouteError> {
    let service = Arc::clone(&route.service);
    let transport = Transport::of(route.protocol);
    Listener::open(transport, address).map_err(|source| {
        let is_it = |it: &Listener| it.transport == transport && overlap(it.actual, address);
        let is_there = |entry: &Entry| entry.listener.as_ref().is_some_and(is_it);
        let ours = entries.iter().find(|(_, entry)| is_there(entry));
        match (source.kind(), ours) {
            (io::ErrorKind::AddrInUse, Some((by, _))) => {
                RouteError::AddressTaken { service, address, by: Arc::clone(by) }
            }
            (io::ErrorKind::AddrInUse, None) => RouteError::AddressInUse { service, address, source },
            (_, _) => RouteError::Listen { service, address, source },
        }
    })
}

/// Whether two sockets cannot have these addresses: one of a wildcard address has the port on every address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (is_any || one.ip() == other.ip())
}
