//! What one process hands over to the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// What one process hands over to the next.
#[derive(Debug, Default)]
pub struct Handover {
    /// Listening sockets.
    pub sockets: Vec<ListeningSocket>,
    /// The number of serving replicas by service: the successor waits for as many before it begins to serve.
    pub serving: BTreeMap<String, usize>,
}

/// A listening socket, and what it is for.
#[derive(Debug)]
pub struct ListeningSocket {
    /// Its name, agreed upon by both sides.
    pub name: String,
    /// The requested address, perhaps with port 0.
    pub requested: SocketAddr,
    /// The socket itself.
    pub socket: OwnedFd,
}
