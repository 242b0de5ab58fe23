//! The state of a service that all workers share: an immutable snapshot for requests, and the members it is made from, behind a lock.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use balance::{Balance, Cause, EndpointId, EndpointSet, HedgePolicy, OutlierPolicy, Verdict};
use tokio::sync::Notify;

use crate::access::Log;
use crate::admission::InFlightCounter;
use crate::clock::Clock;
use crate::connection_limit::ConnectionLimit;
use crate::endpoint::Endpoint;
use crate::listener::Transport;
use crate::log_interval::LogInterval;
use crate::route::{
    ConnectionSpec, EndpointState, Forwarded, HashKey, Limits, NamedPort, Origin, Protocol, ServiceRoute,
    Timeouts,
};
use crate::router::Router;
use crate::shedder::Shedder;
use crate::tls::Terminator;
use crate::traffic::{Counts, Datagrams, ServiceLoad, ServiceTraffic, Shard, ZonePreference, sum};

mod members;

use self::members::{Member, Members};

/// The state of a service that all workers share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) shards: Box<[Shard]>,
    /// Notified after each new snapshot.
    pub(crate) changed: Notify,
    /// Requests that wait for an endpoint.
    pub(crate) waiting: AtomicU32,
    pub(crate) requests_in_flight: InFlightCounter,
    pub(crate) shedder: Shedder,
    /// Of connections without the required PROXY header.
    pub(crate) proxy_header_log: LogInterval,
    /// Terminates the TLS of clients; `None` for a service without TLS.
    terminator: ArcSwapOption<Terminator>,
    /// Where requests of its own listener are logged.
    access_log: ArcSwapOption<Log>,
    /// The routes of its requests, if it is a shared listener without endpoints of its own.
    pub(crate) router: Option<Router>,
    /// Limits the connections of its listener.
    pub(crate) connection_limit: Arc<ConnectionLimit>,
    snapshot: ArcSwap<Snapshot>,
    members: Mutex<Members>,
    closing: AtomicBool,
    /// How often an endpoint was ejected.
    ejections: AtomicU64,
    /// The highest number of requests in [`ServiceLoad`] so far: it is the difference of two counters that are not read atomically, but must not
    /// decrease.
    requests_max: AtomicU64,
    /// When the next ejection or latency window ends, or the next step of a slow start is due, in milliseconds of `clock`; `u64::MAX` for never.
    review_at_ms: AtomicU64,
}

/// What requests need of a service, never changed once published.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Whether clients begin their connections with a PROXY header.
    pub(crate) accepts_proxy_headers: bool,
    /// Whether connections to an endpoint may begin with a PROXY header, for which the addresses of clients are needed.
    pub(crate) sends_proxy_headers: bool,
    /// What is relayed for clients.
    pub(crate) protocol: Protocol,
    pub(crate) balance: Balance,
    pub(crate) hash_key: HashKey,
    pub(crate) outliers: OutlierPolicy,
    pub(crate) limits: Limits,
    pub(crate) hedge: Option<HedgePolicy>,
    pub(crate) timeouts: Timeouts,
    pub(crate) forwarded: Forwarded,
    pub(crate) waiting_max: u32,
    /// In the order of the endpoint set.
    pub(crate) endpoints: Box<[Arc<Endpoint>]>,
    pub(crate) endpoint_set: EndpointSet,
}

/// The port of an endpoint that a request goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndpointPort {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
}

impl Snapshot {
    /// Where an endpoint listens for the named port, or for its main one; `None` when it has no such port, or its main one cannot be reached
    /// over the transport that the service relays.
    pub(crate) fn port_of(&self, endpoint: &Endpoint, port: Option<&str>) -> Option<EndpointPort> {
        let Some(name) = port else {
            let ConnectionSpec { protocol, .. } = endpoint.connection();
            let port = EndpointPort { address: endpoint.address, protocol };
            return (Transport::of(protocol) == Transport::of(self.protocol)).then_some(port);
        };
        let NamedPort { address, protocol, .. } = endpoint.ports.iter().find(|port| *port.name == *name)?;
        Some(EndpointPort { address: *address, protocol: *protocol })
    }
}

impl Service {
    pub(crate) fn new(route: &ServiceRoute, clock: Clock, workers: usize) -> Self {
        Self::over(None, route, clock, workers)
    }

    /// A listener whose requests are routed to other services.
    pub(crate) fn with_router(router: Router, route: &ServiceRoute, clock: Clock, workers: usize) -> Self {
        Self::over(Some(router), route, clock, workers)
    }

