//! Runs the control loop: receives inputs, journals them, and dispatches the resulting actions.
//!
//! One thread owns the loop. It receives messages, steps the loop, writes inputs and digests to the disk, and only then dispatches
//! the actions (law 2 of ARCHITECTURE.md). All other threads send it messages through a [`Handle`]. A declaration is in the store before it is
//! acknowledged; the loop receives it afterwards, and again from the store at each start.
//!
//! This crate makes no decisions about replicas, which is the task of `core/control`, and runs none, which is the task of the agent.

mod engine;
mod event_log;
mod handle;
mod health;
mod history;
mod memory_writer;
mod metric_sources;
mod registry;
mod replica_access;
mod routing;
mod start_error;
mod state_store;
mod versions;

pub use engine::{Config, Order};
pub use event_log::EventLog;
pub use handle::{Handle, Stopped};
pub use history::{HISTORY_RETENTION, HistoryConfig};
pub use journal::{DecisionHistory, DecisionRun, EventId, EventRecord, decision_record};
pub use metric_sources::MetricSources;
pub use registry::{Applied, ApplyError, Change};
pub use replica_access::{ReplicaAccess, Versions};
pub use routing::{RouteEntry, Routing};
pub use start_error::{StartError, StartObstacle};
pub use state_store::{StateStoreError, StoredResource};

/// Starts the loop on a thread of its own, from the state in the store.
///
/// Fails, with nothing started, when the store cannot be read or written, or the journal cannot be created.
pub fn start(config: Config) -> Result<Handle, StartError> {
    engine::start(config)
}
