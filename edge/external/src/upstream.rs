//! What a balancer is told: the replicas of a service and its endpoints elsewhere, and how to choose among them.

use std::net::SocketAddr;

use model::resource::{Balance, HashKey};

/// The replicas of one service, and its endpoints elsewhere, as a balancer is to see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The service.
    pub service: String,
    /// What the `upstream` or the `backend` is called.
    pub name: String,
    /// Whether its replicas speak HTTP/2 and nothing else.
    pub http2: bool,
    /// How a replica is chosen.
    pub balance: Balance,
    /// What tells clients apart, for [`Balance::ConsistentHash`].
    pub hash: HashKey,
    /// Those that answer, in the order of their places, endpoints elsewhere last; a replica that is not named gets nothing.
    pub servers: Vec<Server>,
}

/// A replica that answers requests, or an endpoint elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its place; `None` for an endpoint elsewhere.
    pub ordinal: Option<u32>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it may get.
    pub standing: Standing,
}

/// What a server may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Requests, in proportion to its weight among the others.
    Serving {
        /// At least 1.
        weight: u16,
    },
    /// Nothing new; what it has it finishes.
    Draining,
}
