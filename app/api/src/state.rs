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
use crate::limits;

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
    /// The state for requests that are answered by the loop behind `handle` and by `agent`.
    ///
    /// `listen` is the address of the API. Relative working directories in manifests that come over the network are resolved against
    /// `folder`. `stop` shuts the API down; it also ends streams.
    pub fn new(
        handle: Handle,
        agent: Agent,
        listen: SocketAddr,
        folder: PathBuf,
        stop: CancellationToken,
    ) -> Self {
        let connections_max = limits::connections_max(os::open_files());
        let streams_max = limits::streams_max(connections_max);
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

    /// Runs a query on a blocking thread: every query waits for the loop, and some wait for a disk write.
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

    /// The permit for a stream: a response without an end.
    pub(crate) fn open_stream(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.shared.streams).try_acquire_owned().map_err(|_| {
            let sentence = format!(
                "could not open another watch or followed log: {} are open already; end one of them, or try again later",
                self.shared.streams_max
            );
            Failure::too_many(sentence)
        })
    }

    /// The permit for a replay of the journal.
    pub(crate) fn open_replay(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.shared.replays).try_acquire_owned().map_err(|_| {
            Failure::too_many(
                "could not replay the journal: another request is replaying it; try again in a moment",
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
