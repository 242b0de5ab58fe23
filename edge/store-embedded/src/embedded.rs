//! The embedded store as a [`Store`].

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::time::Time;
use redb::{ReadableDatabase, ReadableTableMetadata};
use store::{
    Change, Commit, CommitError, CompactError, Entry, Key, LEASE_TTL_MAX, LEASE_TTL_MIN, LeaseClock,
    LeaseError, LeaseId, Listing, Prefix, ReadError, Retention, Revision, Store, StoreStats, Txn, Watch,
    WatchError,
};

use crate::engine::{Engine, Leases};
use crate::ledger::{Counters, Write, Written};
use crate::open::{self, DirLock, OpenError, Opened};
use crate::rows::{COUNTERS, ENTRIES, HISTORY, LEASES, decode_change, decode_entry};
use crate::writer::Writer;

/// A store in one file of a folder. Dropping it finishes the queued writes and releases the folder.
#[derive(Debug)]
pub struct EmbeddedStore {
    // In the order of dropping: the writer ends, then the file closes, then the folder is free.
    writer: Writer,
    engine: Arc<Engine>,
    clock: Mutex<LeaseClock>,
    _lock: Option<DirLock>,
}

impl EmbeddedStore {
    /// Opens the store in the folder `dir`; creates the folder and an empty store if there is none.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_retaining(dir, Retention::default())
    }

    /// As [`open`](Self::open), with another [`Retention`].
    pub fn open_retaining(dir: &Path, retention: Retention) -> Result<Self, OpenError> {
        let Opened { engine, leases, lock } = open::open(dir, retention)?;
        Self::start(engine, leases, Some(lock)).map_err(|cause| OpenError::io(dir, cause))
    }

    pub(crate) fn start(engine: Engine, leases: Leases, lock: Option<DirLock>) -> io::Result<Self> {
        let engine = Arc::new(engine);
        let writer = Writer::start(Arc::clone(&engine))?;
        Ok(Self { writer, engine, clock: Mutex::new(LeaseClock::reopened(leases)), _lock: lock })
    }

    fn clock(&self) -> MutexGuard<'_, LeaseClock> {
        self.clock.lock().expect("nothing panics while it holds the lease clock")
    }

    /// Gives the changes from `first` to `last`. Fails for a watch from `from` if some of them are compacted.
    fn past_changes(
        &self,
        from: Revision,
        first: Revision,
        last: Revision,
        give: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), WatchError> {
        let compacted = self
            .engine
            .read(
                || format!("the changes from revision {first}"),
                |database| {
                    let txn = database.begin_read()?;
                    let compacted = Counters::read(&txn.open_table(COUNTERS)?)?.compacted;
                    if first.0 <= compacted {
                        return Ok(Some(Revision(compacted)));
                    }
                    for row in txn.open_table(HISTORY)?.range(first.0..=last.0)? {
                        let (revision, stored) = row?;
                        let change = decode_change(revision.value(), stored.value())?;
                        if give(change).is_break() {
                            break;
                        }
                    }
                    Ok(None)
                },
            )
            .map_err(WatchError::Read)?;
        compacted.map_or(Ok(()), |compacted| Err(WatchError::Compacted { from, compacted }))
    }
}

impl Store for EmbeddedStore {
    fn get(&self, key: &Key) -> Result<Option<Entry>, ReadError> {
        self.engine.read(
            || format!("the row {key}"),
            |database| {
                // The row's bytes are in a page of the database, which only an open transaction keeps from being reused.
                let txn = database.begin_read()?;
                let stored = txn.open_table(ENTRIES)?.get(key.as_str())?;
                stored.map(|stored| decode_entry(key.as_str(), stored.value())).transpose()
            },
        )
    }

