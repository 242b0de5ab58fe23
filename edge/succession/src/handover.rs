//! What is handed over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// What one process leaves to the next.
#[derive(Debug, Default)]
pub struct Estate {
    /// Listening sockets.
    pub sockets: Vec<Heirloom>,
    /// How many replicas of each service got requests, by its name: the successor waits for as many before it begins to serve.
    pub serving: BTreeMap<String, usize>,
}

/// A listening socket and what it is for.
#[derive(Debug)]
pub struct Heirloom {
    /// Whose it is, as both sides call it.
    pub name: String,
    /// Where it was asked to listen, perhaps with port 0.
    pub requested: SocketAddr,
    /// The socket itself.
    pub socket: OwnedFd,
}
