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

/// The first port that replicas are given: above what well-known and registered servers mostly use.
const FIRST: u16 = 20_000;

/// The first port that the kernel gives to outgoing connections when it does not say otherwise (Linux' default).
const EPHEMERAL_DEFAULT: u16 = 32_768;

/// Why a replica has no port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    #[error(
        "port {number} ({name}) is in use by another program; stop that program, or choose another number"
    )]
    InUse { name: PortName, number: u16 },
    #[error(
        "port {number} ({name}) is held by another replica of the service, which does not share it (SO_REUSEPORT); let them share it, leave \
         the number out, or take the service to 0 replicas for the change"
    )]
    Unshared { name: PortName, number: u16 },
    #[error("port {number} ({name}) cannot be listened on ({source}); choose another number")]
    Unusable { name: PortName, number: u16, source: io::Error },
    #[error("there is no free port for {name} ({source}); see what holds the ports of 127.0.0.1")]
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

/// The ports that replicas have, so that none is given twice.
///
/// They are chosen below the range from which the kernel takes ports for outgoing connections: the proxy opens many of those,
/// and one would sooner or later have the port of a replica that is just being started. They are given in turn, so that what
/// still speaks to a replica that has ended does not meet another one.
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

/// Ports for one replica; other programs cannot take those that we chose until this is dropped.
///
/// It is dropped just before exec. From then on another program could take such a port by its number; the replica then fails to
/// listen, ends, and its successor gets another port.
#[derive(Debug)]
pub(crate) struct ReservedPorts {
    pub(crate) numbers: BTreeMap<PortName, u16>,
    _held: Vec<Held>,
}

/// What the other replicas of a service have, who may share a declared port by SO_REUSEPORT.
#[derive(Debug)]
pub(crate) struct Siblings {
    pub(crate) numbers: BTreeSet<u16>,
    /// Whether they run as the same user as we do. Sockets of different users share no port, so that we could not tell from ours.
    pub(crate) are_as_we: bool,
}

/// A port that nobody else can take: numbers of TCP and of UDP are two kinds, and only the one that is needed is held.
#[derive(Debug)]
enum Held {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Held {
    /// Takes a port of this machine itself; the system's choice for 0.
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
    /// Gives ports of `range`; the kernel's choice when it is empty.
    fn within(range: RangeInclusive<u16>) -> Self {
        // Two drivers on one machine begin at different places.
        let width = u32::from(range.end().saturating_sub(*range.start())) + 1;
        let offset = u16::try_from(std::process::id().wrapping_mul(101) % width).unwrap_or(0);
        let next = range.start().saturating_add(offset);
        Self { taken: BTreeSet::new(), range, next }
    }

    /// Takes a port for each of `ports`. Nothing is taken when one fails.
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
                    } else if siblings.are_as_we {
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

    /// Remembers the ports of a replica that runs already.
    pub(crate) fn keep(&mut self, numbers: &BTreeMap<PortName, u16>) {
        self.taken.extend(numbers.values());
    }

    /// Gives the ports of an ended replica free again.
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
        // Nothing is free there, or the machine keeps that range for outgoing connections.
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
        // The replica may have rights that we lack, or listen on another address: it will say so itself.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(source) => Err(PortError::Unusable { name: name.clone(), number, source }),
    }
}

/// Refuses a port that another replica of the service holds for itself: who is asked for the health of the new one would be the other.
fn check_shared(port: &Port, number: u16) -> Result<(), PortError> {
    match try_to_share(port.protocol, number) {
        Err(Errno::ADDRINUSE) => Err(PortError::Unshared { name: port.name.clone(), number }),
        // Whatever else is wrong, the replica will say so itself.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Binds to the port as one of several would.
fn try_to_share(protocol: Protocol, number: u16) -> Result<(), Errno> {
    let kind = if protocol.is_over_tcp() { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    // As servers do: connections that have ended are no obstacle.
    set_socket_reuseaddr(&socket, protocol.is_over_tcp())?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Siblings = Siblings { numbers: BTreeSet::new(), are_as_we: true };

    fn port(name: &str, number: Option<u16>) -> Port {
        Port {
            name: PortName::parse(name).unwrap(),
            protocol: Protocol::Http,
            number: number.map(|number| number.try_into().unwrap()),
        }
    }

    #[test]
    fn no_port_is_given_twice_while_it_is_kept() {
        let mut allocator = PortAllocator::default();
        let mut seen = BTreeSet::new();
        for _ in 0..50 {
            let reserved = allocator.reserve(&[port("a", None), port("b", None)], &NOBODY).unwrap();
            for number in reserved.numbers.values() {
                assert!(seen.insert(*number), "{number} was given twice");
            }
        }
    }

    #[test]
    fn ports_are_chosen_below_those_of_outgoing_connections_and_in_turn() {
        let mut allocator = PortAllocator::default();
        let first = allocator.reserve(&[port("a", None)], &NOBODY).unwrap().numbers;
        allocator.release(&first);
        let second = allocator.reserve(&[port("a", None)], &NOBODY).unwrap().numbers;
        assert_ne!(first, second, "a port that was just given up is not given again at once");
        assert!(second.values().all(|number| *number >= FIRST && *number < ephemeral_begin()));
    }

    #[test]
    fn without_a_range_of_its_own_the_kernel_chooses() {
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
            let siblings = |are_as_we| Siblings { numbers: [number].into(), are_as_we };
            let refused = allocator.reserve(&declared, &siblings(true));
            assert!(
                matches!(refused, Err(PortError::Unshared { .. })),
                "the other has it alone: {refused:?}"
            );
            assert!(allocator.reserve(&declared, &siblings(false)).is_ok(), "that cannot be told");
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
    fn a_port_of_udp_is_free_where_no_other_has_it_over_udp() {
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
