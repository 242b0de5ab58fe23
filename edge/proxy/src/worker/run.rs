//! The loop of a worker: executes commands, ticks, and ends when the proxy shuts down.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, MissedTickBehavior};

use super::Worker;
use super::shared::{AcceptedConnection, ActiveConnection, Command, Permits, Shared};
use crate::accept;
use crate::connection;
use crate::listener::ListenerSocket;
use crate::timer::TICK;
use crate::udp;

/// Ticks between two sweeps of idle connections to endpoints: one second.
const TICKS_PER_SWEEP: u32 = 10;

/// The time slice that a worker requests from the kernel, whose default is 1.4 ms on two processors, and 2.8 ms on eight and more. A worker
/// does little for each event, and wakes up again at once; while replicas and clients keep the processors busy, it is scheduled earlier
/// with short slices: decision 0086.
const TIME_SLICE: Duration = Duration::from_micros(300);

/// Runs a worker until it is stopped; returns how many connections were aborted.
pub(crate) fn run(
    index: usize,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    runtime: &LocalRuntime,
) -> usize {
    if let Err(error) = os::request_time_slice(TIME_SLICE) {
        tracing::debug!(worker = index, %error, "time_slice_not_set");
    }
    let worker = Rc::new(Worker::new(index, shared));
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
                () = self.wait_until_drained(), if deadline.is_some() => {
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
                        self.listeners.spawn_local(accept::accept(worker, socket, stop, service))
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
        // That worker has ended because the proxy shuts down. This one runs as long as it accepts, so it serves the client.
        if let Err(SendError(command)) = sent {
            self.execute(command);
        }
    }

    /// Waits until no more clients are accepted and none is left.
    async fn wait_until_drained(&self) {
        self.listeners.wait().await;
        self.connections.wait().await;
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
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
