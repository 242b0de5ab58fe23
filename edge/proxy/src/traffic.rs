//! The counters of the proxy, as other crates read them.

mod histogram;
mod shard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balance::{Cause, EndpointId, Ramp, Share, Weight};

pub use self::histogram::Histogram;
pub(crate) use self::shard::{Counter, RouteShard, Shard, sum};
use crate::route::EndpointState;

#[cfg(test)]
mod tests;

/// The traffic of one service since it was first set; all numbers only grow, except those that are about now.
#[derive(Debug, Clone, Default)]
pub struct ServiceTraffic {
    /// Its name.
    pub service: Arc<str>,
    /// As clients saw it: each request once, with the final status and the whole latency.
    pub counts: Counts,
    /// Requests answered 503 because no endpoint was ready in time or too many waited.
    pub unavailable: u64,
    /// Requests answered 503 because as many as allowed were in flight, to the service or to each of its endpoints.
    pub over_limit: u64,
    /// Requests answered 503 because more requests awaiting an answer would have slowed down all of them.
    pub shed: u64,
    /// Requests that were sent to a second endpoint because the first took long.
    pub hedges: u64,
    /// Those of them that the second endpoint answered first.
    pub hedges_won: u64,
    /// The adaptive limit of requests that await an answer; `None` if there is none.
    pub adaptive: Option<AdaptiveState>,
    /// Connections closed because what was received was not HTTP.
    pub malformed: u64,
    /// Connections closed because they did not begin with the required PROXY header, or not in time.
    pub proxy_header_failures: u64,
    /// TLS handshakes that failed: what was received was not TLS, no parameters were agreed on, or it timed out.
    pub handshake_failures: u64,
    /// Responses below 500 that ended prematurely: a failure for their clients that no status shows.
    pub broken_off: u64,
    /// The datagrams of a service of UDP; `None` for others.
    pub datagrams: Option<Datagrams>,
    /// Requests that wait for an endpoint now.
    pub waiting: u32,
    /// Per replica, including those that have left but still have requests in flight.
    pub endpoints: Vec<EndpointTraffic>,
    /// Per external endpoint, likewise. Their requests are not load of the replicas.
    pub elsewhere: Vec<EndpointTraffic>,
    /// The preferred zone; `None` without a preference.
    pub preference: Option<ZonePreference>,
    /// Per version, oldest first, including some recent ones that have no endpoint any more.
    pub versions: Vec<VersionTraffic>,
}

/// The preference of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonePreference {
    /// The zone.
    pub zone: Arc<str>,
    /// The share of the requests that stays in it now.
    pub share: Share,
}

/// Datagrams of one service since it was first set, and its present sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Received from clients.
    pub received: u64,
    /// Sent to clients.
    pub sent: u64,
    /// Dropped in either direction: no endpoint was ready in time, there were as many sessions as allowed, or the system did not accept them.
    pub dropped: u64,
    /// Bytes received from clients.
    pub bytes_received: u64,
    /// Bytes sent to clients.
    pub bytes_sent: u64,
    /// Clients with a session now.
    pub sessions: u32,
}

/// The traffic of the endpoints of one version, including those that are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionTraffic {
    /// Which version, as its endpoints are declared.
    pub version: u64,
    /// Endpoints of it that get requests now.
    pub serving: usize,
    /// Requests that its endpoints answer now.
    pub in_flight: u32,
    /// Each attempt at a request once.
    pub counts: Counts,
}

impl ServiceTraffic {
    /// Requests that failed for their clients, each once: answered 5xx, by an endpoint or because there was none, or ended prematurely. One that
    /// succeeded after a retry did not fail.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.counts.status[4] + self.broken_off
    }
}

impl Counts {
    /// Adds other counts.
    pub fn merge(&mut self, more: &Self) {
        self.requests += more.requests;
        self.status.iter_mut().zip(more.status).for_each(|(sum, more)| *sum += more);
        self.latency.merge(&more.latency);
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.retries += more.retries;
        self.connect_failures += more.connect_failures;
        self.failures += more.failures;
        self.abandoned += more.abandoned;
        if let Some(more) = &more.abandoned_after {
            self.abandoned_after.get_or_insert_default().merge(more);
        }
        self.ejections += more.ejections;
    }

