//! What all workers share, and how they are reached from outside.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::access::Logs;
use crate::clock::Clock;
use crate::connection_limit::ConnectionPermit;
use crate::datagram::SESSIONS_MAX;
use crate::listener::Entrance;
use crate::service::Service;
use crate::tls::Challenges;

/// Orders that may queue for a worker; its loop takes them as fast as connections can be set up.
const ORDERS_MAX: usize = 1024;

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// One place for each client connection.
    pub(crate) places: Arc<Semaphore>,
    /// One place for each session of UDP.
    pub(crate) sessions: Arc<Semaphore>,
    pub(crate) workers: Box<[WorkerHandle]>,
    /// Told when a request begins to wait for an endpoint.
    pub(crate) awaited: Notify,
    pub(crate) logs: Logs,
    pub(crate) challenges: Challenges,
    /// Cancelled once clients may be accepted.
    open: CancellationToken,
    pub(super) stop: CancellationToken,
    /// How to end; set before `stop` is cancelled.
    pub(super) ending: OnceLock<Ending>,
    /// Cancelled when whatever is still under way is to be cut off, regardless of its grace.
    pub(super) cut: CancellationToken,
    pub(super) seed: u64,
}

/// How the proxy ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// How long what is under way may take.
    pub(crate) grace: Duration,
    pub(crate) farewell: Farewell,
}

/// What becomes of a client that has nothing under way when the proxy ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Its connection is closed.
    AtOnce,
    /// It may be about to send a request: it is served one more, and told with the answer that the connection ends. Over HTTP/2 it is told
    /// at once, which loses nothing there.
    WithAnAnswer,
}

/// How a worker is reached from outside.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pub(super) orders: mpsc::Sender<Order>,
    /// Told when services or endpoints changed.
    pub(super) changed: Notify,
    pub(super) connections: AtomicUsize,
}

/// An order to a worker.
#[derive(Debug)]
pub(crate) enum Order {
    /// Serve the clients that come in by this socket.
    Listen { entrance: Entrance, given_up: CancellationToken, service: Arc<Service> },
    /// Serve this client.
    Serve { stream: std::net::TcpStream, accepted: Accepted, active: ActiveConnection },
}

/// An accepted client.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) peer: SocketAddr,
    pub(crate) service: Arc<Service>,
    /// One of the connections that the proxy may have at once.
    pub(crate) place: OwnedSemaphorePermit,
    /// One of those that its listener may have at once.
    pub(crate) permit: ConnectionPermit,
}

/// Counts as a connection of a worker until it is dropped.
#[derive(Debug)]
pub(crate) struct ActiveConnection {
    shared: Arc<Shared>,
    worker: usize,
}

/// What a client holds while it is connected; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Permits {
    pub(super) _active: ActiveConnection,
    pub(super) _place: OwnedSemaphorePermit,
    pub(super) _permit: ConnectionPermit,
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
    /// The shared part of so many workers, and the receiving end of each one's orders.
    pub(crate) fn new(
        workers: usize,
        connections_max: usize,
        seed: u64,
        logs: Logs,
    ) -> (Self, Vec<mpsc::Receiver<Order>>) {
        let (handles, orders): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(ORDERS_MAX);
                let handle =
                    WorkerHandle { orders: sender, changed: Notify::new(), connections: AtomicUsize::new(0) };
                (handle, receiver)
            })
            .unzip();
        let places = Arc::new(Semaphore::new(connections_max));
        let shared = Self {
            clock: Clock::start(),
            places,
            sessions: Arc::new(Semaphore::new(SESSIONS_MAX)),
            workers: handles.into(),
            awaited: Notify::new(),
            logs,
            challenges: Challenges::default(),
            open: CancellationToken::new(),
            stop: CancellationToken::new(),
            ending: OnceLock::new(),
            cut: CancellationToken::new(),
            seed,
        };
        (shared, orders)
    }

    /// Tells all workers to look at their services again.
    pub(crate) fn announce_change(&self) {
        self.workers.iter().for_each(|worker| worker.changed.notify_one());
    }

    /// Gives an order; `false` if the worker has ended or its queue is full.
    pub(crate) fn order(&self, worker: usize, order: Order) -> bool {
        self.workers[worker].orders.try_send(order).is_ok()
    }

    /// Lets clients be accepted.
    pub(crate) fn open(&self) {
        self.open.cancel();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_cancelled()
    }

    pub(crate) async fn until_open(&self) {
        self.open.cancelled().await;
    }

    /// Tells all workers to finish what is under way, and to end. Only the first call counts.
    pub(crate) fn stop(&self, ending: Ending) {
        self.ending.get_or_init(|| ending);
        self.stop.cancel();
    }

    /// Tells all workers to end at once, also those that were told to take their time.
    pub(crate) fn cut(&self) {
        self.stop(Ending { grace: Duration::ZERO, farewell: Farewell::AtOnce });
        self.cut.cancel();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}
