//! Listening sockets: opened where the table is changed, accepted from by one worker each.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::Shutdown;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::service::Service;
use crate::worker::{Guest, Worker};

/// Connections that the system holds for us before we accept them; Linux cuts it to `net.core.somaxconn`, 4,096.
const BACKLOG: i32 = 4096;

/// How long to wait after the system has refused to give a connection, for want of descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket that another proxy had before; as long as that one has it, too, both may accept.
#[derive(Debug)]
pub struct Inherited {
    /// Whose it is: the name of a service, or what the proxy calls an address that services share.
    pub name: Arc<str>,
    /// Where it was asked to listen, perhaps with port 0.
    pub requested: SocketAddr,
    /// The socket.
    pub socket: std::net::TcpListener,
}

/// An open listening socket; dropping it does not close it for the worker, [`Listener::close`] does.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: std::net::TcpListener,
    /// Told to whom waits to accept from it.
    pub(crate) given_up: CancellationToken,
    /// As asked for, perhaps with port 0.
    pub(crate) requested: SocketAddr,
    /// As it is.
    pub(crate) actual: SocketAddr,
}

impl Listener {
    /// Begins to listen; the second part is for the worker that accepts.
    pub(crate) fn open(requested: SocketAddr) -> io::Result<(Self, std::net::TcpListener)> {
        let socket = Socket::new(Domain::for_address(requested), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for connections of the last run to time out. Two listeners at once stay impossible.
        socket.set_reuse_address(true)?;
        // Accepted connections inherit it, which saves a system call for each.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&requested.into())?;
        socket.listen(BACKLOG)?;
        Self::of(socket.into(), requested)
    }

    /// Goes on with a socket that listens; the second part is for the worker that accepts.
    pub(crate) fn of(
        socket: std::net::TcpListener,
        requested: SocketAddr,
    ) -> io::Result<(Self, std::net::TcpListener)> {
        let actual = socket.local_addr()?;
        let door = socket.try_clone()?;
        Ok((Self { socket, given_up: CancellationToken::new(), requested, actual }, door))
    }

    /// Stops listening at once, so that the address can be bound again when this returns; the worker that accepts
    /// finds out and lets go of the socket.
    pub(crate) fn close(&self) {
        self.given_up.cancel();
        // Fails only when the socket listens no more, which is what is wanted.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
    }

    /// Lets go of the socket, which goes on listening for whoever else has it.
    pub(crate) fn leave(&self) {
        self.given_up.cancel();
    }

    /// The socket, for another proxy.
    pub(crate) fn bequeath(&self, name: &Arc<str>) -> io::Result<Inherited> {
        let socket = self.socket.try_clone()?;
        Ok(Inherited { name: Arc::clone(name), requested: self.requested, socket })
    }
}

impl Inherited {
    /// Whether it can take the place of a socket that `name` would open for `requested`. Of several with a free port of the system's
    /// choice each has its own.
    pub(crate) fn is_for(&self, name: &str, requested: SocketAddr) -> bool {
        let is_its = self.requested == requested && (requested.port() != 0 || *self.name == *name);
        is_its && SockRef::from(&self.socket).is_listener().unwrap_or(false)
    }
}

/// Accepts connections for a service and hands each to the worker that has the fewest, from when the proxy is open until the socket is closed.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    socket: std::net::TcpListener,
    given_up: CancellationToken,
    service: Arc<Service>,
) {
    // All of them are cancel safe.
    tokio::select! {
        biased;
        () = worker.until_stopping() => return,
        () = given_up.cancelled() => return,
        () = worker.shared.until_open() => {}
    }
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(service = %service.name, %error, "listening socket not watched");
            return;
        }
    };
    let places = Arc::clone(&worker.shared.places);
    loop {
        // All of them are cancel safe: a connection that was taken is always handed on.
        let inside = tokio::select! {
            biased;
            () = worker.until_stopping() => return,
            inside = service.turnstile.enter() => inside,
        };
        let place = tokio::select! {
            biased;
            () = worker.until_stopping() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = worker.until_stopping() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                worker.assign(stream, Guest { peer, service: Arc::clone(&service), place, inside }).await;
            }
            // The client gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // What a socket says that listens no more.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                tracing::warn!(service = %service.name, %error, "connection not accepted");
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
        }
    }
}
