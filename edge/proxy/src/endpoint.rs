//! One endpoint, as all workers share it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use balance::{EndpointId, Load, PeakEwma};
use tokio::sync::Notify;

use crate::admission::InFlightPermit;
use crate::proxy_protocol::{OutgoingHeader, ProxiedAddresses};
use crate::route::{ConnectionSpec, EndpointRoute, EndpointState, NamedPort, Origin, Protocol, ProxyVersion};
use crate::traffic::{Counts, Shard, sum};

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) origin: Origin,
    pub(crate) address: SocketAddr,
    /// Its ports that a route can name.
    pub(crate) ports: Arc<[NamedPort]>,
    pub(crate) version: u64,
    pub(crate) shards: Box<[Shard]>,
    state: AtomicU8,
    /// How connections to it begin, see [`encode`].
    connection: AtomicU8,
    in_flight: AtomicU32,
    /// A [`PeakEwma`]. Two workers may overwrite each other's sample: a mean tolerates the loss of one.
    latency: AtomicU64,
    failures_in_a_row: AtomicU32,
    ejections: AtomicU64,
    /// Notified when the last request of an endpoint that is not serving ends.
    drained: Notify,
}

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const OUT: u8 = 2;

impl Endpoint {
    pub(crate) fn new(route: &EndpointRoute, workers: usize) -> Self {
        Self {
            id: route.id,
            origin: route.origin,
            address: route.address,
            ports: Arc::clone(&route.ports),
            version: route.version,
            shards: Shard::per_worker(workers),
            state: AtomicU8::new(OUT),
            connection: AtomicU8::new(encode(route.connection.unwrap_or_default())),
            in_flight: AtomicU32::new(0),
            latency: AtomicU64::new(PeakEwma::default().to_bits()),
            failures_in_a_row: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            drained: Notify::new(),
        }
    }

    /// Whether `route` describes this endpoint, perhaps with another version, zone, weight, state or connection.
    pub(crate) fn matches(&self, route: &EndpointRoute) -> bool {
        self.id == route.id
            && self.origin == route.origin
            && self.address == route.address
            && self.ports == route.ports
    }

    pub(crate) fn state(&self) -> EndpointState {
        match self.state.load(Ordering::SeqCst) {
            SERVING => EndpointState::Serving,
            DRAINING => EndpointState::Draining,
            _ => EndpointState::Out,
        }
    }

    pub(crate) fn set_state(&self, state: EndpointState) {
        let state = match state {
            EndpointState::Serving => SERVING,
            EndpointState::Draining => DRAINING,
            EndpointState::Out => OUT,
        };
        self.state.store(state, Ordering::SeqCst);
    }

    /// How connections to it begin.
    pub(crate) fn connection(&self) -> ConnectionSpec {
        decode(self.connection.load(Ordering::Relaxed))
    }

    /// The PROXY header of a connection to it on behalf of a client with these addresses; `None` when it expects none.
    pub(crate) fn proxy_header(&self, addresses: Option<ProxiedAddresses>) -> Option<OutgoingHeader> {
        self.connection().proxy_header.map(|version| OutgoingHeader { version, addresses })
    }

