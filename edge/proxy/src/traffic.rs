//! What went through the proxy, as others read it.

mod histogram;
mod shard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balance::{Cause, EndpointId, Ramp, Share, Weight};

pub use self::histogram::Histogram;
pub(crate) use self::shard::{RouteShard, Shard, Tally, sum};
use crate::route::EndpointState;

#[cfg(test)]
mod tests;

/// The traffic of one service since it was first set; all numbers only grow, except those that say "now".
#[derive(Debug, Clone)]
pub struct ServiceTraffic {
    /// Its name.
    pub service: Arc<str>,
    /// As clients saw it: each request once, with the final status and the whole latency.
    pub counts: Counts,
    /// Requests answered 503 because no endpoint was ready in time or too many waited.
    pub unavailable: u64,
    /// Requests answered 503 because so many were under way as may be, to the service or to each of its endpoints.
    pub over_limit: u64,
    /// Requests answered 503 because so many awaited an answer that more would have made all slower.
    pub shed: u64,
    /// Requests that were sent to a second endpoint because the first took long.
    pub hedges: u64,
    /// Those of them that the second endpoint answered first.
    pub hedges_won: u64,
    /// How many may await an answer now, where that is found by itself.
    pub adaptive: Option<Adaptive>,
    /// Connections closed because what came was no HTTP, or lacked the header of the PROXY protocol where one is wanted.
    pub malformed: u64,
    /// Handshakes of TLS that failed: what came was no TLS, nothing was agreed on, or it took too long.
    pub handshake_failures: u64,
    /// Responses below 500 that broke off in the middle: their clients saw a failure that no status tells of.
    pub broken_off: u64,
    /// What passed over UDP; `None` for a service that is spoken to otherwise.
    pub datagrams: Option<Datagrams>,
    /// Requests that wait for an endpoint now.
    pub waiting: u32,
    /// Per replica, those that left but still answer something included.
    pub endpoints: Vec<EndpointTraffic>,
    /// Per endpoint that others run, likewise. What they are asked is no load of the replicas.
    pub elsewhere: Vec<EndpointTraffic>,
    /// Which zone is preferred now; `None` where all are alike.
    pub preference: Option<Preference>,
    /// Per version of what its endpoints run, oldest first, the latest of those included that have no endpoint any more.
    pub versions: Vec<VersionTraffic>,
}

/// That a zone is preferred to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// The zone.
    pub zone: Arc<str>,
    /// The part of the requests that stays in it now.
    pub share: Share,
}

/// Datagrams of one service since it was first set, and who sends them now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Clients' that came.
    pub received: u64,
    /// Endpoints' that were sent to clients.
    pub sent: u64,
    /// Of both, those that went nowhere: no endpoint was ready in time, there were as many sessions as may be, or the system did not take them.
    pub dropped: u64,
    /// Bytes of those that came.
    pub bytes_received: u64,
    /// Bytes of those that were sent.
    pub bytes_sent: u64,
    /// Clients with a session now.
    pub sessions: u32,
}

/// The traffic of the endpoints of one version, those that are gone included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionTraffic {
    /// Which version, as its endpoints are declared.
    pub version: u64,
    /// Endpoints of it that get requests now.
    pub serving: usize,
    /// Each attempt at a request once.
    pub counts: Counts,
}

impl ServiceTraffic {
    /// Requests that failed for their clients, each once: answered 5xx, by an endpoint or for want of one, or broken off. One that
    /// was tried again and then answered did not fail.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.counts.status[4] + self.broken_off
    }
}

impl Counts {
    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, more: &Self) {
        self.requests += more.requests;
        self.status.iter_mut().zip(more.status).for_each(|(sum, more)| *sum += more);
        self.latency.merge(&more.latency);
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.retries += more.retries;
        self.connect_failures += more.connect_failures;
        self.failures += more.failures;
    }

    /// Of an endpoint: attempts that it answered 5xx, did not answer, or could not be reached for.
    #[must_use]
    pub fn failed_attempts(&self) -> u64 {
        self.status[4] + self.failures + self.connect_failures
    }
}

/// How many requests of a service may await the head of an answer, as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptive {
    /// So many may.
    pub limit: u32,
    /// So many do.
    pub awaiting: u32,
    /// The best latency that the limit is found by; `None` before it was measured.
    pub best: Option<Duration>,
}

/// What is asked of the replicas of one service as a whole, whether it has some or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Requests that came since it was first set, without those that went elsewhere first.
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
    /// The zone that it is in; `None` where that is not known.
    pub zone: Option<Arc<str>>,
    /// Its share of the traffic.
    pub weight: Weight,
    /// Its state now.
    pub state: EndpointState,
    /// That it sits out now because it kept failing, or was slow.
    pub ejection: Option<Ejected>,
    /// How far it has come in its slow start.
    pub ramp: Ramp,
    /// Requests that it answers now.
    pub in_flight: u32,
    /// Each attempt at a request once.
    pub counts: Counts,
}

impl EndpointTraffic {
    /// Says whether it sits out now.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejection.is_some()
    }
}

/// That an endpoint sits out, as seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejected {
    /// How long ago it was ejected.
    pub ago: Duration,
    /// After what time it comes back.
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
    /// Requests sent that got no whole response: broken off, malformed or too late.
    pub failures: u64,
}

/// What went over one route since it was first set; all numbers only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTraffic {
    /// Its name.
    pub route: Arc<str>,
    /// Requests that were for it.
    pub requests: u64,
    /// Its answers by class: 1xx, 2xx, 3xx, 4xx, 5xx; calls of gRPC by what their trailers say.
    pub status: [u64; 5],
    /// From the request's head to the end of the answer.
    pub latency: Histogram,
    /// Requests answered 429 because there were too many in too short a time.
    pub over_rate: u64,
    /// Copies that were sent.
    pub copies: u64,
    /// Copies that were not sent: the body was too long or did not come in time, or too many were under way.
    pub copies_left_out: u64,
}
