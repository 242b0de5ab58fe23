//! The open database, and how the outcome of a failed write is determined.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use redb::{Builder, Database, ReadableDatabase, ReadableTable};
use store::{Cause, Change, LeaseId, ReadError, Retention, Revision, WatchHub, WriteError};

use crate::disk::{CopyOnWrite, Disk, Framed, PREAMBLE_BYTES, Preamble};
use crate::ledger::{Counters, Ledger, Write, Written};
use crate::rows::{BOUND, COUNTERS, ENTRIES, HISTORY, LEASES, decode_change, decode_entry};

/// Bytes that the engine may keep in memory.
///
/// 4 MiB: the rows of a few thousand services, of the 40 MB that the whole process may take when idle.
const CACHE_BYTES: usize = 4 << 20;

/// The database of a store. It is opened again after a failure whose outcome is certain.
#[derive(Debug)]
pub(crate) struct Engine {
    disk: Box<dyn Disk>,
    place: String,
    retention: Retention,
    /// `None` after a failure, until the database is opened again.
    database: RwLock<Option<Database>>,
    /// Set for good by the first failed sync, or when it is unknown whether a batch happened.
    stopped: Arc<AtomicBool>,
    pub(crate) hub: WatchHub,
}

/// A batch that is being committed.
#[derive(Debug)]
pub(crate) struct Batch {
    /// How each write ended, in their order.
    pub(crate) written: Vec<Written>,
    /// What they changed, in the order of revisions.
    pub(crate) changes: Vec<Arc<Change>>,
}

/// Leases with their times to live.
pub(crate) type Leases = Vec<(LeaseId, Duration)>;

/// How far a batch got before it failed.
enum Stage {
    /// Nothing of it can be on the disk.
    Prepared,
    /// All of it may be.
    Committing(Batch),
}

/// Creates an empty store in `disk`, which has no bytes yet, and syncs it.
pub(crate) fn create(disk: &dyn Disk) -> Result<(), redb::Error> {
    Preamble::write(&*disk.open()?)?;
    let database = open_database(disk, &Arc::default())?;
    let txn = database.begin_write()?;
    drop(Ledger::open(&txn)?);
    txn.commit()?;
    Ok(())
}

impl Engine {
    /// Opens the store in `disk`, whose preamble was checked, and returns its leases too.
    ///
    /// Reads every row first, so that damage is found before anything is written to a damaged file.
    pub(crate) fn open(
        disk: Box<dyn Disk>,
        place: String,
        retention: Retention,
    ) -> Result<(Self, Leases), redb::Error> {
        let leases = read_unchanged(&*disk, verify)?;
        let stopped = Arc::default();
        let database = open_database(&*disk, &stopped)?;
        let revision = counters(&database)?.revision;
        let hub = WatchHub::new(Revision(revision));
        let database = RwLock::new(Some(database));
        Ok((Self { disk, place, retention, database, stopped, hub }, leases))
    }

