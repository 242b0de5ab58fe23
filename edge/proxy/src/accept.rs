//! Accepts the connections of a listening socket.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use crate::log_interval::LogInterval;
use crate::service::Service;
use crate::worker::{AcceptedConnection, Worker};

/// How long to wait after an accept has failed because descriptors or memory have run out.
pub(crate) const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// Accepts a waiting connection. It is not registered with a runtime yet, since the worker is chosen later.
fn accept_one(socket: &std::net::TcpListener) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (stream, peer) = rustix::net::acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| peer.try_into().ok()).ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((stream.into(), peer))
}

/// Accepts connections for a service and gives each to the worker with the fewest connections, from when the proxy is open until the socket
/// is closed or served for another service.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    socket: std::net::TcpListener,
    stop: CancellationToken,
    service: Arc<Service>,
) {
    if !worker.until_open_or_stopped(&stop).await {
        return;
    }
    #[expect(
        deprecated,
        reason = "its replacement is unsafe for types whose descriptor may change; a listener's never does"
    )]
    let watched = AsyncFd::with_interest(socket, Interest::READABLE);
    let socket = match watched {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(service = %service.name, %error, "listener_not_watched");
            return;
        }
    };
    let connection_permits = Arc::clone(&worker.shared.connection_permits);
    let shortage_log = LogInterval::default();
    // Registered once, and not for each connection.
    let mut stopped = pin!(stop.cancelled());
    loop {
        // All of them are cancel safe: an accepted connection is always passed on.
        let listener_permit = tokio::select! {
            biased;
            () = worker.until_stopping() => return,
            listener_permit = service.connection_limit.acquire() => listener_permit,
        };
        let connection_permit = tokio::select! {
            biased;
            () = worker.until_stopping() => return,
            connection_permit = Arc::clone(&connection_permits).acquire_owned() => connection_permit,
        };
        let Ok(connection_permit) = connection_permit else { return };
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = socket.async_io(Interest::READABLE, accept_one) => accepted,
            () = worker.until_stopping() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                worker
                    .assign(
                        stream,
                        AcceptedConnection {
                            peer,
                            service: Arc::clone(&service),
                            connection_permit,
                            listener_permit,
                        },
                    )
                    .await;
            }
            // The client gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // The socket no longer listens.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                if shortage_log.is_due(service.clock.now()) {
                    tracing::warn!(service = %service.name, %error, "connection_not_accepted");
                }
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
        }
    }
}