    fn list(&self, prefix: &Prefix) -> Result<Listing, ReadError> {
        self.engine.read(
            || format!("the rows of {prefix}"),
            |database| {
                let txn = database.begin_read()?;
                let revision = Revision(Counters::read(&txn.open_table(COUNTERS)?)?.revision);
                let mut entries = Vec::new();
                for row in txn.open_table(ENTRIES)?.range(prefix.as_str()..)? {
                    let (key, stored) = row?;
                    if !key.value().starts_with(prefix.as_str()) {
                        break;
                    }
                    entries.push(decode_entry(key.value(), stored.value())?);
                }
                Ok(Listing { revision, entries })
            },
        )
    }

    fn commit(&self, txn: Txn) -> Result<Commit, CommitError> {
        txn.check_size().map_err(CommitError::TooLarge)?;
        match self.writer.write(Write::Commit(txn)).map_err(CommitError::Write)? {
            Written::Committed(commit) => Ok(commit),
            Written::LeaseGone(lease) => Err(CommitError::LeaseGone { lease }),
            other => unreachable!("a transaction ended as {other:?}"),
        }
    }

    fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, WatchError> {
        let from = from.max(Revision::ZERO.next());
        let watch = self
            .engine
            .hub
            .watch(prefix, from, |first, last, give| self.past_changes(from, first, last, give))?;
        watch.ok_or(WatchError::TooMany)
    }

    fn compact(&self, through: Revision) -> Result<(), CompactError> {
        match self.writer.write(Write::Compact(through)).map_err(CompactError::Write)? {
            Written::Compacted => Ok(()),
            Written::NotYet { current } => Err(CompactError::Future { through, current }),
            other => unreachable!("a compaction ended as {other:?}"),
        }
    }

    fn grant(&self, ttl: Duration, now: Time) -> Result<LeaseId, LeaseError> {
        if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
            return Err(LeaseError::Ttl { ttl });
        }
        match self.writer.write(Write::Grant { ttl }).map_err(LeaseError::Write)? {
            Written::Granted(lease) => {
                self.clock().insert(lease, ttl, now);
                Ok(lease)
            }
            Written::TooManyLeases => Err(LeaseError::TooMany),
            other => unreachable!("a grant ended as {other:?}"),
        }
    }

    fn keep_alive(&self, lease: LeaseId, now: Time) -> Result<Time, LeaseError> {
        self.clock().keep_alive(lease, now).ok_or(LeaseError::Gone { lease })
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), LeaseError> {
        match self.writer.write(Write::Revoke(lease)).map_err(LeaseError::Write)? {
            Written::Ended => {
                self.clock().remove(lease);
                Ok(())
            }
            Written::LeaseGone(lease) => Err(LeaseError::Gone { lease }),
            other => unreachable!("a revocation ended as {other:?}"),
        }
    }

    fn expire(&self, now: Time) -> Result<Vec<LeaseId>, LeaseError> {
        let lapsed = self.clock().take_lapsed(now);
        if lapsed.is_empty() {
            return Ok(Vec::new());
        }
        let leases: Vec<_> = lapsed.iter().map(|&(lease, _)| lease).collect();
        match self.writer.write(Write::Expire(leases.clone())) {
            Ok(Written::Ended) => Ok(leases),
            Ok(other) => unreachable!("an expiry ended as {other:?}"),
            Err(cause) => {
                self.clock().put_back(lapsed, now);
                Err(LeaseError::Write(cause))
            }
        }
    }

    fn next_expiry(&self) -> Option<Time> {
        self.clock().next_deadline()
    }

    fn stats(&self) -> Result<StoreStats, ReadError> {
        self.engine.read(
            || "the size of the store".to_owned(),
            |database| {
                let txn = database.begin_read()?;
                let counters = Counters::read(&txn.open_table(COUNTERS)?)?;
                Ok(StoreStats {
                    revision: Revision(counters.revision),
                    compacted: Revision(counters.compacted),
                    keys: txn.open_table(ENTRIES)?.len()?,
                    leases: txn.open_table(LEASES)?.len()?,
                    history_bytes: counters.history_bytes,
                    file_bytes: self.engine.file_bytes()?,
                })
            },
        )
    }
}
