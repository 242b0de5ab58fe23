//! A worker: one thread with its own runtime, which serves its connections from their beginning to their end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::net::TcpStream;
use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::date::Date;
use crate::http1::ReadySlots;
use crate::listener::{self, ListenerSocket};
use crate::local::LocalService;
use crate::router::GZIPS_MAX;
use crate::service::Service;
use crate::timer::{TICK, Timers};
use crate::udp;

mod shared;

pub(crate) use self::shared::{AcceptedConnection, Command, IdleClients, Permits, Shared, Shutdown};
use self::shared::{ActiveConnection, WorkerHandle};

/// TLS handshakes that a worker does between two looks at its other tasks. At up to 1 ms each, with RSA, requests in progress wait for 4 ms at
/// most, however many new clients come.
const HANDSHAKES_PER_TURN: usize = 4;

/// Ticks between two sweeps of idle connections to endpoints: one second.
const TICKS_PER_SWEEP: u32 = 10;

/// A worker, as its connections see it.
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

/// The time slice that a worker asks of the kernel (its default is 1.4 ms on two processors, and 2.8 ms on eight and more). A worker does
/// little for each event, and wakes up again at once; while replicas and clients keep the processors busy, short slices let it answer earlier:
/// decision 0086.
const TIME_SLICE: Duration = Duration::from_micros(300);

/// Runs a worker until it is stopped; returns how many connections were aborted.
pub(crate) fn run(
    index: usize,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    runtime: &LocalRuntime,
) -> usize {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(shared.seed);
    if let Err(error) = os::request_time_slice(TIME_SLICE) {
        tracing::debug!(worker = index, %error, "time_slice_not_set");
    }
    // Workers draw from streams of their own, 2^128 numbers apart.
    (0..index).for_each(|_| rng.jump());
    let worker = Rc::new(Worker {
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
    });
    runtime.block_on(worker.run_commands(commands))
}

impl Worker {
    async fn run_commands(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) -> usize {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick_count = 0u32;
        let mut deadline: Option<Instant> = None;
        loop {
            // All of them are cancel safe.
            tokio::select! {
                biased;
                Some(command) = commands.recv() => self.execute(command),
                () = self.until_stopping(), if deadline.is_none() => {
                    self.listeners.close();
                    self.connections.close();
                    self.timers.wake_all();
                    let grace = self.shared.shutdown.get().map_or(Duration::ZERO, |shutdown| shutdown.grace);
                    deadline = Some(Instant::now() + grace);
                }
                () = self.handle().changed.notified() => self.apply_changes(),
                () = self.until_drained(), if deadline.is_some() => {
                    // No further commands are taken; those in the queue are still executed.
                    commands.close();
                    match commands.try_recv() {
                        Ok(command) => self.execute(command),
                        Err(_) => return 0,
                    }
                }
                () = until(deadline) => return self.connections.len(),
                () = self.shared.abort.cancelled(), if deadline.is_some() => return self.connections.len(),
                _ = ticks.tick(), if !self.is_idle() => {
                    self.timers.tick();
                    tick_count = tick_count.wrapping_add(1);
                    self.services.borrow().iter().for_each(|local| local.service.review());
                    if tick_count.is_multiple_of(TICKS_PER_SWEEP) {
                        self.sweep();
                    }
                }
            }
        }
    }

    fn execute(self: &Rc<Self>, command: Command) {
        match command {
            Command::Listen { socket, stop, service } => {
                let worker = Rc::clone(self);
                match socket {
                    ListenerSocket::Tcp(socket) => {
                        self.listeners.spawn_local(listener::accept(worker, socket, stop, service))
                    }
                    ListenerSocket::Udp(socket) => {
                        self.listeners.spawn_local(udp::serve(worker, socket, stop, service))
                    }
                };
            }
            Command::Serve { stream, accepted, active } => self.serve(stream, accepted, active),
        }
    }

    fn serve(
        self: &Rc<Self>,
        stream: std::net::TcpStream,
        accepted: AcceptedConnection,
        active: ActiveConnection,
    ) {
        let AcceptedConnection { peer, service, connection_permit, listener_permit } = accepted;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(service = %service.name, %error, "connection_not_watched");
                return;
            }
        };
        let local = self.local(&service);
        let permits = Permits { _active: active, _connection: connection_permit, _listener: listener_permit };
        self.spawn_connection(connection::serve(Rc::clone(self), local, stream, peer, permits));
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

    /// Gives a new connection to the worker that has the fewest.
    pub(crate) async fn assign(self: &Rc<Self>, stream: std::net::TcpStream, accepted: AcceptedConnection) {
        let workers = self.shared.workers.iter().enumerate();
        // Ties go to this worker, so that the connection need not be handed over.
        let fewest =
            workers.min_by_key(|(i, worker)| (worker.connections.load(Ordering::Relaxed), *i != self.index));
        let (index, fewest) = fewest.expect("a proxy has at least one worker");
        let active = ActiveConnection::count(&self.shared, index);
        if index == self.index {
            self.serve(stream, accepted, active);
            return;
        }
        let sent = fewest.commands.send(Command::Serve { stream, accepted, active }).await;
        // That worker has ended because the proxy shuts down. This one goes on as long as it accepts, so it serves the client.
        if let Err(SendError(command)) = sent {
            self.execute(command);
        }
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

    /// Waits until no more clients are accepted and none is left.
    async fn until_drained(&self) {
        self.listeners.wait().await;
        self.connections.wait().await;
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

    /// Applies changes of services: closes connections that they no longer need, and lets those of removed services end.
    fn apply_changes(&self) {
        let mut services = self.services.borrow_mut();
        services.iter().for_each(|local| local.refresh());
        if services.iter().any(|local| local.service.is_closing()) {
            services.retain(|local| !local.service.is_closing());
            self.timers.wake_all();
        }
    }

    fn sweep(&self) {
        let now = self.timers.now();
        self.services.borrow().iter().for_each(|local| local.sweep(now));
    }

    /// Whether no ticks are needed, so that an idle proxy does not wake up.
    fn is_idle(&self) -> bool {
        // The timers do not say so: a connection that was just handed over has none yet.
        self.connections.is_empty()
            && !self.services.borrow().iter().any(|local| local.has_idle_connections())
    }

    fn handle(&self) -> &WorkerHandle {
        &self.shared.workers[self.index]
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
