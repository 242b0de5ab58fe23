//! What one process hands over to the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// What one process hands over to the next.
#[derive(Debug, Default)]
pub struct Handover {
    /// Listening sockets.
    pub sockets: Vec<ListeningSocket>,
    /// How many replicas of each service got requests, by its name: the successor waits for as many before it begins to serve.
    pub serving: BTreeMap<String, usize>,
}

/// A listening socket, and what it is for.
#[derive(Debug)]
pub struct ListeningSocket {
    /// Its name, which both sides know.
    pub name: String,
    /// The requested address, perhaps with port 0.
    pub requested: SocketAddr,
    /// The socket itself.
    pub socket: OwnedFd,
}
