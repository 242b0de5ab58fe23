//! The contract of every store, and the errors of its operations.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::time::Time;

use crate::entry::{Entry, LeaseId, Listing, Revision, StoreStats, Value};
use crate::key::{Key, Prefix};
use crate::lease::{LEASE_TTL_MAX, LEASE_TTL_MIN, LEASES_MAX};
use crate::txn::{Commit, Expect, Txn, TxnTooLarge};
use crate::watch::{WATCHERS_MAX, Watch};

/// Keeps rows by key, each with the revision of its last write, and reports changes.
///
/// **Operations** [`get`](Self::get) and [`list`](Self::list) read; [`commit`](Self::commit) is the one way to write, and
/// [`put`](Self::put), [`compare_and_set`](Self::compare_and_set) and [`delete`](Self::delete) are shorthands for it;
/// [`watch`](Self::watch) gives past and future changes; [`compact`](Self::compact) forgets past ones; a lease
/// ([`grant`](Self::grant), [`keep_alive`](Self::keep_alive), [`revoke`](Self::revoke), [`expire`](Self::expire)) deletes
/// its rows when it ends. All block the calling thread, for as long as a disk takes to sync.
///
/// **Guarantees** Transactions happen one after another, each whole or not at all; what is acknowledged survives any
/// crash and loss of power; a read sees every write that was acknowledged before it began; a listing is of one revision.
/// A transaction that changes something has the next revision, without holes, and one that changes nothing has none. A
/// watch gives every change of its prefix from its first revision on, in order, without gaps or duplicates, and the events of
/// one write together; it never blocks a writer. A lease and the rows bound to it survive a restart; it never ends before
/// its time to live has passed since it was granted or last kept alive, unless revoked.
///
/// **Non-guarantees** A watch may give a write before or after its writer gets the answer. A watcher that is too slow
/// is disconnected with the revision to continue from. A lease may end late: only [`expire`](Self::expire) ends it, and a
/// store that is reopened gives each lease its full time to live again; a holder that acts on a lease needs a fencing token
/// as well. Past changes beyond the store's [`Retention`] are forgotten, oldest first.
///
/// **Failure and recovery** Each error says whether the state changed. After [`WriteError::Unknown`] the write may or may
/// not have happened: read, or repeat it with an expectation. The store never acknowledges first and syncs later. A store
/// that can no longer determine what is on its disk stops ([`WriteError::Stopped`]) until it is reopened.
///
/// **Enforcement** `testing/conformance::store`, run against every implementation.
pub trait Store: Send + Sync + fmt::Debug {
    /// The row of `key`; `None` when it has none.
    fn get(&self, key: &Key) -> Result<Option<Entry>, ReadError>;

    /// Every row of `prefix`, in the order of their keys, and the revision at which they were read.
    fn list(&self, prefix: &Prefix) -> Result<Listing, ReadError>;

    /// Applies `txn` if all its expectations hold, and nothing of it otherwise.
    fn commit(&self, txn: Txn) -> Result<Commit, CommitError>;

    /// Every change of `prefix` since revision `from`, that one included; 0 and 1 both mean the first write.
    ///
    /// After a [`list`](Self::list), watch from its `revision.next()`. A future revision is waited for.
    fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, WatchError>;

    /// Forgets the changes up to and including `through`; rows stay. Does nothing if they are forgotten already.
    fn compact(&self, through: Revision) -> Result<(), CompactError>;

    /// Begins a lease that ends `ttl` after `now` unless it is kept alive.
    ///
    /// `ttl` lies between [`LEASE_TTL_MIN`] and [`LEASE_TTL_MAX`] and counts in whole milliseconds.
    fn grant(&self, ttl: Duration, now: Time) -> Result<LeaseId, LeaseError>;

    /// Renews `lease` for its time to live from `now`, and returns the new deadline. Costs no write.
    fn keep_alive(&self, lease: LeaseId, now: Time) -> Result<Time, LeaseError>;

    /// Ends `lease` and deletes its rows, in one write.
    fn revoke(&self, lease: LeaseId) -> Result<(), LeaseError>;

    /// Ends each lease whose deadline is at or before `now`, each with its rows in one write, and returns them.
    ///
    /// After an error the next call tries again: an ended lease is returned at least once.
    fn expire(&self, now: Time) -> Result<Vec<LeaseId>, LeaseError>;

    /// When [`expire`](Self::expire) has something to do next; [`Time::ZERO`] means now, `None` never.
    fn next_expiry(&self) -> Option<Time>;

    /// How large the store is.
    fn stats(&self) -> Result<StoreStats, ReadError>;

    /// Sets the value of `key`, whatever it was, and returns the write's revision.
    fn put(&self, key: Key, value: Value) -> Result<Revision, CommitError> {
        self.commit(Txn::new().put(key, value)).map(revision_of_unconditional)
    }

    /// Sets the value of `key` if it is as `expected`.
    fn compare_and_set(&self, key: Key, expected: Expect, value: Value) -> Result<Commit, CommitError> {
        self.commit(Txn::new().expect(key.clone(), expected).put(key, value))
    }

    /// Removes the row of `key`, and returns the write's revision, or the last one's when there was no row.
    fn delete(&self, key: Key) -> Result<Revision, CommitError> {
        self.commit(Txn::new().delete(key)).map(revision_of_unconditional)
    }
}

