//! The proxy: its threads, and how it starts and ends.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::LocalRuntime;
use tokio::sync::oneshot;

use crate::access::{self, Logs};
use crate::listener::InheritedListener;
use crate::table::Table;
use crate::tls::watch;
use crate::worker::{self, IdleClients, Shared, Shutdown};

/// How long the end of the proxy waits until the access logs are written: enough for a full queue, which is some 4 MB.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

/// How big the proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Threads; one for each core that may be used for traffic.
    pub workers: NonZeroUsize,
    /// Concurrent client connections over all services; further ones wait in the system's backlog. Also the limit of concurrent UDP sessions,
    /// of which there are at most 16,384.
    pub connections_max: usize,
    /// The seed of the random choices of endpoints.
    pub seed: u64,
}

impl ProxyConfig {
    /// Each connection takes up to two descriptors, one to the client and one to an endpoint: 32,768 in all. An idle one takes 1 KiB, in all
    /// 16 MiB; one with a request takes 20 KiB, in all 320 MiB. With a lower limit of open files the proxy accepts as many as it can.
    pub const CONNECTIONS_MAX_DEFAULT: usize = 16_384;
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            connections_max: Self::CONNECTIONS_MAX_DEFAULT,
            seed: 0,
        }
    }
}

/// Why the proxy did not start; none of its threads is left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system could not create a thread.
    #[error(
        "could not start worker {worker} of the proxy: the system could not create a thread; raise the limit of processes"
    )]
    Thread {
        /// Which worker; one past the last for the threads that watch certificates and write logs.
        worker: usize,
        /// Why.
        source: io::Error,
    },
    /// The system has no descriptors left.
    #[error(
        "could not start worker {worker} of the proxy: the system could not create an event queue; raise the limit of open files"
    )]
    Runtime {
        /// Which worker.
        worker: usize,
        /// Why.
        source: io::Error,
    },
}

/// The result of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownOutcome {
    /// Connections that were still busy at the deadline and were aborted.
    pub connections_cut: usize,
}

/// A running proxy. Dropping it aborts requests in progress; [`shutdown`](Self::shutdown) lets them finish.
#[derive(Debug)]
pub struct Proxy {
    table: Table,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    ended: Vec<oneshot::Receiver<usize>>,
    /// Writes access logs, until all workers have ended.
    writer: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts the threads, without services.
    pub fn start(config: &ProxyConfig) -> Result<Self, StartError> {
        let proxy = Self::take_over(config, Vec::new())?;
        proxy.open();
        Ok(proxy)
    }

    /// As [`start`](Self::start), to replace another proxy: services claim its sockets for their addresses, and no client is accepted before
    /// [`open`](Self::open).
    pub fn take_over(config: &ProxyConfig, inherited: Vec<InheritedListener>) -> Result<Self, StartError> {
        let workers = config.workers.get();
        let (logs, messages) = Logs::new();
        let (shared, orders) = Shared::new(workers, config.connections_max, config.seed, logs);
        let shared = Arc::new(shared);
        let (wake, wake_ups) = mpsc::channel();
        let table = Table::new(Arc::clone(&shared), inherited, wake);
        let mut proxy = Self { table, shared, threads: Vec::new(), ended: Vec::new(), writer: None };
        let writer = std::thread::Builder::new().name("access-log".into());
        let writer = writer.spawn(move || access::run(&messages));
        proxy.writer = Some(writer.map_err(|source| StartError::Thread { worker: workers, source })?);
        for (worker, orders) in orders.into_iter().enumerate() {
            // A thread that was started ends when `proxy` is dropped by an early return.
            let (report_start, start) = mpsc::channel();
            let (report_end, end) = oneshot::channel();
            let shared = Arc::clone(&proxy.shared);
            let body = move || {
                let runtime = match LocalRuntime::new() {
                    Ok(runtime) => runtime,
                    Err(source) => {
                        let _ = report_start.send(Err(source));
                        return;
                    }
                };
                let _ = report_start.send(Ok(()));
                let cut = worker::run(worker, shared, orders, &runtime);
                drop(runtime);
                // Fails when the proxy was dropped without a shutdown.
                let _ = report_end.send(cut);
            };
            let thread = std::thread::Builder::new().name(format!("proxy-{worker}"));
            let thread = thread.spawn(body).map_err(|source| StartError::Thread { worker, source })?;
            proxy.threads.push(thread);
            proxy.ended.push(end);
            let started = start.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
            started.map_err(|source| StartError::Runtime { worker, source })?;
        }
        let table = proxy.table();
        let thread = std::thread::Builder::new().name("certificates".into());
        let thread = thread.spawn(move || watch::run(&table, &wake_ups));
        proxy.threads.push(thread.map_err(|source| StartError::Thread { worker: workers, source })?);
        Ok(proxy)
    }

    /// The handle through which services are set and counters read.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table.clone()
    }

    /// Begins to accept clients, and closes the inherited sockets that no service has claimed. Only the first call has an effect.
    pub fn open(&self) {
        self.table.close_unclaimed();
        self.shared.open();
    }

    /// Stops accepting, lets requests in progress finish for up to `grace`, aborts the rest, and ends the threads. Dropping this aborts at once.
    pub async fn shutdown(self, grace: Duration) -> ShutdownOutcome {
        self.shared.stop(Shutdown { grace, idle_clients: IdleClients::CloseNow });
        self.table.close_listeners();
        self.wait().await
    }

    /// Hands over to the proxy that was given the [listening sockets](Table::share_listeners): it accepts the clients that were not accepted yet.
    /// Connected clients have up to `grace` to finish: each may send one more request if it could not know that its connection closes.
    pub async fn hand_over(self, grace: Duration) -> ShutdownOutcome {
        self.shared.stop(Shutdown { grace, idle_clients: IdleClients::CloseAfterAnswer });
        self.table.release_listeners();
        self.wait().await
    }

    async fn wait(mut self) -> ShutdownOutcome {
        self.table.wake_certificate_watch();
        let mut connections_cut = 0;
        for ended in std::mem::take(&mut self.ended) {
            // A worker that panicked has aborted its connections without counting them.
            connections_cut += ended.await.unwrap_or(0);
        }
        ShutdownOutcome { connections_cut }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.abort();
        self.table.wake_certificate_watch();
        self.table.close_listeners();
        for thread in self.threads.drain(..) {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
        if let Some(writer) = self.writer.take() {
            finish_logs(Arc::clone(&self.shared), writer);
        }
    }
}

/// Lets the writer of access logs finish. One that cannot write, as into a pipe that nobody reads, ends with the process.
fn finish_logs(shared: Arc<Shared>, writer: JoinHandle<()>) {
    let (report_end, end) = mpsc::channel();
    let finish = move || {
        shared.logs.stop();
        let _ = writer.join();
        let _ = report_end.send(());
    };
    let _ = std::thread::Builder::new().name("access-log-end".into()).spawn(finish);
    // At once if there is no such thread.
    let _ = end.recv_timeout(LOG_TIMEOUT);
}
