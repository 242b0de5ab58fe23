//! What a balancer has to know: the endpoints of a service, and how to choose among them.

use std::net::SocketAddr;

use model::resource::{Balance, HashKey};

/// The replicas of one service, and its endpoints elsewhere, as a balancer should see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The service.
    pub service: String,
    /// The name of the `upstream` (nginx) or `backend` (HAProxy).
    pub name: String,
    /// Whether its replicas speak only HTTP/2.
    pub http2: bool,
    /// How a replica is chosen.
    pub balance: Balance,
    /// What tells clients apart, for [`Balance::ConsistentHash`].
    pub hash: HashKey,
    /// Those that can serve, in the order of their places, endpoints elsewhere last. A replica that is not here gets nothing.
    pub servers: Vec<Server>,
}

/// A replica that answers requests, or an endpoint elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its place; `None` for an endpoint elsewhere.
    pub ordinal: Option<u32>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The traffic that it may get.
    pub standing: Standing,
}

/// The traffic that a server may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Requests, in proportion to its weight among the others.
    Serving {
        /// At least 1.
        weight: u16,
    },
    /// Nothing new; it finishes what it has.
    Draining,
}
