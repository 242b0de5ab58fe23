//! A worker's own state of a service: balancer, retry budget and idle connections, which are shared with no other worker.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use balance::{Balancer, Failure, Hedger, PickError, Retry, RetryBudget, Status, Tried, may_retry};
use rand_core::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, InFlight, Refused};
use crate::proxy_protocol::OutgoingHeader;
use crate::route::{EndpointState, Origin};
use crate::router::LocalRouter;
use crate::service::{Service, Snapshot};
use crate::traffic::Shard;
use crate::upstream::Http1Connection;
use crate::upstream::{Http2Pool, Http2Stream, unpooled_stream};
use crate::worker::Worker;

/// Idle connections that one worker keeps to one address of an endpoint.
///
/// 64 is usual for nginx (`keepalive 64`); a worker with more requests in flight opens further ones.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// A snapshot as the requests of one worker hold it. The inner reference count is written by all workers, and its cache line would move between
/// processors several times for each request; the outer one is the worker's own.
pub(crate) type SnapshotRef = Rc<Arc<Snapshot>>;

/// A worker's own state of a service.
#[derive(Debug)]
pub(crate) struct LocalService {
    pub(crate) service: Arc<Service>,
    /// The routes of its requests, if it is a shared listener without endpoints of its own.
    pub(crate) router: Option<LocalRouter>,
    /// The index of the worker.
    worker: usize,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    snapshot: SnapshotRef,
    balancer: Balancer,
    budget: RetryBudget,
    hedger: Option<Hedger>,
    rng: Xoshiro256PlusPlus,
    /// Of the serving endpoints of the snapshot that were used.
    pools: Vec<Pool>,
}

/// The connections to one address of an endpoint.
#[derive(Debug)]
struct Pool {
    endpoint: Arc<Endpoint>,
    address: SocketAddr,
    #[expect(
        clippy::vec_box,
        reason = "a connection is over 500 bytes and moves in and out for every request"
    )]
    idle: Vec<Box<Http1Connection>>,
    /// If the endpoint speaks HTTP/2 there.
    http2: Http2Pool,
}

impl LocalService {
    pub(crate) fn new(service: Arc<Service>, worker: usize, mut rng: Xoshiro256PlusPlus) -> Rc<Self> {
        let seed = rng.next_u64();
        let snapshot = SnapshotRef::new(Arc::clone(&service.snapshot()));
        let state = State {
            balancer: Balancer::new(snapshot.balance, &snapshot.endpoint_set),
            budget: RetryBudget::new(service.clock.now()),
            hedger: None,
            rng,
            pools: Vec::new(),
            snapshot: Rc::clone(&snapshot),
        };
        let router = service.router.is_some().then(|| LocalRouter::new(Arc::clone(&service), seed));
        let local = Rc::new(Self { service, router, worker, state: RefCell::new(state) });
        local.state.borrow_mut().adopt(snapshot);
        local
    }

    /// The latest snapshot of the service.
    pub(crate) fn snapshot(&self) -> SnapshotRef {
        let mut state = self.state.borrow_mut();
        state.refresh(&self.service);
        Rc::clone(&state.snapshot)
    }

    /// Chooses an endpoint that has the `port`, or any if that is `None`, and counts the request as in flight there. `key` is for consistent
    /// hashing.
    pub(crate) fn choose(
        &self,
        tried: &Tried,
        port: Option<&str>,
        key: impl Fn() -> u64,
        now: Duration,
    ) -> Result<InFlight, PickError> {
        self.choose_but(&[], tried, port, &key, now)
    }

    /// As [`choose`](Self::choose), for a request for a WebSocket: endpoints that are known to refuse those are left out as long as there are
    /// others.
    pub(crate) fn choose_for_websocket(
        &self,
        tried: &Tried,
        port: Option<&str>,
        key: impl Fn() -> u64,
        now: Duration,
    ) -> Result<InFlight, PickError> {
        let without: Vec<SocketAddr> = {
            let pools = &self.state.borrow().pools;
            pools.iter().filter(|pool| pool.http2.refuses_websockets()).map(|pool| pool.address).collect()
        };
        match self.choose_but(&without, tried, port, &key, now) {
            // The settings of a new connection may differ.
            Err(PickError::Exhausted) if !without.is_empty() => self.choose_but(&[], tried, port, &key, now),
            chosen => chosen,
        }
    }

