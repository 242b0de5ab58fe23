//! Port numbers for servers that must be given one before they start.
//!
//! A number that the kernel chose for a socket, and that was then given up, may be its next choice for any outgoing
//! connection: of some thousand tests side by side, one then finds its port taken. So these numbers come from a range that
//! neither the kernel (from 32,768) nor Homeostat for its replicas (from 20,000) hands out, and none comes twice in a process.
//! If the socket itself can be passed on, bind port 0 and do that: it is better than any number.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// The numbers handed out so far by this process.
static GIVEN: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nothing uses, over TCP or UDP.
///
/// # Panics
///
/// When each of the 10,000 numbers is taken.
pub fn free() -> u16 {
    (0..COUNT).map(|_| next()).find(|number| is_free(*number)).expect("a free port between 10,000 and 19,999")
}

fn is_free(number: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, number);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

/// The next number, by turns. Processes that start one after another begin far from each other.
fn next() -> u16 {
    let begin = std::process::id().wrapping_mul(101);
    let turn = begin.wrapping_add(u32::from(GIVEN.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
    FIRST + u16::try_from(turn).expect("it is less than COUNT")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_or_from_another_range() {
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
