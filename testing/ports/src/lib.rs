//! Port numbers for servers that need one before they start.
//!
//! A number that the kernel chose for a socket that was then closed may be its next choice for any outgoing connection: with some
//! thousand parallel tests, one of them then finds its port in use. So these numbers come from a range that neither the kernel (from
//! 32,768) nor Homeostat for its replicas (from 20,000) uses, and none is returned twice in a process. If the socket itself can be
//! passed on, bind port 0 and do that instead: it has no race.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// How many numbers this process has returned.
static RETURNED: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that is free over TCP and UDP.
///
/// # Panics
///
/// When all of the 10,000 numbers are in use.
pub fn free() -> u16 {
    (0..COUNT).map(|_| next()).find(|number| is_free(*number)).expect("a free port between 10,000 and 19,999")
}

fn is_free(number: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, number);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

/// The next number in the range, cyclically. Processes with successive ids start far from each other.
fn next() -> u16 {
    let start = std::process::id().wrapping_mul(101);
    let offset = start.wrapping_add(u32::from(RETURNED.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
    FIRST + u16::try_from(offset).expect("it is less than COUNT")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_port_is_in_the_range_and_returned_once() {
        let given: BTreeSet<u16> = (0..500).map(|_| free()).collect();
        assert_eq!(given.len(), 500);
        assert!(given.iter().all(|number| (FIRST..FIRST + COUNT).contains(number)));
    }

    #[test]
    fn a_port_in_use_over_tcp_or_udp_is_not_free() {
        let (tcp, udp) = (free(), free());
        assert!(is_free(tcp) && is_free(udp));
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, tcp)).unwrap();
        let _socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, udp)).unwrap();
        assert!(!is_free(tcp) && !is_free(udp));
    }
}
