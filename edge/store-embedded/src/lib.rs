//! The embedded store: one crash-safe file.
//!
//! [`EmbeddedStore::open`] gives a [`store::Store`] whose rows live in `store.db` of a folder, held by one process at a time.
//! A write is acknowledged after its bytes are synced to the disk; writers that wait at the same moment share one sync. The
//! engine beneath is redb; this crate adds the format record in front of it, the lock, the checksums of rows, the writer thread
//! and the decision what a failed write means.
//!
//! It never reads a clock, never guesses after a failed sync, and never writes to a file that it does not fully understand.
//!
//! ```
//! use store::{Key, Store, Value};
//! use store_embedded::EmbeddedStore;
//!
//! let dir = tempfile::tempdir()?;
//! let shop = Key::parse("services/shop")?;
//! let store = EmbeddedStore::open(dir.path())?;
//! store.put(shop.clone(), Value::new("replicas: 2")?)?;
//! drop(store);
//!
//! let store = EmbeddedStore::open(dir.path())?;
//! assert_eq!(store.get(&shop)?.map(|entry| entry.version), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod disk;
mod embedded;
mod engine;
#[cfg(test)]
mod faults;
mod ledger;
mod open;
mod rows;
mod writer;

pub use embedded::EmbeddedStore;
pub use open::OpenError;
