//! The upstream of a balancer: the endpoints of a service, and how to choose among them.

use std::net::SocketAddr;

use model::resource::{Balance, HashKey};

/// The replicas of one service, and its external endpoints, for a balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The service.
    pub service: String,
    /// The name of the `upstream` (nginx) or `backend` (HAProxy).
    pub name: String,
    /// The balancing algorithm.
    pub balance: Balance,
    /// The key of [`Balance::ConsistentHash`].
    pub hash: HashKey,
    /// Those that can serve, by ordinal, external endpoints last. A replica that is not listed gets no requests.
    pub servers: Vec<Server>,
}

/// A replica, or an external endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its ordinal; `None` for an external endpoint.
    pub ordinal: Option<u32>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks only HTTP/2.
    pub http2: bool,
    /// Which requests it gets.
    pub state: ServerState,
}

/// Which requests a server gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Requests, in proportion to its weight among the others.
    Serving {
        /// At least 1.
        weight: u16,
    },
    /// No new ones; it finishes those in flight.
    Draining,
}
