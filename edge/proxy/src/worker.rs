//! A worker: one thread with its own runtime, on which its connections live and die.

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
use crate::datagram;
use crate::date::Date;
use crate::http1::ReadyPlaces;
use crate::listener::{self, Entrance};
use crate::local::LocalService;
use crate::router::GZIPS_MAX;
use crate::service::Service;
use crate::timer::{TICK, Timers};

mod shared;

pub(crate) use self::shared::{Accepted, Ending, Farewell, Order, Permits, Shared};
use self::shared::{ActiveConnection, WorkerHandle};

/// Handshakes that a worker does in one turn. At up to 1 ms each, with RSA, requests under way wait for 4 ms at most, however many new clients
/// come.
const HANDSHAKES_PER_TURN: usize = 4;

/// Ticks between two looks at idle connections to endpoints: one second.
const TICKS_PER_SWEEP: u32 = 10;

/// A worker, as its connections see it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) timers: Timers,
    pub(crate) ready_places: ReadyPlaces,
    pub(crate) date: Date,
    /// The places of handshakes in one turn.
    pub(crate) handshakes: Semaphore,
    services: RefCell<Vec<Rc<LocalService>>>,
    connections: TaskTracker,
    /// Requests of clients that speak HTTP/2. They end with their connection.
    pub(crate) streams: TaskTracker,
    /// Connections to endpoints that speak HTTP/2. They end with their last request.
    pub(crate) http2_connections: TaskTracker,
    listeners: TaskTracker,
    /// Copies of requests. The end of the worker does not wait for them.
    pub(crate) copies: TaskTracker,
    /// The places of answers that are compressed at once.
    pub(crate) gzips: Arc<Semaphore>,
    rng: RefCell<Xoshiro256PlusPlus>,
}

/// Runs a worker until it is stopped; returns how many connections were cut off.
pub(crate) fn run(
    index: usize,
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    runtime: &LocalRuntime,
) -> usize {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(shared.seed);
    // Workers draw from streams of their own, 2^128 numbers apart.
    (0..index).for_each(|_| rng.jump());
    let worker = Rc::new(Worker {
        index,
        shared,
        timers: Timers::new(),
        ready_places: ReadyPlaces::default(),
        date: Date::default(),
        handshakes: Semaphore::new(HANDSHAKES_PER_TURN),
        services: RefCell::default(),
        connections: TaskTracker::new(),
        streams: TaskTracker::new(),
        http2_connections: TaskTracker::new(),
        listeners: TaskTracker::new(),
        copies: TaskTracker::new(),
        gzips: Arc::new(Semaphore::new(GZIPS_MAX)),
        rng: RefCell::new(rng),
    });
    runtime.block_on(worker.obey(orders))
}

