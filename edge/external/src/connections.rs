//! Open connections to the replicas of this machine, from any process.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use procfs::net::{TcpState, tcp};

/// The number of open connections to each address, at one time.
///
/// An external balancer does not report its requests in flight, but a replica without an open connection has none. Replicas listen on
/// 127.0.0.1, so their clients are on this machine, and the system lists the client's end of each connection. Source: proc(5),
/// `/proc/net/tcp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections(BTreeMap<SocketAddr, u32>);

/// The system's list of connections could not be read.
#[derive(Debug, thiserror::Error)]
#[error("could not list the connections of this machine; is /proc mounted?")]
pub struct ConnectionsError(#[from] procfs::ProcError);

impl Connections {
    /// Reads the list of the system. Takes some 1 ms for every 1,000 connections of the machine.
    pub fn read() -> Result<Self, ConnectionsError> {
        let is_open = |state: &TcpState| matches!(state, TcpState::Established | TcpState::SynSent);
        let mut count = BTreeMap::new();
        for entry in tcp()?.into_iter().filter(|entry| is_open(&entry.state)) {
            *count.entry(entry.remote_address).or_default() += 1;
        }
        Ok(Self(count))
    }

    /// How many were open to `address`.
    pub fn to(&self, address: SocketAddr) -> u32 {
        self.0.get(&address).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_counts_while_it_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = || Connections::read().unwrap().to(address);
        assert_eq!(open(), 0);
        let (first, second) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        assert_eq!(open(), 2);
        drop(first);
        assert_eq!(open(), 1);
        drop(second);
        assert_eq!(open(), 0);
    }
}