    fn over(router: Option<Router>, route: &ServiceRoute, clock: Clock, workers: usize) -> Self {
        let members = Members::new(route, clock.now(), workers);
        let shedder = Shedder::default();
        shedder.set_policy(route.limits.adaptive, clock.now());
        Self {
            name: Arc::clone(&route.service),
            clock,
            shards: Shard::per_worker(workers),
            changed: Notify::new(),
            waiting: AtomicU32::new(0),
            requests_in_flight: InFlightCounter::default(),
            shedder,
            proxy_header_log: LogInterval::default(),
            terminator: ArcSwapOption::empty(),
            access_log: ArcSwapOption::empty(),
            router,
            connection_limit: ConnectionLimit::unlimited(),
            snapshot: ArcSwap::from_pointee(members.snapshot(clock.now())),
            members: Mutex::new(members),
            closing: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
            requests_max: AtomicU64::new(0),
            review_at_ms: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn terminator(&self) -> Option<Arc<Terminator>> {
        self.terminator.load_full()
    }

    /// Sets how the TLS of new clients is terminated.
    pub(crate) fn set_terminator(&self, terminator: Option<Arc<Terminator>>) {
        self.terminator.store(terminator);
    }

    pub(crate) fn access_log(&self) -> Option<Arc<Log>> {
        self.access_log.load_full()
    }

    /// Sets where requests are logged from now on.
    pub(crate) fn set_access_log(&self, log: Option<Arc<Log>>) {
        self.access_log.store(log);
    }

    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Applies a changed route; endpoints with the same id and address keep their connections and counters.
    pub(crate) fn update(&self, route: &ServiceRoute) {
        let mut members = self.members();
        members.update(route, self.clock.now(), self.shards.len());
        self.shedder.set_policy(route.limits.adaptive, self.clock.now());
        self.publish(&mut members);
    }

    /// Changes the state of one endpoint; `false`, and nothing changes, if there is no such endpoint.
    pub(crate) fn set_state(&self, id: EndpointId, state: EndpointState) -> bool {
        let mut members = self.members();
        let Some(member) = members.current.iter_mut().find(|m| m.endpoint.id == id) else {
            return false;
        };
        if member.endpoint.state() != state {
            member.set_state(state, self.clock.now());
            self.publish(&mut members);
        }
        true
    }

    /// The endpoint with that id, even if it has left the route and still answers something.
    pub(crate) fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        let members = self.members();
        members.all().find(|e| e.id == id).cloned()
    }

    /// Records a failure of an endpoint; several in a row eject it.
    pub(crate) fn record_failure(&self, endpoint: &Endpoint, outliers: &OutlierPolicy, latency: Duration) {
        let in_a_row = endpoint.failed(self.clock.now(), latency);
        // An endpoint that may not be ejected now is considered again only after the same number of further failures.
        if outliers.trips(in_a_row) && in_a_row.is_multiple_of(outliers.failures_in_a_row.max(1)) {
            self.eject(endpoint.id, Cause::Failures { in_a_row });
        }
    }

    /// Ejects an endpoint, unless as many as allowed are ejected already.
    fn eject(&self, id: EndpointId, cause: Cause) {
        let mut members = self.members();
        let verdict = members.outliers.eject(self.clock.now(), id, cause);
        if self.apply_verdict(&members, id, verdict) {
            self.publish(&mut members);
        }
    }

    /// Ejects endpoints that were too slow, if a latency window is over.
    fn eject_slow(&self, members: &mut Members) {
        let now = self.clock.now();
        let Members { latency_windows: Some(windows), current, outliers, .. } = members else { return };
        let Some(latencies) = windows.end_if_due(now, current.iter().map(|m| &m.endpoint)) else { return };
        for (id, verdict) in outliers.eject_slow(now, &latencies) {
            self.apply_verdict(members, id, verdict);
        }
    }

    /// Logs the verdict on an endpoint, and counts an ejection; returns whether it was ejected.
    fn apply_verdict(&self, members: &Members, id: EndpointId, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Ejected { .. } => {
                let ejection = members.outliers.ejection(self.clock.now(), id);
                let lasting = ejection.map(|it| tracing::field::debug(it.until - it.since));
                let cause = ejection.map(|it| tracing::field::display(it.cause));
                let member = members.current.iter().find(|m| m.endpoint.id == id);
                let address = member.map(|m| tracing::field::display(m.endpoint.address));
                tracing::debug!(service = %self.name, endpoint = %id, address, lasting, reason = cause, "endpoint_ejected");
                self.ejections.fetch_add(1, Ordering::Relaxed);
                member.inspect(|m| m.endpoint.ejected());
                true
            }
            Verdict::NotEjected(reason) => {
                tracing::debug!(service = %self.name, endpoint = %id, ?reason, "endpoint_not_ejected");
                false
            }
        }
    }