impl Worker {
    async fn obey(self: Rc<Self>, mut orders: mpsc::Receiver<Order>) -> usize {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick_count = 0u32;
        let mut deadline: Option<Instant> = None;
        loop {
            // All of them are cancel safe.
            tokio::select! {
                biased;
                Some(order) = orders.recv() => self.carry_out(order),
                () = self.until_stopping(), if deadline.is_none() => {
                    self.listeners.close();
                    self.connections.close();
                    self.timers.wake_all();
                    let grace = self.shared.ending.get().map_or(Duration::ZERO, |ending| ending.grace);
                    deadline = Some(Instant::now() + grace);
                }
                () = self.handle().changed.notified() => self.look_around(),
                () = self.until_deserted(), if deadline.is_some() => {
                    // No further orders are taken; those that were given are still carried out.
                    orders.close();
                    match orders.try_recv() {
                        Ok(order) => self.carry_out(order),
                        Err(_) => return 0,
                    }
                }
                () = until(deadline) => return self.connections.len(),
                () = self.shared.cut.cancelled(), if deadline.is_some() => return self.connections.len(),
                _ = ticks.tick(), if !self.is_quiet() => {
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

    fn carry_out(self: &Rc<Self>, order: Order) {
        match order {
            Order::Listen { entrance, given_up, service } => {
                let worker = Rc::clone(self);
                match entrance {
                    Entrance::Tcp(socket) => {
                        self.listeners.spawn_local(listener::accept(worker, socket, given_up, service))
                    }
                    Entrance::Udp(socket) => {
                        self.listeners.spawn_local(datagram::serve(worker, socket, given_up, service))
                    }
                };
            }
            Order::Serve { stream, accepted, active } => self.serve(stream, accepted, active),
        }
    }

    fn serve(self: &Rc<Self>, stream: std::net::TcpStream, accepted: Accepted, active: ActiveConnection) {
        let Accepted { peer, service, place, permit } = accepted;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(service = %service.name, %error, "connection not watched");
                return;
            }
        };
        let local = self.local(&service);
        let permits = Permits { _active: active, _place: place, _permit: permit };
        self.watch(connection::serve(Rc::clone(self), local, stream, peer, permits));
    }

    /// Runs a session of UDP, which counts as a connection.
    pub(crate) fn host(self: &Rc<Self>, session: impl Future<Output = ()> + 'static) {
        let active = ActiveConnection::count(&self.shared, self.index);
        self.watch(async move {
            session.await;
            drop(active);
        });
    }

    fn watch(&self, connection: impl Future<Output = ()> + 'static) {
        if self.is_quiet() {
            // Wakes the loop, which sleeps without ticks while the worker is quiet.
            self.handle().changed.notify_one();
        }
        self.connections.spawn_local(connection);
    }

    /// Gives a new connection to the worker that has the fewest.
    pub(crate) async fn assign(self: &Rc<Self>, stream: std::net::TcpStream, accepted: Accepted) {
        let workers = self.shared.workers.iter().enumerate();
        // Among equals this worker comes first, so that the connection need not be handed over.
        let fewest =
            workers.min_by_key(|(i, worker)| (worker.connections.load(Ordering::Relaxed), *i != self.index));
        let (index, fewest) = fewest.expect("a proxy has at least one worker");
        let active = ActiveConnection::count(&self.shared, index);
        if index == self.index {
            self.serve(stream, accepted, active);
            return;
        }
        let given = fewest.orders.send(Order::Serve { stream, accepted, active }).await;
        // That worker has ended because the proxy ends. This one goes on as long as it accepts, so it serves the client.
        if let Err(SendError(order)) = given {
            self.carry_out(order);
        }
    }

    /// Whether the proxy ends, in either way.
    pub(crate) fn is_ending(&self) -> bool {
        self.shared.is_stopped()
    }

    /// Whether connections are closed that have nothing under way.
    pub(crate) fn is_stopping(&self) -> bool {
        self.connections.is_closed() && self.farewell() == Some(Farewell::AtOnce)
    }

    /// Whether clients are told with their next answer that their connection ends.
    pub(crate) fn is_leaving(&self) -> bool {
        self.connections.is_closed() && self.farewell() == Some(Farewell::WithAnAnswer)
    }

    fn farewell(&self) -> Option<Farewell> {
        self.shared.ending.get().map(|ending| ending.farewell)
    }

    /// Waits until no client is accepted any more, and no client is left.
    async fn until_deserted(&self) {
        self.listeners.wait().await;
        self.connections.wait().await;
    }

    pub(crate) async fn until_stopping(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Waits until the proxy is open; `false` when it stops, or the socket is given up, before that. Cancel safe.
    pub(crate) async fn may_serve(&self, given_up: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = self.until_stopping() => false,
            () = given_up.cancelled() => false,
            () = self.shared.until_open() => true,
        }
    }

    /// Calls `decide` with the random numbers of this worker.
    pub(crate) fn with_chance<T>(&self, decide: impl FnOnce(&mut Xoshiro256PlusPlus) -> T) -> T {
        decide(&mut self.rng.borrow_mut())
    }

    /// A service as this worker knows it.
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

    /// Closes what changed services no longer need, and lets connections of removed ones end.
    fn look_around(&self) {
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

    /// Whether there is nothing that time could change, so that an idle proxy does not wake up.
    fn is_quiet(&self) -> bool {
        // The timers do not tell: a connection that was just handed over has none yet.
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