    /// Runs `read` on the database; `what` names what is read, for the error.
    pub(crate) fn read<T>(
        &self,
        what: impl FnOnce() -> String,
        read: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, ReadError> {
        if self.has_stopped() {
            return Err(ReadError::Stopped { what: what(), place: self.place.clone() });
        }
        self.with_database(read).map_err(|cause| {
            // The engine refuses all work after a failure, whatever the disk does then.
            if matches!(cause, redb::Error::Io(_) | redb::Error::PreviousIo) {
                self.close();
            }
            let (what, place) = (what(), self.place.clone());
            match &cause {
                redb::Error::Corrupted(_) => ReadError::Damaged { what, place, source: Arc::new(cause) },
                _ => ReadError::Failed { what, place, source: Arc::new(cause) },
            }
        })
    }

    /// Applies all of `writes` in one transaction and one sync. An error concerns all of them.
    pub(crate) fn write(&self, writes: &[Write]) -> Result<Batch, WriteError> {
        if self.has_stopped() {
            return Err(WriteError::Stopped { place: self.place.clone() });
        }
        if let Err(cause) = self.disk.check_place() {
            return Err(WriteError::NotApplied { place: self.place.clone(), source: Arc::new(cause) });
        }
        let mut stage = Stage::Prepared;
        let mut batches_before = 0;
        let outcome = self.with_database(|database| {
            let txn = database.begin_write()?;
            let mut ledger = Ledger::open(&txn)?;
            batches_before = ledger.batches();
            let written = writes.iter().map(|write| ledger.apply(write)).collect::<Result<_, _>>()?;
            match ledger.finish(self.retention)? {
                Some(changes) => {
                    stage = Stage::Committing(Batch { written, changes });
                    txn.commit()?;
                }
                None => {
                    stage = Stage::Committing(Batch { written, changes: Vec::new() });
                    txn.abort()?;
                }
            }
            Ok(())
        });
        match (outcome, stage) {
            (Ok(()), Stage::Committing(batch)) => Ok(batch),
            (Ok(()), Stage::Prepared) => unreachable!("a batch that succeeded was committed or aborted"),
            (Err(cause), stage) => self.resolve_failure(cause, stage, batches_before),
        }
    }

    /// Finds out whether a batch that failed with `cause` happened.
    ///
    /// The engine refuses all work after a failure, so the database is closed and reopened on next use; the counters in the
    /// file show whether the batch happened. After a failed sync they prove nothing, and the store stops.
    fn resolve_failure(
        &self,
        cause: redb::Error,
        stage: Stage,
        batches_before: u64,
    ) -> Result<Batch, WriteError> {
        self.close();
        match stage {
            Stage::Prepared => Err(self.not_applied(cause)),
            Stage::Committing(batch) => match self.batches_on_disk() {
                Some(now) if now == batches_before => Err(self.not_applied(cause)),
                Some(_) => Ok(batch),
                None => {
                    // Only reopening would show it, and watchers could not get correct changes until then.
                    self.stop();
                    Err(self.unknown(cause))
                }
            },
        }
    }

    /// Closes the database, which is reopened on next use.
    fn close(&self) {
        *self.database.write().expect("no writer of the slot panics") = None;
    }

    /// The number of batches that are certainly on the disk; `None` when it cannot be determined.
    fn batches_on_disk(&self) -> Option<u64> {
        if self.has_stopped() {
            return None;
        }
        let counters = read_unchanged(&*self.disk, |database| counters(database)).ok()?;
        // The content of the file may be only in the page cache.
        self.disk.open().and_then(|bytes| bytes.sync_data()).ok()?;
        Some(counters.batches)
    }

    /// Refuses all work from now on, and ends the watches.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.hub.close();
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> io::Result<u64> {
        self.disk.open()?.len()
    }

    /// The name of the store in its errors.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Runs `work` on the database, which is reopened if necessary.
    fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        if let Some(database) = &*self.database.read().expect("no writer of the slot panics") {
            return work(database);
        }
        let mut slot = self.database.write().expect("no writer of the slot panics");
        let database = match slot.take() {
            Some(database) => database,
            None => open_database(&*self.disk, &self.stopped)?,
        };
        work(slot.insert(database))
    }

    fn not_applied(&self, cause: redb::Error) -> WriteError {
        let place = self.place.clone();
        let kind = match &cause {
            redb::Error::Io(io) => io.kind(),
            _ => io::ErrorKind::Other,
        };
        let source: Cause = Arc::new(cause);
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                WriteError::NoSpace { place, source }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                WriteError::Denied { place, source }
            }
            _ => WriteError::NotApplied { place, source },
        }
    }

    fn unknown(&self, cause: redb::Error) -> WriteError {
        WriteError::Unknown { place: self.place.clone(), source: Arc::new(cause) }
    }
}

/// The current counters.
pub(crate) fn counters(database: &Database) -> Result<Counters, redb::Error> {
    Counters::read(&database.begin_read()?.open_table(COUNTERS)?)
}

/// Reads from the database in `disk` without writing to it, even when it is damaged or needs repair.
fn read_unchanged<T>(
    disk: &dyn Disk,
    read: impl FnOnce(&mut Database) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let bytes = disk.open()?;
    if bytes.len()? <= PREAMBLE_BYTES {
        return Err(redb::Error::Corrupted("the file ends after its first page".to_owned()));
    }
    let view = Framed::new(Box::new(CopyOnWrite::new(bytes)?), Arc::default());
    // The engine panics on some kinds of damage; the database is dropped by the unwinding.
    let result = catch_unwind(AssertUnwindSafe(|| {
        read(&mut Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(view)?)
    }));
    result.unwrap_or_else(|_| Err(redb::Error::Corrupted("its pages are inconsistent".to_owned())))
}

fn open_database(disk: &dyn Disk, stopped: &Arc<AtomicBool>) -> Result<Database, redb::Error> {
    let framed = Framed::new(disk.open()?, Arc::clone(stopped));
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(framed)?)
}

/// Reads every page and every row with its checksum; returns the leases.
fn verify(database: &mut Database) -> Result<Leases, redb::Error> {
    if !database.check_integrity()? {
        return Err(redb::Error::Corrupted("the checksums of its pages do not match".to_owned()));
    }
    let txn = database.begin_read()?;
    for row in txn.open_table(ENTRIES)?.iter()? {
        let (key, stored) = row?;
        decode_entry(key.value(), stored.value())?;
    }
    for row in txn.open_table(HISTORY)?.iter()? {
        let (revision, stored) = row?;
        decode_change(revision.value(), stored.value())?;
    }
    let mut leases = Vec::new();
    for row in txn.open_table(LEASES)?.iter()? {
        let (lease, ttl_ms) = row?;
        leases.push((LeaseId(lease.value()), Duration::from_millis(ttl_ms.value())));
    }
    for row in txn.open_table(BOUND)?.iter()? {
        row?;
    }
    Counters::read(&txn.open_table(COUNTERS)?)?;
    Ok(leases)
}
