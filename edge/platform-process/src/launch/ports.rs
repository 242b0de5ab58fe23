//! The ports of replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use model::resource::{Port, PortName};

/// Free ports are asked for this often before giving up: each try fails only when the kernel names a port that a replica
/// already has but does not listen on yet.
const TRIES_MAX: usize = 64;

/// Why a replica has no port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    #[error(
        "port {number} ({name}) is in use by another program; stop that program, or choose another number"
    )]
    InUse { name: PortName, number: u16 },
    #[error("port {number} ({name}) cannot be listened on ({source}); choose another number")]
    Unusable { name: PortName, number: u16, source: io::Error },
    #[error("there is no free port for {name} ({source}); see what holds the ports of 127.0.0.1")]
    NoneFree { name: PortName, source: io::Error },
}

/// The ports that replicas have, so that none is given twice.
#[derive(Debug, Default)]
pub(crate) struct PortBook {
    taken: BTreeSet<u16>,
}

/// Ports for one replica; other programs cannot take those that we chose until this is dropped.
///
/// It is dropped just before exec. From then on another program could be given such a port by the kernel; the replica
/// then fails to listen, ends, and its successor gets another port.
#[derive(Debug)]
pub(crate) struct ReservedPorts {
    pub(crate) numbers: BTreeMap<PortName, u16>,
    _held: Vec<TcpListener>,
}

impl PortBook {
    /// Takes a port for each of `ports`; `shared` says which numbers other replicas of the same service have, who share
    /// a declared number by SO_REUSEPORT. Nothing is taken when one fails.
    pub(crate) fn reserve(
        &mut self,
        ports: &[Port],
        shared: &BTreeSet<u16>,
    ) -> Result<ReservedPorts, PortError> {
        let mut numbers = BTreeMap::new();
        let mut held = Vec::new();
        for port in ports {
            let number = match port.number {
                Some(number) => {
                    if !shared.contains(&number.get()) {
                        check_declared(&port.name, number.get())?;
                    }
                    number.get()
                }
                None => {
                    let listener = self.free_port(&port.name, &numbers)?;
                    let number = port_of(&listener).map_err(|source| none_free(&port.name, source))?;
                    held.push(listener);
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

    fn free_port(&self, name: &PortName, own: &BTreeMap<PortName, u16>) -> Result<TcpListener, PortError> {
        // Those that are refused stay bound until the search ends, so that the kernel names others.
        let mut refused = Vec::new();
        for _ in 0..TRIES_MAX {
            let listener =
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|source| none_free(name, source))?;
            let number = port_of(&listener).map_err(|source| none_free(name, source))?;
            if !self.taken.contains(&number) && !own.values().any(|other| *other == number) {
                return Ok(listener);
            }
            refused.push(listener);
        }
        Err(none_free(name, io::Error::from(io::ErrorKind::AddrInUse)))
    }
}

fn port_of(listener: &TcpListener) -> io::Result<u16> {
    listener.local_addr().map(|address| address.port())
}

fn none_free(name: &PortName, source: io::Error) -> PortError {
    PortError::NoneFree { name: name.clone(), source }
}

fn check_declared(name: &PortName, number: u16) -> Result<(), PortError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, number)) {
        Ok(_free) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(PortError::InUse { name: name.clone(), number })
        }
        // The replica may have rights that we lack, or listen on another address: it will say so itself.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(source) => Err(PortError::Unusable { name: name.clone(), number, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, number: Option<u16>) -> Port {
        Port {
            name: PortName::parse(name).unwrap(),
            protocol: model::resource::Protocol::Http,
            number: number.map(|number| number.try_into().unwrap()),
        }
    }

    #[test]
    fn no_port_is_given_twice_while_it_is_kept() {
        let mut book = PortBook::default();
        let mut seen = BTreeSet::new();
        for _ in 0..50 {
            let reserved = book.reserve(&[port("a", None), port("b", None)], &BTreeSet::new()).unwrap();
            for number in reserved.numbers.values() {
                assert!(seen.insert(*number), "{number} was given twice");
            }
        }
    }

    #[test]
    fn a_declared_port_that_is_taken_is_refused_unless_it_is_shared() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = port_of(&other).unwrap();
        let mut book = PortBook::default();
        let declared = [port("http", Some(number))];
        assert!(matches!(book.reserve(&declared, &BTreeSet::new()), Err(PortError::InUse { .. })));
        assert!(book.reserve(&declared, &[number].into()).is_ok());
    }
}