    fn choose_but(
        &self,
        left_out: &[SocketAddr],
        tried: &Tried,
        port: Option<&str>,
        key: &impl Fn() -> u64,
        now: Duration,
    ) -> Result<InFlight, PickError> {
        let state = &mut *self.state.borrow_mut();
        loop {
            state.refresh(&self.service);
            let State { snapshot, balancer, rng, .. } = &mut *state;
            let load = |candidate: usize| snapshot.endpoints[candidate].load(now);
            let may = |candidate: usize| {
                let endpoint = &snapshot.endpoints[candidate];
                let port = snapshot.port_of(endpoint, port);
                // One that has just stopped serving is still in a snapshot that is about to be replaced.
                endpoint.state() == EndpointState::Serving
                    && port.is_some_and(|port| !left_out.contains(&port.address))
            };
            let candidate = balancer.pick_among(&snapshot.endpoint_set, tried, rng, key, load, may)?;
            match snapshot.endpoints[candidate].begin(|in_flight| snapshot.endpoint_set.has_room(in_flight)) {
                Ok(in_flight) => return Ok(in_flight),
                // Its state has changed since it was chosen, or another worker was faster; the next choice sees that.
                Err(Refused::NotServing | Refused::Full) => {}
            }
        }
    }

    /// Counts a request whose first endpoint is an external one. `was_attempted` belongs to the request, and survives its waits and retries.
    pub(crate) fn count_elsewhere(&self, to: &Endpoint, was_attempted: &Cell<bool>) {
        if !was_attempted.replace(true) && to.origin == Origin::Elsewhere {
            self.service.shards[self.worker].elsewhere.add(1);
        }
    }

    /// The worker's counters of an endpoint, and of the service.
    pub(crate) fn shards_of<'a>(&'a self, endpoint: &'a Endpoint) -> [&'a Shard; 2] {
        [&endpoint.shards[self.worker], &self.service.shards[self.worker]]
    }

    /// Whether there is an endpoint with the `port`, or any if that is `None`, that may get a request.
    pub(crate) fn has_endpoint(&self, port: Option<&str>) -> bool {
        let snapshot = self.snapshot();
        let mut candidates = snapshot.endpoint_set.candidates().iter().zip(&snapshot.endpoints);
        candidates.any(|(candidate, endpoint)| {
            candidate.status.may_get()
                && endpoint.state() == EndpointState::Serving
                && snapshot.port_of(endpoint, port).is_some()
        })
    }

    /// Adds a new request to the retry budget.
    pub(crate) fn deposit(&self, now: Duration) {
        self.state.borrow_mut().budget.deposit(now);
    }

    /// Whether a failed request may be sent again; takes the retry from the budget.
    pub(crate) fn may_retry(&self, failure: &Failure, now: Duration) -> Retry {
        may_retry(failure, &mut self.state.borrow_mut().budget, now)
    }

    /// Counts a new request that may be hedged; returns after what time it should be, if at all.
    pub(crate) fn hedge_delay(&self) -> Option<Duration> {
        self.state.borrow_mut().hedger.as_mut()?.admit()
    }

    /// Records the latency of a request that may be hedged.
    pub(crate) fn answered_in(&self, latency: Duration) {
        if let Some(hedger) = &mut self.state.borrow_mut().hedger {
            hedger.observe(latency);
        }
    }

    /// Chooses a second endpoint as [`choose`](Self::choose) does, one that serves and is not ejected. `None` when there is none, or when the
    /// budget of hedges is spent.
    pub(crate) fn hedge(
        &self,
        tried: &Tried,
        port: Option<&str>,
        key: impl Fn() -> u64,
        now: Duration,
    ) -> Option<InFlight> {
        let in_flight = self.choose(tried, port, key, now).ok()?;
        let State { snapshot, hedger, budget, .. } = &mut *self.state.borrow_mut();
        let id = in_flight.endpoint().id;
        let mut candidates = snapshot.endpoint_set.candidates().iter();
        let is_well = candidates.any(|candidate| candidate.id == id && candidate.status == Status::Serving);
        (is_well && hedger.as_mut()?.withdraw(budget, now)).then_some(in_flight)
    }

    /// The most recently used idle connection to an address of an endpoint that began with this PROXY header.
    pub(crate) fn take_idle(
        &self,
        endpoint: &Arc<Endpoint>,
        address: SocketAddr,
        proxy_header: Option<OutgoingHeader>,
    ) -> Option<Box<Http1Connection>> {
        let state = &mut *self.state.borrow_mut();
        let idle = &mut state.pool(endpoint, address)?.idle;
        let at = idle.iter().rposition(|connection| connection.proxy_header == proxy_header)?;
        Some(idle.remove(at))
    }

    /// Keeps an idle connection, unless its endpoint has stopped serving or there are enough.
    pub(crate) fn put_idle(
        &self,
        endpoint: &Arc<Endpoint>,
        mut connection: Box<Http1Connection>,
        now: Instant,
    ) {
        let state = &mut *self.state.borrow_mut();
        state.refresh(&self.service);
        connection.idle_since = now;
        let pool = state.pool(endpoint, connection.address);
        if let Some(pool) = pool.filter(|pool| pool.idle.len() < IDLE_CONNECTIONS_MAX) {
            pool.idle.push(connection);
        }
    }

    /// A stream of an HTTP/2 connection to an address of an endpoint. With `checks_open` the system is queried whether the connection is still open.
    pub(crate) fn take_stream(
        &self,
        worker: &Worker,
        endpoint: &Arc<Endpoint>,
        address: SocketAddr,
        checks_open: bool,
    ) -> Http2Stream {
        let state = &mut *self.state.borrow_mut();
        let timeout = state.snapshot.timeouts.connect;
        match state.pool(endpoint, address) {
            Some(pool) => pool.http2.stream(worker, address, timeout, checks_open),
            None => unpooled_stream(worker, address, timeout),
        }
    }

    /// Adopts the latest snapshot, and closes idle connections to endpoints that have stopped serving.
    pub(crate) fn refresh(&self) {
        if let Some(router) = &self.router {
            router.refresh();
        }
        self.state.borrow_mut().refresh(&self.service);
    }

    /// Closes idle connections that are too old, or that the endpoint has closed.
    pub(crate) fn sweep(&self, now: Instant) {
        let state = &mut *self.state.borrow_mut();
        let keep = state.snapshot.timeouts.upstream_idle;
        for pool in &mut state.pools {
            pool.idle.retain_mut(|connection| {
                now.saturating_duration_since(connection.idle_since) < keep && connection.is_open_when_idle()
            });
            pool.http2.sweep(now, keep);
        }
    }

    pub(crate) fn has_idle_connections(&self) -> bool {
        self.state.borrow().pools.iter().any(|pool| !pool.idle.is_empty() || !pool.http2.is_empty())
    }
}

