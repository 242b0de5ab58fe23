//! The Store contract: revisioned keys, compare-and-set, watch, lease.
//!
//! A [`Store`] keeps small rows by [`Key`], and stamps each write with a [`Revision`]. A caller that has read a row can
//! write it back on condition that it was not written since; a caller that has listed a folder can watch its
//! changes from exactly that point on. Beside the contract this crate has what every implementation shares (the
//! semantics of a [`Txn`], the [`WatchHub`], the [`LeaseClock`]) and one implementation without a disk,
//! [`memory::MemoryStore`].
//!
//! It never reads a clock: leases use the caller's time. Values are opaque to it.
//!
//! ```
//! use store::memory::MemoryStore;
//! use store::{Commit, Expect, Key, Prefix, Store, Value};
//!
//! let store = MemoryStore::default();
//! let shop = Key::parse("services/shop")?;
//! let first = store.put(shop.clone(), Value::new("replicas: 2")?)?;
//!
//! // Two writers read the same row; the second to write it back is refused.
//! let bigger = store.compare_and_set(shop.clone(), Expect::WrittenAt(first), Value::new("replicas: 3")?)?;
//! assert!(matches!(bigger, Commit::Applied { .. }));
//! let stale = store.compare_and_set(shop.clone(), Expect::WrittenAt(first), Value::new("replicas: 1")?)?;
//! assert!(matches!(stale, Commit::Refused { .. }));
//!
//! // List, and watch from there: no change is missed and none is seen twice.
//! let services = Prefix::parse("services/")?;
//! let listing = store.list(&services)?;
//! let mut watch = store.watch(&services, listing.revision.next())?;
//! let deleted = store.delete(shop)?;
//! assert_eq!(watch.try_next()?.map(|change| change.revision), Some(deleted));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod contract;
mod entry;
mod key;
mod lease;
pub mod memory;
mod txn;
mod watch;

pub use contract::{
    Cause, CommitError, CompactError, LeaseError, ReadError, Retention, Store, WatchError, WriteError,
};
pub use entry::{Entry, LeaseId, Listing, Revision, StoreStats, VALUE_BYTES_MAX, Value, ValueTooLong};
pub use key::{KEY_BYTES_MAX, Key, KeyError, Prefix};
pub use lease::{LEASE_TTL_MAX, LEASE_TTL_MIN, LEASES_MAX, LeaseClock};
pub use txn::{Commit, Decision, Expect, Op, TXN_BYTES_MAX, TXN_KEYS_MAX, Txn, TxnTooLarge};
pub use watch::{
    Change, Event, WATCH_QUEUE_BYTES_MAX, WATCH_QUEUE_CHANGES_MAX, WATCHERS_MAX, Watch, WatchEnd, WatchHub,
};
