//! The ports of replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::ops::RangeInclusive;

use model::action::FailureKind;
use model::resource::{Port, PortName, Protocol};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::failure::Cause;

/// The first port for replicas: above those of most well-known and registered servers.
const FIRST: u16 = 20_000;

/// The first port of the kernel's range for outgoing connections if it cannot be read (Linux' default).
const EPHEMERAL_DEFAULT: u16 = 32_768;

/// Why a replica has no port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    #[error(
        "port {number} ({name}) is in use by another program; stop that program, or choose another number"
    )]
    InUse { name: PortName, number: u16 },
    #[error(
        "port {number} ({name}) is in use by another replica of the service that does not share it (SO_REUSEPORT); let them share it, leave \
         the number out, or scale the service to 0 replicas for the change"
    )]
    Unshared { name: PortName, number: u16 },
    #[error("could not listen on port {number} ({name}): {source}; choose another number")]
    Unusable { name: PortName, number: u16, source: io::Error },
    #[error("there is no free port for {name} ({source}); check which programs use the ports of 127.0.0.1")]
    NoneFree { name: PortName, source: io::Error },
}

impl From<PortError> for Cause {
    fn from(error: PortError) -> Self {
        let kind = match error {
            PortError::InUse { .. } | PortError::Unshared { .. } => FailureKind::AddressInUse,
            PortError::Unusable { .. } => FailureKind::Declaration,
            PortError::NoneFree { .. } => FailureKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Allocates the ports of replicas, each to one replica at a time.
///
/// They are below the kernel's range for outgoing connections: the proxy opens many of those, and sooner or later one would use the
/// port of a replica that is just being started. They are allocated in turn, so that a client of a replica that has ended does not
/// reach another one.
#[derive(Debug)]
pub(crate) struct PortAllocator {
    taken: BTreeSet<u16>,
    range: RangeInclusive<u16>,
    next: u16,
}

impl Default for PortAllocator {
    fn default() -> Self {
        Self::within(FIRST..=ephemeral_begin().saturating_sub(1))
    }
}

/// The ports of one replica; other programs cannot take the allocated ones until this is dropped.
///
/// It is dropped just before exec. From then on another program could bind such a port by its number; the replica then fails to
/// listen, ends, and its successor gets another port.
#[derive(Debug)]
pub(crate) struct ReservedPorts {
    pub(crate) numbers: BTreeMap<PortName, u16>,
    _held: Vec<Held>,
}

/// The ports of the other replicas of a service, which may share a declared port by SO_REUSEPORT.
#[derive(Debug)]
pub(crate) struct Siblings {
    pub(crate) numbers: BTreeSet<u16>,
    /// Whether they run as the user of this process. Sockets of different users cannot share a port, so otherwise it cannot be checked here.
    pub(crate) have_same_user: bool,
}

/// A port that no other program can take, over TCP or UDP, whose numbers are independent of each other.
#[derive(Debug)]
enum Held {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Held {
    /// Binds a port of 127.0.0.1; for 0 the system chooses one.
    fn take(protocol: Protocol, number: u16) -> io::Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, number);
        if protocol.is_over_tcp() {
            TcpListener::bind(address).map(Self::Tcp)
        } else {
            UdpSocket::bind(address).map(Self::Udp)
        }
    }

    fn number(&self) -> io::Result<u16> {
        let address = match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        };
        address.map(|address| address.port())
    }
}

impl PortAllocator {
    /// Allocates ports of `range`; if it is empty, the kernel chooses them.
    fn within(range: RangeInclusive<u16>) -> Self {
        // Two drivers on one machine start at different numbers.
        let width = u32::from(range.end().saturating_sub(*range.start())) + 1;
        let offset = u16::try_from(std::process::id().wrapping_mul(101) % width).unwrap_or(0);
        let next = range.start().saturating_add(offset);
        Self { taken: BTreeSet::new(), range, next }
    }

    /// Reserves a port for each of `ports`, or none when one fails.
    pub(crate) fn reserve(
        &mut self,
        ports: &[Port],
        siblings: &Siblings,
    ) -> Result<ReservedPorts, PortError> {
        let mut numbers = BTreeMap::new();
        let mut held = Vec::new();
        for port in ports {
            let number = match port.number {
                Some(number) => {
                    if !siblings.numbers.contains(&number.get()) {
                        check_declared(port, number.get())?;
                    } else if siblings.have_same_user {
                        check_shared(port, number.get())?;
                    }
                    number.get()
                }
                None => {
                    let found = self.free_port(port, &numbers)?;
                    let number = found.number().map_err(|source| none_free(&port.name, source))?;
                    held.push(found);
                    number
                }
            };
            numbers.insert(port.name.clone(), number);
        }
        self.taken.extend(numbers.values());
        Ok(ReservedPorts { numbers, _held: held })
    }

    /// Marks the ports of a replica that runs already as taken.
    pub(crate) fn mark_taken(&mut self, numbers: &BTreeMap<PortName, u16>) {
        self.taken.extend(numbers.values());
    }

    /// Releases the ports of an ended replica.
    pub(crate) fn release(&mut self, numbers: &BTreeMap<PortName, u16>) {
        for number in numbers.values() {
            self.taken.remove(number);
        }
    }