    /// Sets how connections to it begin from now on.
    pub(crate) fn set_connection(&self, connection: ConnectionSpec) {
        self.connection.store(encode(connection), Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Begins a request, unless the endpoint has just stopped serving or is full.
    ///
    /// The count is incremented before the state is read, and a drain writes the state before it reads the count, both in
    /// one total order. So either the request sees the drain or the drain sees the request.
    pub(crate) fn begin(self: &Arc<Self>, accepts: impl FnOnce(u32) -> bool) -> Result<InFlight, Refused> {
        let before = self.in_flight.fetch_add(1, Ordering::SeqCst);
        let in_flight = InFlight { endpoint: Arc::clone(self), permit: None };
        if self.state.load(Ordering::SeqCst) != SERVING {
            return Err(Refused::NotServing);
        }
        if accepts(before) { Ok(in_flight) } else { Err(Refused::Full) }
    }

    pub(crate) fn load(&self, now: Duration) -> Load {
        Load {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            latency_us: PeakEwma::from_bits(self.latency.load(Ordering::Relaxed)).read(now),
        }
    }

    /// Records a good answer.
    pub(crate) fn succeeded(&self, now: Duration, latency: Duration) {
        self.observe(|mean| mean.observe(now, latency));
        // Read first: a store on every request would make all workers contend for the cache line.
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Records a bad answer or none; returns how many there were in a row.
    pub(crate) fn failed(&self, now: Duration, latency: Duration) -> u32 {
        self.observe(|mean| mean.observe_failure(now, latency));
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Records that another endpoint has answered first. The answer of this one is unknown.
    pub(crate) fn lost_race(&self, now: Duration, latency: Duration) {
        self.observe(|mean| mean.observe_failure(now, latency));
    }

    /// Counts an ejection, and resets the failures in a row, so that the endpoint starts at zero when it returns.
    pub(crate) fn ejected(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.failures_in_a_row.store(0, Ordering::Relaxed);
    }

    /// The sums of its counters.
    pub(crate) fn counts(&self) -> Counts {
        Counts { ejections: self.ejections.load(Ordering::Relaxed), ..sum(&self.shards) }
    }

    fn observe(&self, fold: impl FnOnce(PeakEwma) -> PeakEwma) {
        let mean = PeakEwma::from_bits(self.latency.load(Ordering::Relaxed));
        self.latency.store(fold(mean).to_bits(), Ordering::Relaxed);
    }

    /// Returns once no request is in flight.
    pub(crate) async fn wait_until_drained(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Registered before the count is read, so that no end in between is missed.
            drained.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            drained.await;
        }
    }
}

/// A connection as a number: the protocol in the two lowest bits, the version of the PROXY header above them.
const fn encode(connection: ConnectionSpec) -> u8 {
    let protocol = match connection.protocol {
        Protocol::Http1 => 0,
        Protocol::Tcp => 1,
        Protocol::Udp => 2,
        Protocol::Http2 => 3,
    };
    let header = match connection.proxy_header {
        None => 0,
        Some(ProxyVersion::V1) => 1,
        Some(ProxyVersion::V2) => 2,
    };
    protocol | header << 2
}

const fn decode(number: u8) -> ConnectionSpec {
    let protocol = match number & 3 {
        0 => Protocol::Http1,
        1 => Protocol::Tcp,
        2 => Protocol::Udp,
        _ => Protocol::Http2,
    };
    let proxy_header = match number >> 2 {
        0 => None,
        1 => Some(ProxyVersion::V1),
        _ => Some(ProxyVersion::V2),
    };
    ConnectionSpec { protocol, proxy_header }
}

/// Why an endpoint does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotServing,
    Full,
}

/// Counts a request that an endpoint is answering until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    endpoint: Arc<Endpoint>,
    /// For a tunnel, which outlives its exchange.
    permit: Option<InFlightPermit>,
}

impl InFlight {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The same, holding the `permit` as well.
    pub(crate) fn with_permit(mut self, permit: Option<InFlightPermit>) -> Self {
        self.permit = permit;
        self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let was = self.endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(was > 0, "more requests ended than began");
        if was == 1 && self.endpoint.state.load(Ordering::SeqCst) != SERVING {
            self.endpoint.drained.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn serving() -> Arc<Endpoint> {
        let id = EndpointId { ordinal: 0, incarnation: 0 };
        let endpoint = Endpoint::new(&EndpointRoute::new(id, "127.0.0.1:1".parse().unwrap()), 1);
        endpoint.set_state(EndpointState::Serving);
        Arc::new(endpoint)
    }

    #[test]
    fn every_connection_is_read_as_it_was_set() {
        let endpoint = serving();
        for protocol in [Protocol::Http1, Protocol::Tcp, Protocol::Udp, Protocol::Http2] {
            for proxy_header in [None, Some(ProxyVersion::V1), Some(ProxyVersion::V2)] {
                let connection = ConnectionSpec { protocol, proxy_header };
                endpoint.set_connection(connection);
                assert_eq!(endpoint.connection(), connection);
            }
        }
    }

    #[test]
    fn only_a_serving_endpoint_gets_requests() {
        let endpoint = serving();
        assert!(endpoint.begin(|_| true).is_ok());
        for state in [EndpointState::Draining, EndpointState::Out] {
            endpoint.set_state(state);
            assert_eq!(endpoint.begin(|_| true).unwrap_err(), Refused::NotServing);
        }
        assert_eq!(endpoint.in_flight(), 0);
    }

    #[test]
    fn no_request_is_in_flight_once_an_endpoint_is_drained() {
        let (endpoint, is_gone, is_over) = (serving(), AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    if let Ok(in_flight) = endpoint.begin(|_| true) {
                        assert!(!is_gone.load(Ordering::SeqCst), "a request on an endpoint that was removed");
                        drop(in_flight);
                    }
                }
            });
            for _ in 0..20_000 {
                endpoint.set_state(EndpointState::Draining);
                while endpoint.in_flight() > 0 {
                    std::hint::spin_loop();
                }
                is_gone.store(true, Ordering::SeqCst);
                is_gone.store(false, Ordering::SeqCst);
                endpoint.set_state(EndpointState::Serving);
            }
            is_over.store(true, Ordering::SeqCst);
        });
    }
}