impl State {
    fn refresh(&mut self, service: &Service) {
        let latest = service.snapshot();
        if !Arc::ptr_eq(&latest, &self.snapshot) {
            self.adopt(SnapshotRef::new(Arc::clone(&latest)));
        }
    }

    fn adopt(&mut self, snapshot: SnapshotRef) {
        self.balancer.adopt(snapshot.balance, &snapshot.endpoint_set);
        if self.hedger.as_ref().map(Hedger::policy) != snapshot.hedge {
            self.hedger = snapshot.hedge.map(Hedger::new);
        }
        let is_there =
            |endpoint: &Arc<Endpoint>| snapshot.endpoints.iter().any(|known| Arc::ptr_eq(known, endpoint));
        self.pools.retain(|pool| pool.endpoint.state() == EndpointState::Serving && is_there(&pool.endpoint));
        self.snapshot = snapshot;
    }

    /// The pool for an address of an endpoint; `None` unless the endpoint serves.
    fn pool(&mut self, endpoint: &Arc<Endpoint>, address: SocketAddr) -> Option<&mut Pool> {
        if endpoint.state() != EndpointState::Serving {
            return None;
        }
        let is_it = |pool: &Pool| pool.address == address && Arc::ptr_eq(&pool.endpoint, endpoint);
        let at = self.pools.iter().position(is_it).unwrap_or_else(|| {
            let (endpoint, idle, http2) = (Arc::clone(endpoint), Vec::new(), Http2Pool::default());
            self.pools.push(Pool { endpoint, address, idle, http2 });
            self.pools.len() - 1
        });
        self.pools.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use balance::EndpointId;
    use rand_core::SeedableRng;

    use super::*;
    use crate::clock::Clock;
    use crate::route::{EndpointRoute, ServiceRoute};

    /// More endpoints than a request remembers that it has tried.
    #[test]
    fn a_request_of_a_removed_service_finds_no_endpoint_however_many_there_were() {
        let (report, reported) = mpsc::channel();
        // On a thread of its own, so that a choice that does not end fails this test.
        std::thread::spawn(move || {
            let mut route = ServiceRoute::without_listener("shop");
            let endpoint = |ordinal| {
                EndpointRoute::new(EndpointId { ordinal, incarnation: 1 }, ([127, 0, 0, 1], 1).into())
            };
            route.endpoints = (0..20).map(endpoint).collect();
            let service = Arc::new(Service::new(&route, Clock::start(), 1));
            let local = LocalService::new(Arc::clone(&service), 0, Xoshiro256PlusPlus::seed_from_u64(1));
            service.close();
            let chosen = local.choose(&Tried::NONE, None, || 0, Duration::ZERO).map(drop);
            report.send((chosen, local.has_endpoint(None))).unwrap();
        });
        let reported = reported.recv_timeout(Duration::from_secs(30));
        assert_eq!(reported, Ok((Err(PickError::Exhausted), false)));
    }
}
