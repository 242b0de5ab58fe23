//! Runs the control loop: takes inputs, journals them, and hands out the actions that follow.
//!
//! One thread owns the loop. It takes what has come, steps the loop, brings inputs and digests to the disk, and only then hands
//! the actions out (law 2). All others send it messages through a [`Handle`]. What people want is kept in the store before it is
//! acknowledged; the loop is told afterwards, and again from the store at each start (law 9).
//!
//! It decides nothing about replicas: that is `core/control`. It runs nothing: that is up to the agent that takes the orders.

mod engine;
mod event_log;
mod handle;
mod health;
mod history;
mod intake;
mod measuring;
mod memory_writer;
mod routing;
mod state_store;
mod versions;

pub use engine::{Doors, Order, StartError};
pub use event_log::EventLog;
pub use handle::{Handle, Stopped};
pub use history::{HISTORY_RETENTION, HistoryConfig};
pub use intake::{Applied, ApplyError, Change};
pub use journal::{EventId, EventRecord, Kept, Past, kept};
pub use measuring::Measuring;
pub use routing::{KeptRoute, Routing};
pub use state_store::{StateStoreError, StoredResource};

/// Starts the loop on a thread of its own, from what the store holds.
///
/// Fails when the store cannot be read or written, or the journal cannot be begun; nothing was started then.
pub fn start(doors: Doors) -> Result<Handle, StartError> {
    engine::start(doors)
}
