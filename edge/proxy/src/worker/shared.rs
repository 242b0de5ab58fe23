//! The state that all workers share, and the handles through which they are controlled.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::access::Logs;
use crate::clock::Clock;
use crate::connection_limit::ConnectionPermit;
use crate::listener::ListenerSocket;
use crate::service::Service;
use crate::tls::Challenges;

/// The length of a worker's queue of commands; its loop takes them as fast as connections can be set up.
const COMMANDS_MAX: usize = 1024;

/// The most concurrent sessions over all services: any client can begin one with a datagram, even from a forged address.
///
/// Each takes a descriptor and about 4 KiB, half of it in the kernel: 16,384 descriptors and 64 MiB. They have permits of their own, so that a
/// flood of datagrams does not keep connections out. Where the limit of open files allows fewer connections, there are no more sessions than
/// those.
const SESSIONS_MAX: usize = 16_384;

/// The state that all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// One permit for each client connection.
    pub(crate) connection_permits: Arc<Semaphore>,
    /// One permit for each UDP session.
    pub(crate) session_permits: Arc<Semaphore>,
    pub(crate) workers: Box<[WorkerHandle]>,
    /// Notified when a request begins to wait for an endpoint.
    pub(crate) endpoint_awaited: Notify,
    pub(crate) logs: Logs,
    pub(crate) challenges: Challenges,
    /// Cancelled once clients may be accepted.
    open: CancellationToken,
    pub(super) stop: CancellationToken,
    /// How to shut down; set before `stop` is cancelled.
    pub(super) shutdown: OnceLock<Shutdown>,
    /// Cancelled when whatever is still in progress is to be aborted, regardless of the grace period.
    pub(super) abort: CancellationToken,
    pub(super) seed: u64,
}

/// How the proxy shuts down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shutdown {
    /// How long requests in progress may take.
    pub(crate) grace: Duration,
    pub(crate) idle_clients: IdleClients,
}

/// What happens to idle client connections when the proxy shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdleClients {
    /// They are closed.
    CloseNow,
    /// Their clients may be about to send a request: each may send one more, and its answer announces that the connection closes. HTTP/2 clients
    /// get a GOAWAY at once, which loses no request.
    CloseAfterAnswer,
}

/// The handle through which a worker is controlled.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pub(super) commands: mpsc::Sender<Command>,
    /// Notified when services or endpoints have changed.
    pub(super) changed: Notify,
    pub(super) connections: AtomicUsize,
}

/// A command to a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve the clients of this listener.
    Listen { socket: ListenerSocket, stop: CancellationToken, service: Arc<Service> },
    /// Serve this client.
    Serve { stream: std::net::TcpStream, accepted: AcceptedConnection, active: ActiveConnection },
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct AcceptedConnection {
    pub(crate) peer: SocketAddr,
    pub(crate) service: Arc<Service>,
    /// Of the connections that the proxy may have at once.
    pub(crate) connection_permit: OwnedSemaphorePermit,
    /// Of those that its listener may have at once.
    pub(crate) listener_permit: ConnectionPermit,
}

/// Counts a connection of a worker until it is dropped.
#[derive(Debug)]
pub(crate) struct ActiveConnection {
    shared: Arc<Shared>,
    worker: usize,
}

/// The permits that a client holds while it is connected.
#[derive(Debug)]
pub(crate) struct Permits {
    pub(super) _active: ActiveConnection,
    pub(super) _connection: OwnedSemaphorePermit,
    pub(super) _listener: ConnectionPermit,
}

impl ActiveConnection {
    pub(super) fn count(shared: &Arc<Shared>, worker: usize) -> Self {
        shared.workers[worker].connections.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), worker }
    }
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.shared.workers[self.worker].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// The shared state of `workers` workers, and the receiver of each one's commands.
    pub(crate) fn new(
        workers: usize,
        connections_max: usize,
        seed: u64,
        logs: Logs,
    ) -> (Self, Vec<mpsc::Receiver<Command>>) {
        let (handles, commands): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
                let handle = WorkerHandle {
                    commands: sender,
                    changed: Notify::new(),
                    connections: AtomicUsize::new(0),
                };
                (handle, receiver)
            })
            .unzip();
        let connection_permits = Arc::new(Semaphore::new(connections_max));
        let shared = Self {
            clock: Clock::start(),
            connection_permits,
            session_permits: Arc::new(Semaphore::new(SESSIONS_MAX.min(connections_max))),
            workers: handles.into(),
            endpoint_awaited: Notify::new(),
            logs,
            challenges: Challenges::default(),
            open: CancellationToken::new(),
            stop: CancellationToken::new(),
            shutdown: OnceLock::new(),
            abort: CancellationToken::new(),
            seed,
        };
        (shared, commands)
    }

    /// Notifies all workers that services or endpoints have changed.
    pub(crate) fn announce_change(&self) {
        self.workers.iter().for_each(|worker| worker.changed.notify_one());
    }

    /// Sends a command; `false` if the worker has ended or its queue is full.
    pub(crate) fn send(&self, worker: usize, command: Command) -> bool {
        self.workers[worker].commands.try_send(command).is_ok()
    }

    /// Lets the workers accept clients.
    pub(crate) fn open(&self) {
        self.open.cancel();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_cancelled()
    }

    pub(crate) async fn until_open(&self) {
        self.open.cancelled().await;
    }

    /// Lets all workers finish what is in progress, and end. Only the first call has an effect.
    pub(crate) fn stop(&self, shutdown: Shutdown) {
        self.shutdown.get_or_init(|| shutdown);
        self.stop.cancel();
    }

    /// Ends all workers at once, regardless of the grace period.
    pub(crate) fn abort(&self) {
        self.stop(Shutdown { grace: Duration::ZERO, idle_clients: IdleClients::CloseNow });
        self.abort.cancel();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}
