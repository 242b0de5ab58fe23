//! Listening sockets: the table opens them, and one worker [accepts](crate::accept) from each.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use model::resource::ListenAddress;
use rustix::net::Shutdown;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio_util::sync::CancellationToken;

use crate::route;
use crate::udp;

/// The backlog of connections that wait to be accepted. Linux caps it at `net.core.somaxconn`, 4,096.
const BACKLOG: i32 = 4096;

/// The transport protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(crate) fn of(protocol: route::Protocol) -> Self {
        match protocol {
            route::Protocol::Http1 | route::Protocol::Http2 | route::Protocol::Tcp => Self::Tcp,
            route::Protocol::Udp => Self::Udp,
        }
    }
}

/// A listening socket, for the worker that accepts from it.
#[derive(Debug)]
pub(crate) enum ListenerSocket {
    Tcp(std::net::TcpListener),
    Udp(std::net::UdpSocket),
}

/// A listening socket of another proxy. While both proxies hold it, both may accept.
#[derive(Debug)]
pub struct InheritedListener {
    /// The name of its service, or of its shared listener.
    pub name: Arc<str>,
    /// The requested address, perhaps with port 0.
    pub requested: SocketAddr,
    /// A listening TCP socket, or a UDP socket.
    pub socket: OwnedFd,
}

/// An open listening socket. Dropping it does not close it for the worker; [`Listener::close`] does.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    pub(crate) transport: Transport,
    /// Cancelled when the worker is to stop accepting.
    pub(crate) stop: CancellationToken,
    /// As requested, perhaps with port 0.
    pub(crate) requested: SocketAddr,
    /// As bound.
    pub(crate) actual: SocketAddr,
}

impl Listener {
    /// Opens a socket and listens; the second part is for the worker that accepts.
    pub(crate) fn open(transport: Transport, requested: SocketAddr) -> io::Result<(Self, ListenerSocket)> {
        let socket = match transport {
            Transport::Tcp => Self::listen(requested)?,
            Transport::Udp => udp::bind(requested)?,
        };
        Self::of(transport, socket.into(), requested)
    }

    fn listen(requested: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(requested), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for connections of the last run to time out. Two listeners at once remain impossible.
        socket.set_reuse_address(true)?;
        // Accepted connections inherit it, which saves a system call for each.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&requested.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    }

    /// Takes over a socket that listens already; the second part is for the worker that accepts.
    pub(crate) fn of(
        transport: Transport,
        socket: OwnedFd,
        requested: SocketAddr,
    ) -> io::Result<(Self, ListenerSocket)> {
        let actual = SockRef::from(&socket).local_addr()?.as_socket();
        let actual = actual.ok_or(io::ErrorKind::InvalidInput)?;
        let worker_socket = match transport {
            Transport::Tcp => ListenerSocket::Tcp(socket.try_clone()?.into()),
            Transport::Udp => ListenerSocket::Udp(socket.try_clone()?.into()),
        };
        Ok((Self { socket, transport, stop: CancellationToken::new(), requested, actual }, worker_socket))
    }

    /// Stops listening at once. When this returns, a TCP address can be bound again; a UDP address only once the worker has dropped the socket.
    pub(crate) fn close(&self) {
        self.stop.cancel();
        // Fails only for a socket that no longer listens, or never did, such as a UDP socket.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
    }

    /// Stops serving the socket, which keeps listening for another service or proxy.
    pub(crate) fn release(&self) {
        self.stop.cancel();
    }

    /// The same socket, for another service; the second part is for the worker that accepts.
    pub(crate) fn duplicate(&self) -> io::Result<(Self, ListenerSocket)> {
        Self::of(self.transport, self.socket.try_clone()?, self.requested)
    }

    /// Whether a socket of `transport` at `address` cannot exist beside it: one of a wildcard address has the port on every address.
    pub(crate) fn overlaps(&self, transport: Transport, address: SocketAddr) -> bool {
        self.transport == transport && ListenAddress(self.actual).conflicts_with(ListenAddress(address))
    }

    /// The socket, for another proxy.
    pub(crate) fn share(&self, name: &Arc<str>) -> io::Result<InheritedListener> {
        let socket = self.socket.try_clone()?;
        Ok(InheritedListener { name: Arc::clone(name), requested: self.requested, socket })
    }
}

impl InheritedListener {
    /// Whether it can be used instead of opening a socket of `transport` at `requested` for `name`. Sockets whose ports the system chose are
    /// distinguished by name.
    pub(crate) fn is_for(&self, transport: Transport, name: &str, requested: SocketAddr) -> bool {
        let is_its = self.requested == requested && (requested.port() != 0 || *self.name == *name);
        let socket = SockRef::from(&self.socket);
        is_its
            && match transport {
                Transport::Tcp => socket.is_listener().unwrap_or(false),
                Transport::Udp => socket.r#type().is_ok_and(|kind| kind == Type::DGRAM),
            }
    }
}
