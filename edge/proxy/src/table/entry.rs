//! The services of the table and their listening sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::listener::{Listener, Transport};
use crate::service::Service;

/// A service, or a listener that services share.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) service: Arc<Service>,
    /// `None` for a service that is reached through a gateway only, and for one whose address another service has taken over.
    pub(super) listener: Option<Listener>,
    /// `Some` from when another service takes over its address until it is exposed or hidden.
    pub(super) displaced: Option<Displaced>,
}

/// What is left of the listener of a service whose address another service has taken over.
#[derive(Debug)]
pub(super) struct Displaced {
    /// Where the service listened.
    from: Binding,
    /// The socket that the other service gave up, which serves it until this service is exposed again, perhaps there. So services can exchange
    /// their addresses without closing a socket.
    pub(super) spare: Option<Listener>,
}

/// Where a service listens, as requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
}

/// Which addresses a service may listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressClaim {
    /// Those on which no other service listens.
    Unused,
    /// Also those of other services, which lose them.
    TakeOver,
}

impl Binding {
    pub(super) fn of(listener: &Listener) -> Self {
        Self { transport: listener.transport, address: listener.requested }
    }
}

impl Entry {
    pub(super) fn is_gateway(&self) -> bool {
        self.service.router.is_some()
    }

    /// Its open sockets.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Listener> {
        let spare = self.displaced.as_ref().and_then(|displaced| displaced.spare.as_ref());
        self.listener.iter().chain(spare)
    }

    /// Takes its open sockets out. It no longer counts as displaced.
    pub(super) fn take_sockets(&mut self) -> impl Iterator<Item = Listener> {
        let spare = self.displaced.take().and_then(|displaced| displaced.spare);
        self.listener.take().into_iter().chain(spare)
    }

    /// Whether nothing has to be opened or closed for it to listen there.
    pub(super) fn is_bound_as(&self, wanted: Option<Binding>, claim: AddressClaim) -> bool {
        match &self.displaced {
            None => self.listener.as_ref().map(Binding::of) == wanted,
            Some(displaced) => claim == AddressClaim::Unused && wanted == Some(displaced.from),
        }
    }

    pub(super) fn is_displaced_from(&self, binding: Binding) -> bool {
        self.displaced.as_ref().is_some_and(|displaced| displaced.from == binding)
    }

    /// Takes out the socket that is bound so. If the service listened on it, the service is displaced.
    pub(super) fn take_socket(&mut self, binding: Binding) -> Option<Listener> {
        let is_it = |listener: &mut Listener| Binding::of(listener) == binding;
        if let Some(listener) = self.listener.take_if(is_it) {
            self.displaced = Some(Displaced { from: binding, spare: None });
            return Some(listener);
        }
        self.displaced.as_mut()?.spare.take_if(is_it)
    }

    /// Where it has a socket that cannot exist beside one of `binding`.
    pub(super) fn overlapping(&self, binding: Binding) -> Option<Binding> {
        self.sockets().find(|it| it.overlaps(binding.transport, binding.address)).map(Binding::of)
    }
}

/// The service that has the socket which is bound so; a shared listener keeps its own.
pub(super) fn holder_of(entries: &BTreeMap<Arc<str>, Entry>, binding: Binding) -> Option<&Arc<str>> {
    // With port 0 each has a port of its own.
    let is_held = |entry: &Entry| {
        binding.address.port() != 0
            && !entry.is_gateway()
            && entry.sockets().any(|listener| Binding::of(listener) == binding)
    };
    entries.iter().find(|(_, entry)| is_held(entry)).map(|(name, _)| name)
}
