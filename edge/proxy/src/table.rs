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

mod entry;
mod error;

use self::entry::{AddressClaim, Binding, Entry, holder_of};
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
    ///
    /// A service whose address another one has [taken over](Self::expose_service) does not listen until it is exposed again.
    pub fn set_service(&self, route: &ServiceRoute) -> Result<Option<SocketAddr>, RouteError> {
        self.set_service_claiming(route, AddressClaim::Unused)
    }

    /// Sets a service as [`set_service`](Self::set_service) does, and takes its address over from a service that listens there.
    ///
    /// For a set of services whose addresses differ, one by one in any order: a service that has an address which is declared for another
    /// one is about to be exposed elsewhere, or hidden. Where both addresses are the same, the socket is handed over with the clients that
    /// wait to be accepted. Until the displaced service is exposed, the socket that this one gives up stays open and serves it, so that
    /// services can exchange their addresses without refusing a client. Where the addresses only overlap, as `0.0.0.0:80` and
    /// `127.0.0.1:80` do, the socket of the other one, or the earlier one of this service, is closed first; UDP sockets that overlap, and
    /// shared listeners, keep their addresses.
    pub fn expose_service(&self, route: &ServiceRoute) -> Result<Option<SocketAddr>, RouteError> {
        self.set_service_claiming(route, AddressClaim::TakeOver)
    }

    fn set_service_claiming(
        &self,
        route: &ServiceRoute,
        claim: AddressClaim,
    ) -> Result<Option<SocketAddr>, RouteError> {
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
        let actual = self.set(&mut entries, route, claim, make)?;
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
        let actual = self.set(&mut entries, &route, AddressClaim::Unused, make)?.unwrap_or(gateway.listen);
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
        claim: AddressClaim,
        make: impl FnOnce(&BTreeMap<Arc<str>, Entry>) -> Result<Service, RouteError>,
    ) -> Result<Option<SocketAddr>, RouteError> {
        if self.shared.is_stopped() {
            return Err(RouteError::Stopping { service: Arc::clone(&route.service) });
        }
        let transport = Transport::of(route.protocol);
        let wanted = route.listen.map(|address| Binding { transport, address });
        if let Some(entry) = entries.get(&route.service).filter(|entry| entry.is_bound_as(wanted, claim)) {
            return Ok(entry.listener.as_ref().map(|listener| listener.actual));
        }
        let holder = wanted.filter(|_| claim == AddressClaim::TakeOver);
        let holder = holder.and_then(|wanted| Some((wanted, Arc::clone(holder_of(entries, wanted)?))));
        let opened = match (&holder, route.listen) {
            (Some((binding, name)), _) => Some(share_socket(&entries[name], *binding, route)?),
            (None, Some(address)) => Some(self.open_listener(entries, route, address, claim)?),
            (None, None) => None,
        };
        let (listener, socket) = opened.unzip();
        let actual = listener.as_ref().map(|listener| listener.actual);
        let known = entries.get(&route.service).map(|entry| Ok(Arc::clone(&entry.service)));
        let service = match known.unwrap_or_else(|| make(entries).map(Arc::new)) {
            Ok(service) => service,
            Err(error) => {
                // The socket of a holder stays open.
                listener.filter(|_| holder.is_none()).inspect(|listener| self.close(listener));
                return Err(error);
            }
        };
        if let Some((binding, name)) = &holder
            && let Some(socket) = entries.get_mut(name).and_then(|entry| entry.take_socket(*binding))
        {
            socket.release();
        }
        if let (Some(socket), Some(listener)) = (socket, &listener) {
            self.start_accepting(socket, listener, &service, entries.len());
        }
        let entry = Entry { service, listener, displaced: None };
        if let Some(mut old) = entries.insert(Arc::clone(&route.service), entry) {
            let displaced = holder.and_then(|(_, name)| entries.get_mut(&name)?.displaced.as_mut());
            let mut given_up = old.take_sockets();
            let spare = displaced.and_then(|displaced| displaced.spare.replace(given_up.next()?));
            spare.into_iter().chain(given_up).for_each(|listener| self.close(&listener));
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
        let Some(mut entry) = entries.remove(service) else {
            return false;
        };
        entry.service.close();
        entry.take_sockets().for_each(|listener| self.close(&listener));
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
        let listening =
            entries.iter().flat_map(|(name, entry)| entry.sockets().map(move |it| it.share(name)));
        listening.collect()
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
            entry.take_sockets().for_each(|listener| self.close(&listener));
        }
    }

    /// Drops all listening sockets, which another proxy continues to use.
    pub(crate) fn release_listeners(&self) {
        for entry in self.entries().values_mut() {
            entry.take_sockets().for_each(|listener| listener.release());
        }
    }

    /// Stops listening. As long as this proxy is not open, another one may still use the socket, which is only dropped.
    fn close(&self, listener: &Listener) {
        if self.shared.is_open() { listener.close() } else { listener.release() }
    }

    /// Opens a listening socket, or claims the one that was inherited for it.
    fn open_listener(
        &self,
        entries: &mut BTreeMap<Arc<str>, Entry>,
        route: &ServiceRoute,
        address: SocketAddr,
        claim: AddressClaim,
    ) -> Result<(Listener, ListenerSocket), RouteError> {
        let transport = Transport::of(route.protocol);
        let inherited_socket = {
            let mut inherited = self.inherited();
            let place = inherited.iter().position(|it| it.is_for(transport, &route.service, address));
            place.map(|place| inherited.swap_remove(place).socket)
        };
        let Some(socket) = inherited_socket else {
            return match open(entries, route, address) {
                Err(RouteError::AddressTaken { .. }) if claim == AddressClaim::TakeOver => {
                    self.open_overlapping(entries, route, address)
                }
                opened => opened,
            };
        };
        Listener::of(transport, socket, address).map_err(|source| RouteError::Listen {
            service: Arc::clone(&route.service),
            address,
            source,
        })
    }

    /// Closes the sockets of services that overlap with `address`, and opens one there. After an error they are open as before; none is
    /// closed where another one stays in the way.
    fn open_overlapping(
        &self,
        entries: &mut BTreeMap<Arc<str>, Entry>,
        route: &ServiceRoute,
        address: SocketAddr,
    ) -> Result<(Listener, ListenerSocket), RouteError> {
        let wanted = Binding { transport: Transport::of(route.protocol), address };
        let overlapping =
            |(name, entry): (&Arc<str>, &Entry)| Some((Arc::clone(name), entry.overlapping(wanted)?));
        let overlapping: Vec<_> = entries.iter().filter_map(overlapping).collect();
        // A UDP address is not free before its worker has dropped the socket. Where the system chose the port, the service is not about to leave.
        let stays = |(name, binding): &&(Arc<str>, Binding)| {
            entries[name].is_gateway() || binding.transport == Transport::Udp || binding.address.port() == 0
        };
        if let Some((by, _)) = overlapping.iter().find(stays) {
            let (service, by) = (Arc::clone(&route.service), Arc::clone(by));
            return Err(RouteError::AddressTaken { service, address, by });
        }
        for (name, binding) in &overlapping {
            if let Some(listener) = entries.get_mut(name).and_then(|entry| entry.take_socket(*binding)) {
                self.close(&listener);
            }
        }
        let opened = open(entries, route, address);
        if opened.is_err() {
            for (name, binding) in overlapping {
                self.reopen(entries, &name, binding);
            }
        }
        opened
    }

    /// Lets a service listen again where it was made to stop.
    fn reopen(&self, entries: &mut BTreeMap<Arc<str>, Entry>, name: &Arc<str>, binding: Binding) {
        let nth = entries.len();
        let Some(entry) = entries.get_mut(name).filter(|entry| entry.is_displaced_from(binding)) else {
            return;
        };
        match Listener::open(binding.transport, binding.address) {
            Ok((listener, socket)) => {
                self.start_accepting(socket, &listener, &entry.service, nth);
                (entry.listener, entry.displaced) = (Some(listener), None);
            }
            Err(error) => {
                tracing::error!(service = %name, address = %binding.address, %error, "listener_not_reopened");
            }
        }
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

/// Shares the socket of another service, to be used for `route`.
fn share_socket(
    holder: &Entry,
    binding: Binding,
    route: &ServiceRoute,
) -> Result<(Listener, ListenerSocket), RouteError> {
    let held = holder.sockets().find(|listener| Binding::of(listener) == binding);
    let shared = held.ok_or(io::ErrorKind::NotFound.into()).and_then(Listener::duplicate);
    shared.map_err(|source| RouteError::Listen {
        service: Arc::clone(&route.service),
        address: binding.address,
        source,
    })
}

fn open(
    entries: &BTreeMap<Arc<str>, Entry>,
    route: &ServiceRoute,
    address: SocketAddr,
) -> Result<(Listener, ListenerSocket), RouteError> {
    let service = Arc::clone(&route.service);
    let transport = Transport::of(route.protocol);
    Listener::open(transport, address).map_err(|source| {
        let ours =
            entries.iter().find(|(_, entry)| entry.overlapping(Binding { transport, address }).is_some());
        match (source.kind(), ours) {
            (io::ErrorKind::AddrInUse, Some((by, _))) => {
                RouteError::AddressTaken { service, address, by: Arc::clone(by) }
            }
            (io::ErrorKind::AddrInUse, None) => RouteError::AddressInUse { service, address, source },
            (_, _) => RouteError::Listen { service, address, source },
        }
    })
}