    fn free_port(&mut self, port: &Port, own: &BTreeMap<PortName, u16>) -> Result<Held, PortError> {
        for _ in self.range.clone() {
            let number = self.next;
            self.next = if number >= *self.range.end() { *self.range.start() } else { number + 1 };
            if self.taken.contains(&number) || own.values().any(|other| *other == number) {
                continue;
            }
            if let Ok(held) = Held::take(port.protocol, number) {
                return Ok(held);
            }
        }
        // No port is free there, or the machine uses that range for outgoing connections.
        Held::take(port.protocol, 0).map_err(|source| none_free(&port.name, source))
    }
}

/// Where the kernel's range for outgoing connections begins.
fn ephemeral_begin() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(EPHEMERAL_DEFAULT)
}

fn none_free(name: &PortName, source: io::Error) -> PortError {
    PortError::NoneFree { name: name.clone(), source }
}

fn check_declared(port: &Port, number: u16) -> Result<(), PortError> {
    let name = &port.name;
    match Held::take(port.protocol, number) {
        Ok(_free) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(PortError::InUse { name: name.clone(), number })
        }
        // The replica may have permissions that this process lacks, or listen on another address: it reports errors itself.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(source) => Err(PortError::Unusable { name: name.clone(), number, source }),
    }
}

/// Refuses a port that another replica of the service does not share: probes of the new replica would reach the other one.
fn check_shared(port: &Port, number: u16) -> Result<(), PortError> {
    match try_to_share(port.protocol, number) {
        Err(Errno::ADDRINUSE) => Err(PortError::Unshared { name: port.name.clone(), number }),
        // The replica reports other errors itself.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Binds to the port as a replica that shares it would.
fn try_to_share(protocol: Protocol, number: u16) -> Result<(), Errno> {
    let kind = if protocol.is_over_tcp() { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    // As servers do: ended connections (TIME_WAIT) do not prevent the bind.
    set_socket_reuseaddr(&socket, protocol.is_over_tcp())?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Siblings = Siblings { numbers: BTreeSet::new(), have_same_user: true };

    fn port(name: &str, number: Option<u16>) -> Port {
        Port {
            name: PortName::parse(name).unwrap(),
            protocol: Protocol::Http,
            number: number.map(|number| number.try_into().unwrap()),
        }
    }

    #[test]
    fn no_port_is_allocated_twice_while_it_is_taken() {
        let mut allocator = PortAllocator::default();
        let mut seen = BTreeSet::new();
        for _ in 0..50 {
            let reserved = allocator.reserve(&[port("a", None), port("b", None)], &NOBODY).unwrap();
            for number in reserved.numbers.values() {
                assert!(seen.insert(*number), "{number} was allocated twice");
            }
        }
    }

    #[test]
    fn ports_are_below_those_of_outgoing_connections_and_allocated_in_turn() {
        let mut allocator = PortAllocator::default();
        let first = allocator.reserve(&[port("a", None)], &NOBODY).unwrap().numbers;
        allocator.release(&first);
        let second = allocator.reserve(&[port("a", None)], &NOBODY).unwrap().numbers;
        assert_ne!(first, second, "a released port is not reused at once");
        assert!(second.values().all(|number| *number >= FIRST && *number < ephemeral_begin()));
    }

    #[test]
    fn the_kernel_chooses_ports_when_the_range_is_empty() {
        let mut allocator = PortAllocator::within(RangeInclusive::new(FIRST, FIRST - 1));
        assert!(allocator.reserve(&[port("a", None)], &NOBODY).is_ok());
    }

    #[test]
    fn a_declared_port_that_is_taken_is_refused_unless_it_is_shared() {
        for protocol in [Protocol::Http, Protocol::Udp] {
            let held = Held::take(protocol, 0).unwrap();
            let number = held.number().unwrap();
            let mut allocator = PortAllocator::default();
            let declared = [Port { protocol, ..port("main", Some(number)) }];
            assert!(matches!(allocator.reserve(&declared, &NOBODY), Err(PortError::InUse { .. })));
            let siblings = |have_same_user| Siblings { numbers: [number].into(), have_same_user };
            let refused = allocator.reserve(&declared, &siblings(true));
            assert!(
                matches!(refused, Err(PortError::Unshared { .. })),
                "the other does not share it: {refused:?}"
            );
            assert!(allocator.reserve(&declared, &siblings(false)).is_ok(), "sharing cannot be checked");
            drop(held);
            assert!(allocator.reserve(&declared, &siblings(true)).is_ok(), "the other does not listen");
            let kind = if protocol.is_over_tcp() { SocketType::STREAM } else { SocketType::DGRAM };
            let shared = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None).unwrap();
            set_socket_reuseport(&shared, true).unwrap();
            bind(&shared, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, number)).unwrap();
            if protocol.is_over_tcp() {
                rustix::net::listen(&shared, 1).unwrap();
            }
            assert!(allocator.reserve(&declared, &siblings(true)).is_ok(), "the other shares it");
        }
    }

    #[test]
    fn ports_of_udp_are_independent_of_tcp() {
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = other.local_addr().unwrap().port();
        let mut allocator = PortAllocator::default();
        let mut declared = [Port { protocol: Protocol::Udp, ..port("dns", Some(number)) }];
        assert!(matches!(allocator.reserve(&declared, &NOBODY), Err(PortError::InUse { .. })));
        declared[0].number = None;
        let reserved = allocator.reserve(&declared, &NOBODY).unwrap();
        let given = reserved.numbers[&declared[0].name];
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, given)).is_err(), "it is held");
        drop(reserved);
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, given)).is_ok());
    }
}
