//! The state that all requests share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use agent::Agent;
use orchestrator::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::server;

/// Concurrent watches, log followers and other responses without an end, where there are file descriptors for as many.
///
/// 64: each queries the loop up to four times a second; 256 queries a second of some 20 µs are half a
/// per cent of a core.
const STREAMS_MAX: usize = 64;

/// The part of the connections that watches may have: three quarters are left to others.
const STREAMS_SHARE: usize = 4;

/// Concurrent replays of the journal: each reads up to a segment of 64 MiB and keeps a core busy.
const REPLAYS_MAX: usize = 1;

/// The state that all requests share; cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) handle: Handle,
    pub(crate) agent: Agent,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    listen: SocketAddr,
    folder: PathBuf,
    connections_max: usize,
    streams_max: usize,
    streams: Arc<Semaphore>,
    replays: Arc<Semaphore>,
    events_by_kind: Mutex<BTreeMap<String, u64>>,
    stop: CancellationToken,
}

impl State {
    /// Answers from the loop behind `handle` and from `agent`.
    ///
    /// `listen` is the address that clients know it by, `folder` where a relative working directory in a manifest that came
    /// over the network begins. `stop` ends answers that have no end of their own.
    pub fn new(
        handle: Handle,
        agent: Agent,
        listen: SocketAddr,
        folder: PathBuf,
        stop: CancellationToken,
    ) -> Self {
        let connections_max = server::connections_max(os::open_files());
        let streams_max = STREAMS_MAX.min(connections_max / STREAMS_SHARE);
        let shared = Shared {
            listen,
            folder,
            connections_max,
            streams_max,
            streams: Arc::new(Semaphore::new(streams_max)),
            replays: Arc::new(Semaphore::new(REPLAYS_MAX)),
            events_by_kind: Mutex::default(),
            stop,
        };
        Self { handle, agent, shared: Arc::new(shared) }
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.shared.listen
    }

    pub(crate) fn connections_max(&self) -> usize {
        self.shared.connections_max
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.shared.folder
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// Runs a query on a blocking thread: some queries wait for a disk write, all for the loop.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Handle) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let handle = self.handle.clone();
        match tokio::task::spawn_blocking(move || query(&handle)).await {
            Ok(answer) => answer,
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        }
    }

    /// The permit for a response without an end.
    pub(crate) fn open_stream(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.shared.streams).try_acquire_owned().map_err(|_| {
            let sentence = format!(
                "could not begin another watch: {} are open already; end one, or try again later",
                self.shared.streams_max
            );
            Failure::too_many(sentence)
        })
    }

    /// The permit for a replay of the journal.
    pub(crate) fn open_replay(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.shared.replays).try_acquire_owned().map_err(|_| {
            Failure::too_many(
                "could not look into the past: another request is doing so; try again in a moment",
            )
        })
    }

    pub(crate) fn count_event(&self, kind: &str) {
        *self.events_by_kind().entry(kind.to_owned()).or_default() += 1;
    }

    pub(crate) fn events_by_kind(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.shared.events_by_kind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
