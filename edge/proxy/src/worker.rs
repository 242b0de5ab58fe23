//! A worker: one thread with its own runtime, which serves its connections from their beginning to their end.
//!
//! Here is its state, which its connections share; `run.rs` is its loop.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::date::Date;
use crate::local::LocalService;
use crate::ready_slots::ReadySlots;
use crate::router::GZIPS_MAX;
use crate::service::Service;
use crate::timer::Timers;

mod run;
mod shared;

pub(crate) use self::run::run;
pub(crate) use self::shared::{AcceptedConnection, Command, IdleClients, Permits, Shared, Shutdown};
use self::shared::{ActiveConnection, WorkerHandle};

/// TLS handshakes that a worker does before its other tasks run. At up to 1 ms each, with RSA, requests in progress wait for at most 4 ms,
/// however many new clients connect.
const HANDSHAKES_PER_TURN: usize = 4;

/// A worker, from the view of its connections.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) timers: Timers,
    pub(crate) ready_slots: ReadySlots,
    pub(crate) date: Date,
    /// One permit for each handshake in one turn.
    pub(crate) handshake_permits: Semaphore,
    services: RefCell<Vec<Rc<LocalService>>>,
    connections: TaskTracker,
    /// Requests of clients that speak HTTP/2. They end with their connection.
    pub(crate) streams: TaskTracker,
    /// Connections to endpoints that speak HTTP/2. They end with their last request.
    pub(crate) http2_connections: TaskTracker,
    listeners: TaskTracker,
    /// Copies of requests. The end of the worker does not wait for them.
    pub(crate) copies: TaskTracker,
    /// One permit for each answer that is compressed.
    pub(crate) gzip_permits: Arc<Semaphore>,
    rng: RefCell<Xoshiro256PlusPlus>,
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(shared.seed);
        // Workers draw from streams of their own, 2^128 numbers apart.
        (0..index).for_each(|_| rng.jump());
        Self {
            index,
            shared,
            timers: Timers::new(),
            ready_slots: ReadySlots::default(),
            date: Date::default(),
            handshake_permits: Semaphore::new(HANDSHAKES_PER_TURN),
            services: RefCell::default(),
            connections: TaskTracker::new(),
            streams: TaskTracker::new(),
            http2_connections: TaskTracker::new(),
            listeners: TaskTracker::new(),
            copies: TaskTracker::new(),
            gzip_permits: Arc::new(Semaphore::new(GZIPS_MAX)),
            rng: RefCell::new(rng),
        }
    }

    /// Runs a UDP session, which counts as a connection.
    pub(crate) fn spawn_session(self: &Rc<Self>, session: impl Future<Output = ()> + 'static) {
        let active = ActiveConnection::count(&self.shared, self.index);
        self.spawn_connection(async move {
            session.await;
            drop(active);
        });
    }

    fn spawn_connection(&self, connection: impl Future<Output = ()> + 'static) {
        if self.is_idle() {
            // Wakes the loop, which has no ticks while the worker is idle.
            self.handle().changed.notify_one();
        }
        self.connections.spawn_local(connection);
    }

    /// Whether the proxy shuts down, in either way.
    pub(crate) fn is_ending(&self) -> bool {
        self.shared.is_stopped()
    }

    /// Whether idle connections are to be closed.
    pub(crate) fn is_stopping(&self) -> bool {
        self.connections.is_closed() && self.idle_clients() == Some(IdleClients::CloseNow)
    }

    /// Whether each connection is to be closed after its next answer.
    pub(crate) fn closes_after_answer(&self) -> bool {
        self.connections.is_closed() && self.idle_clients() == Some(IdleClients::CloseAfterAnswer)
    }

    fn idle_clients(&self) -> Option<IdleClients> {
        self.shared.shutdown.get().map(|shutdown| shutdown.idle_clients)
    }

    pub(crate) async fn until_stopping(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Waits until the proxy is open; `false` when it, or the listener, is stopped before that. Cancel safe.
    pub(crate) async fn until_open_or_stopped(&self, stop: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = self.until_stopping() => false,
            () = stop.cancelled() => false,
            () = self.shared.until_open() => true,
        }
    }

    /// Calls `decide` with the random numbers of this worker.
    pub(crate) fn with_rng<T>(&self, decide: impl FnOnce(&mut Xoshiro256PlusPlus) -> T) -> T {
        decide(&mut self.rng.borrow_mut())
    }

    /// This worker's state of a service.
    pub(crate) fn local(&self, service: &Arc<Service>) -> Rc<LocalService> {
        let mut services = self.services.borrow_mut();
        if let Some(local) = services.iter().find(|local| Arc::ptr_eq(&local.service, service)) {
            return Rc::clone(local);
        }
        let rng = Xoshiro256PlusPlus::from_rng(&mut *self.rng.borrow_mut());
        let local = LocalService::new(Arc::clone(service), self.index, rng);
        services.push(Rc::clone(&local));
        local
    }

    /// Whether no ticks are needed, so that an idle proxy does not wake up.
    fn is_idle(&self) -> bool {
        // The timers do not show this: a connection that was just handed over has none yet. Copies may outlive the client of their request, and
        // leave an idle connection behind.
        self.connections.is_empty()
            && self.copies.is_empty()
            && !self.services.borrow().iter().any(|local| local.has_idle_connections())
    }

    fn handle(&self) -> &WorkerHandle {
        &self.shared.workers[self.index]
    }
}