    /// How long requests took until they were answered or abandoned. A quantile is a lower bound if requests were abandoned.
    #[must_use]
    pub fn durations(&self) -> Histogram {
        let mut durations = self.latency.clone();
        self.abandoned_after.iter().for_each(|more| durations.merge(more));
        durations
    }

    /// Attempts at an endpoint that it answered 5xx or not at all, or for which it could not be reached.
    #[must_use]
    pub fn failed_attempts(&self) -> u64 {
        self.status[4] + self.failures + self.connect_failures
    }
}

/// The state of a service's adaptive limit of requests that await the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveState {
    /// How many may.
    pub limit: u32,
    /// How many do.
    pub awaiting: u32,
    /// The best latency of the service, which the limit is derived from; `None` before it was measured.
    pub best: Option<Duration>,
}

/// The load of the replicas of one service as a whole, even if it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceLoad {
    /// Requests since it was first set, without those that went first to an external endpoint.
    pub requests: u64,
    /// Requests that wait for an endpoint now.
    pub waiting: u32,
    /// Requests that replicas answer now, tunnels included.
    pub in_flight: u32,
}

/// The traffic of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointTraffic {
    /// Which endpoint.
    pub id: EndpointId,
    /// Where it listens.
    pub address: SocketAddr,
    /// The zone that it is in; `None` if that is not known.
    pub zone: Option<Arc<str>>,
    /// Its share of the traffic.
    pub weight: Weight,
    /// Its state now.
    pub state: EndpointState,
    /// Its present ejection; `None` if it is not ejected.
    pub ejection: Option<Ejection>,
    /// How far it is in its slow start.
    pub ramp: Ramp,
    /// Requests that it answers now.
    pub in_flight: u32,
    /// Each attempt at a request once.
    pub counts: Counts,
}

impl EndpointTraffic {
    /// Whether it is ejected now.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejection.is_some()
    }
}

/// The ejection of an endpoint, relative to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// How long ago it was ejected.
    pub ago: Duration,
    /// After what time it returns.
    pub left: Duration,
    /// How often it was ejected in this life, this time included.
    pub times: u32,
    /// Why it was this time.
    pub cause: Cause,
}

/// Sums over requests (of a service) or attempts (of an endpoint).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Begun.
    pub requests: u64,
    /// Responses by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub status: [u64; 5],
    /// From the request's head to the end of the response.
    pub latency: Histogram,
    /// Of request bodies.
    pub bytes_in: u64,
    /// Of response bodies.
    pub bytes_out: u64,
    /// Attempts that failed and were made again, on this or another endpoint.
    pub retries: u64,
    /// Connections that were refused or timed out.
    pub connect_failures: u64,
    /// Requests sent that got no complete response: truncated, malformed or too late.
    pub failures: u64,
    /// Requests whose client gave up before the head of the response, or before the end of a response of known length. They have no status.
    pub abandoned: u64,
    /// How long they had taken until then; without those whose client was still sending the request. `None` while there are none.
    pub abandoned_after: Option<Histogram>,
    /// How often an endpoint was ejected, because it failed or was slow.
    pub ejections: u64,
}

/// The traffic of one route since it was first set; all numbers only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTraffic {
    /// Its name.
    pub route: Arc<str>,
    /// Requests that it matched.
    pub requests: u64,
    /// Its answers by class: 1xx, 2xx, 3xx, 4xx, 5xx; gRPC calls by the status in their trailers.
    pub status: [u64; 5],
    /// From the request's head to the end of the answer.
    pub latency: Histogram,
    /// Requests answered 429 because they exceeded the rate limit.
    pub over_rate: u64,
    /// Copies that were sent.
    pub copies: u64,
    /// Copies that were not sent: the body was too long or did not arrive in time, or too many were in progress.
    pub copies_left_out: u64,
}
