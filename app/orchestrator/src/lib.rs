//! Runs the control loop: takes inputs, journals them, and hands out the actions that follow.
//!
//! One thread owns the loop. It receives messages, steps the loop, writes inputs and digests to the disk, and only then dispatches
//! the actions (law 2 of ARCHITECTURE.md). All other threads send it messages through a [`Handle`]. A declaration is in the store before it is
//! acknowledged; the loop gets it afterwards, and again from the store at each start.
//!
//! It decides nothing about replicas: that is `core/control`. It runs nothing: that is up to the agent that carries out the orders.

mod engine;
mod event_log;
mod handle;
mod health;
mod history;
mod memory_writer;
mod metric_sources;
mod registry;
mod routing;
mod state_store;
mod versions;

pub use engine::{Config, Order, StartError};
pub use event_log::EventLog;
pub use handle::{Handle, Stopped};
pub use history::{HISTORY_RETENTION, HistoryConfig};
pub use journal::{DecisionHistory, DecisionRun, EventId, EventRecord, decision_record};
pub use metric_sources::MetricSources;
pub use registry::{Applied, ApplyError, Change};
pub use routing::{RouteEntry, Routing};
pub use state_store::{StateStoreError, StoredResource};

/// Starts the loop on a thread of its own, from the state in the store.
///
/// Fails when the store cannot be read or written, or the journal cannot be begun; then nothing was started.
pub fn start(config: Config) -> Result<Handle, StartError> {
    engine::start(config)
}