    /// Does what is due: ends ejections, ejects slow endpoints, continues slow starts. Cheap while nothing is due.
    pub(crate) fn review(&self) {
        let is_due = || self.clock.now().as_millis() as u64 >= self.review_at_ms.load(Ordering::Relaxed);
        if is_due() {
            let mut members = self.members();
            // Another worker may have been first.
            if is_due() {
                self.eject_slow(&mut members);
                self.publish(&mut members);
            }
        }
    }

    pub(crate) fn close(&self) {
        let members = self.members();
        members.current.iter().for_each(|m| m.endpoint.set_state(EndpointState::Out));
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the listener if it waits for a permit, so that it notices that the socket no longer listens.
        self.connection_limit.set_max(usize::MAX);
        drop(members);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn traffic(&self) -> ServiceTraffic {
        let mut members = self.members();
        members.remove_drained();
        let now = self.clock.now();
        let (endpoints, elsewhere): (Vec<_>, Vec<_>) = members.with_leaving().partition(|m| m.is_replica());
        let traffic = |all: Vec<&Member>| all.into_iter().map(|m| members.traffic(m, now)).collect();
        let is_udp = members.route.protocol == Protocol::Udp;
        let datagrams = is_udp.then(|| datagrams(&self.shards, members.in_flight()));
        ServiceTraffic {
            service: Arc::clone(&self.name),
            counts: Counts { ejections: self.ejections.load(Ordering::Relaxed), ..sum(&self.shards) },
            unavailable: self.shards.iter().map(|s| s.unavailable.get()).sum(),
            over_limit: self.shards.iter().map(|s| s.over_limit.get()).sum(),
            shed: self.shards.iter().map(|s| s.shed.get()).sum(),
            hedges: self.shards.iter().map(|s| s.hedges.get()).sum(),
            hedges_won: self.shards.iter().map(|s| s.hedges_won.get()).sum(),
            adaptive: self.shedder.adaptive(),
            malformed: self.shards.iter().map(|s| s.malformed.get()).sum(),
            proxy_header_failures: self.shards.iter().map(|s| s.proxy_header_failures.get()).sum(),
            handshake_failures: self.shards.iter().map(|s| s.handshake_failures.get()).sum(),
            broken_off: self.shards.iter().map(|s| s.broken_off.get()).sum(),
            datagrams,
            waiting: self.waiting.load(Ordering::Relaxed),
            endpoints: traffic(endpoints),
            elsewhere: traffic(elsewhere),
            preference: members.route.preferred_zone.as_ref().map(|zone| ZonePreference {
                zone: Arc::clone(zone),
                share: self.snapshot().endpoint_set.near_share(),
            }),
            versions: members.gone.with(members.all().filter(|e| e.origin == Origin::Replica)),
        }
    }

    pub(crate) fn load(&self) -> ServiceLoad {
        let members = self.members();
        let replicas = members.all().filter(|e| e.origin == Origin::Replica);
        let requests = self.shards.iter().map(|s| s.requests.get().saturating_sub(s.elsewhere.get())).sum();
        ServiceLoad {
            requests: self.requests_max.fetch_max(requests, Ordering::Relaxed).max(requests),
            waiting: self.waiting.load(Ordering::Relaxed),
            in_flight: replicas.map(|e| e.in_flight()).sum(),
        }
    }

    fn publish(&self, members: &mut Members) {
        let now = self.clock.now();
        members.outliers.review(now);
        self.snapshot.store(Arc::new(members.snapshot(now)));
        let next = members.next_deadline(now).map_or(u64::MAX, |at| at.as_nanos().div_ceil(1_000_000) as u64);
        self.review_at_ms.store(next, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// A poisoned lock does no harm: each change ends in a new snapshot.
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn datagrams(shards: &[Shard], sessions: u32) -> Datagrams {
    let mut sum = Datagrams { sessions, ..Datagrams::default() };
    for shard in shards {
        sum.received += shard.datagrams_in.get();
        sum.sent += shard.datagrams_out.get();
        sum.dropped += shard.datagrams_dropped.get();
        sum.bytes_received += shard.bytes_in.get();
        sum.bytes_sent += shard.bytes_out.get();
    }
    sum
}