/// How many past changes a store keeps for watches that begin in the past; beyond either limit the oldest are forgotten.
///
/// The last change always stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Changes kept.
    pub changes: u64,
    /// Bytes of changes kept, as the store counts them.
    pub bytes: u64,
}

impl Default for Retention {
    /// 10,000 changes: a watcher that reconnects within minutes at 50 writes a second finds its place. 16 MiB: as much as
    /// the rows themselves take in a store of some thousand services.
    fn default() -> Self {
        Self { changes: 10_000, bytes: 16 << 20 }
    }
}

/// The cause of an error of a store.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a read failed. Reading changes nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The medium failed.
    #[error("could not read {what} from {place}")]
    Failed {
        /// What was to be read.
        what: String,
        /// Where the store is.
        place: String,
        /// Why.
        source: Cause,
    },
    /// What was read is not what was written.
    #[error(
        "could not read {what} from {place}: the stored bytes are damaged; restore the folder from a copy"
    )]
    Damaged {
        /// What was to be read.
        what: String,
        /// Where the store is.
        place: String,
        /// What is wrong with them.
        source: Cause,
    },
    /// The store stopped after an earlier failure.
    #[error("could not read {what} from {place}: the store stopped after a failed write; restart homeostat")]
    Stopped {
        /// What was to be read.
        what: String,
        /// Where the store is.
        place: String,
    },
}

/// Why a write was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk is full. Nothing was changed.
    #[error("could not write to {place}: the disk is full; free some space and try again")]
    NoSpace {
        /// Where the store is.
        place: String,
        /// The error of the system.
        source: Cause,
    },
    /// The system forbids writing. Nothing was changed.
    #[error(
        "could not write to {place}: writing is not permitted; check the folder's owner and mode, and its mount"
    )]
    Denied {
        /// Where the store is.
        place: String,
        /// The error of the system.
        source: Cause,
    },
    /// The write failed otherwise. Nothing was changed.
    #[error("could not write to {place}; nothing was changed")]
    NotApplied {
        /// Where the store is.
        place: String,
        /// Why.
        source: Cause,
    },
    /// The write may have happened, or not, or may yet turn out to have happened.
    #[error("a write to {place} failed halfway and may or may not have happened")]
    Unknown {
        /// Where the store is.
        place: String,
        /// Why.
        source: Cause,
    },
    /// The store stopped after an earlier failure. Nothing was changed.
    #[error("could not write to {place}: the store stopped after a failed write; restart homeostat")]
    Stopped {
        /// Where the store is.
        place: String,
    },
}

impl WriteError {
    /// Whether the write may have happened.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::NoSpace { .. } | Self::Denied { .. } | Self::NotApplied { .. } | Self::Stopped { .. } => {
                false
            }
        }
    }
}

/// Why a transaction was not acknowledged. A [refused](Commit::Refused) one is no error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// It exceeds a limit. Nothing was changed.
    #[error(transparent)]
    TooLarge(TxnTooLarge),
    /// It binds a row to a lease that has ended. Nothing was changed.
    #[error("could not bind a row to lease {lease}: the lease has ended")]
    LeaseGone {
        /// The lease.
        lease: LeaseId,
    },
    /// The write failed.
    #[error(transparent)]
    Write(WriteError),
}

/// Why a watch was not started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// The changes from there on are no longer kept: list, and watch from the revision of the listing.
    #[error("could not watch from revision {from}: the changes up to {compacted} are no longer kept")]
    Compacted {
        /// Where the watch was to begin.
        from: Revision,
        /// The last revision whose change is forgotten.
        compacted: Revision,
    },
    /// [`WATCHERS_MAX`] watches are open.
    #[error("could not start a watch: {WATCHERS_MAX} are open already")]
    TooMany,
    /// The past changes could not be read.
    #[error(transparent)]
    Read(ReadError),
}

/// Why changes were not forgotten.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompactError {
    /// There is no such revision yet. Nothing was changed.
    #[error("could not compact through revision {through}: the store is at revision {current}")]
    Future {
        /// The requested revision.
        through: Revision,
        /// The last write.
        current: Revision,
    },
    /// The write failed.
    #[error(transparent)]
    Write(WriteError),
}

/// Why a lease was not granted, kept alive or ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LeaseError {
    /// The lease has ended, or never was. Nothing was changed.
    #[error("lease {lease} has ended")]
    Gone {
        /// The lease.
        lease: LeaseId,
    },
    /// The time to live lies outside its limits. Nothing was changed.
    #[error("the time to live of a lease is from {LEASE_TTL_MIN:?} to {LEASE_TTL_MAX:?}, not {ttl:?}")]
    Ttl {
        /// The requested time to live.
        ttl: Duration,
    },
    /// [`LEASES_MAX`] leases are held. Nothing was changed.
    #[error("could not grant a lease: {LEASES_MAX} are held already")]
    TooMany,
    /// The write failed.
    #[error(transparent)]
    Write(WriteError),
}

fn revision_of_unconditional(commit: Commit) -> Revision {
    match commit {
        Commit::Applied { revision } => revision,
        Commit::Refused { key, .. } => {
            unreachable!("a transaction that expects nothing was refused at {key}")
        }
    }
}
