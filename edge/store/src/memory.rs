//! A store without a disk, for simulation and tests: deterministic, with injected faults.
//!
//! The content of the disk is a [`MemoryDisk`]. A crash of the process is simulated by dropping the [`MemoryStore`], and its restart by
//! opening another one on the same disk. Faults are injected, one decision for each write ([`WriteFaults`]).

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::time::Time;

use crate::contract::{
    Cause, CommitError, CompactError, LeaseError, ReadError, Retention, Store, WatchError, WriteError,
};
use crate::entry::{Entry, LeaseId, Listing, Revision, StoreStats};
use crate::key::{Key, Prefix};
use crate::lease::{LEASE_TTL_MAX, LEASE_TTL_MIN, LEASES_MAX, LeaseClock};
use crate::txn::{Commit, Decision, Txn};
use crate::watch::{Change, Event, Watch, WatchHub};

/// A write that is about to happen, for the function that decides its fate.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// A transaction whose expectations hold and that changes something.
    Commit(&'a Txn),
    /// A new lease.
    Grant,
    /// The end of a lease and its rows.
    EndLease(LeaseId),
    /// Forgetting past changes.
    Compact(Revision),
}

/// The fate of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFate {
    /// It happens, and is acknowledged.
    Applied,
    /// It does not happen, and fails.
    NotApplied,
    /// It happens, and its outcome is reported as unknown.
    AppliedUnknown,
    /// It does not happen, and its outcome is reported as unknown.
    NotAppliedUnknown,
}

/// Decides the fate of each write, in the order in which they come. Any `FnMut(Attempt) -> WriteFate` is one.
pub trait WriteFaults: Send {
    /// The fate of this write.
    fn fate(&mut self, attempt: Attempt<'_>) -> WriteFate;
}

impl<F: FnMut(Attempt<'_>) -> WriteFate + Send> WriteFaults for F {
    fn fate(&mut self, attempt: Attempt<'_>) -> WriteFate {
        self(attempt)
    }
}

/// The content of a [`MemoryStore`], which survives it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Rows>>);

/// A store on a [`MemoryDisk`]. Only one may be open on a disk at a time.
pub struct MemoryStore {
    disk: MemoryDisk,
    hub: WatchHub,
    session: Mutex<Session>,
    retention: Retention,
}

/// State that is lost when the store is closed.
struct Session {
    clock: LeaseClock,
    faults: Box<dyn WriteFaults>,
}

#[derive(Debug, Default)]
struct Rows {
    revision: Revision,
    compacted: Revision,
    entries: BTreeMap<Key, Entry>,
    history: VecDeque<Arc<Change>>,
    history_bytes: u64,
    leases: BTreeMap<LeaseId, Duration>,
    leases_granted: u64,
}

impl Default for MemoryStore {
    /// An empty store that never fails.
    fn default() -> Self {
        Self::open(MemoryDisk::default())
    }
}

impl MemoryStore {
    /// The store on `disk`, which never fails.
    pub fn open(disk: MemoryDisk) -> Self {
        Self::open_with(disk, Retention::default(), |_: Attempt<'_>| WriteFate::Applied)
    }

    /// The store on `disk`, which keeps past changes within `retention`, and fails as `faults` decide.
    pub fn open_with(disk: MemoryDisk, retention: Retention, faults: impl WriteFaults + 'static) -> Self {
        let (clock, revision) = {
            let rows = disk.rows();
            (LeaseClock::reopened(rows.leases.clone()), rows.revision)
        };
        let session = Session { clock, faults: Box::new(faults) };
        Self { disk, hub: WatchHub::new(revision), session: Mutex::new(session), retention }
    }

    /// Locked before the rows, and throughout a write: watchers get writes in the order in which they happen.
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session
            .lock()
            .expect("nothing panics while it holds the session, but for a panicking WriteFaults")
    }

    fn record(&self, rows: &mut Rows, change: Change) {
        let change = Arc::new(change);
        rows.apply(&change);
        rows.forget_beyond(self.retention);
        self.hub.publish(&change);
    }

    fn end_lease(&self, session: &mut Session, rows: &mut Rows, lease: LeaseId) -> Result<(), WriteError> {
        session.attempt(Attempt::EndLease(lease), || {
            rows.leases.remove(&lease);
            let bound = rows.entries.values().filter(|entry| entry.lease == Some(lease));
            let events: Vec<_> = bound.map(|entry| Event::Delete { key: entry.key.clone() }).collect();
            if !events.is_empty() {
                let revision = rows.revision.next();
                self.record(rows, Change { revision, events });
            }
        })
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &Key) -> Result<Option<Entry>, ReadError> {
        Ok(self.disk.rows().entries.get(key).cloned())
    }

    fn list(&self, prefix: &Prefix) -> Result<Listing, ReadError> {
        let rows = self.disk.rows();
        let from_prefix = rows.entries.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let matching = from_prefix.take_while(|(key, _)| prefix.holds(key));
        Ok(Listing { revision: rows.revision, entries: matching.map(|(_, entry)| entry.clone()).collect() })
    }

    fn commit(&self, txn: Txn) -> Result<Commit, CommitError> {
        txn.check_size().map_err(CommitError::TooLarge)?;
        let mut session = self.session();
        let mut rows = self.disk.rows();
        let row = |key: &Key| Ok::<_, CommitError>(rows.entries.get(key).cloned());
        let lease_lives = |lease| Ok(rows.leases.contains_key(&lease));
        match txn.decide(rows.revision.next(), row, lease_lives)? {
            Decision::Change(change) => {
                let revision = change.revision;
                session
                    .attempt(Attempt::Commit(&txn), || self.record(&mut rows, change))
                    .map_err(CommitError::Write)?;
                Ok(Commit::Applied { revision })
            }
            Decision::Nothing => Ok(Commit::Applied { revision: rows.revision }),
            Decision::Refuse { key, expected, found } => Ok(Commit::Refused { key, expected, found }),
            Decision::LeaseGone(lease) => Err(CommitError::LeaseGone { lease }),
        }
    }

    fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, WatchError> {
        // Held throughout, so that no write happens between the past and the future changes.
        let _session = self.session();
        let rows = self.disk.rows();
        let from = from.max(Revision::ZERO.next());
        if from <= rows.compacted {
            return Err(WatchError::Compacted { from, compacted: rows.compacted });
        }
        let watch = self.hub.watch(prefix, from, |first, last, give| {
            let past = rows.history.iter().filter(|change| (first..=last).contains(&change.revision));
            for change in past {
                if let ControlFlow::Break(()) = give(Change::clone(change)) {
                    break;
                }
            }
            Ok(())
        })?;
        watch.ok_or(WatchError::TooMany)
    }

    fn compact(&self, through: Revision) -> Result<(), CompactError> {
        let mut session = self.session();
        let mut rows = self.disk.rows();
        let current = rows.revision;
        if through > current {
            return Err(CompactError::Future { through, current });
        }
        if through <= rows.compacted {
            return Ok(());
        }
        session
            .attempt(Attempt::Compact(through), || rows.forget_through(through))
            .map_err(CompactError::Write)
    }

    fn grant(&self, ttl: Duration, now: Time) -> Result<LeaseId, LeaseError> {
        if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
            return Err(LeaseError::Ttl { ttl });
        }
        let mut session = self.session();
        let mut rows = self.disk.rows();
        if rows.leases.len() >= LEASES_MAX {
            return Err(LeaseError::TooMany);
        }
        let lease = LeaseId(rows.leases_granted + 1);
        let granted = session.attempt(Attempt::Grant, || {
            rows.leases_granted = lease.0;
            rows.leases.insert(lease, ttl);
        });
        if rows.leases.contains_key(&lease) {
            session.clock.insert(lease, ttl, now);
        }
        granted.map(|()| lease).map_err(LeaseError::Write)
    }

    fn keep_alive(&self, lease: LeaseId, now: Time) -> Result<Time, LeaseError> {
        self.session().clock.keep_alive(lease, now).ok_or(LeaseError::Gone { lease })
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), LeaseError> {
        let mut session = self.session();
        let mut rows = self.disk.rows();
        if !rows.leases.contains_key(&lease) {
            return Err(LeaseError::Gone { lease });
        }
        let ended = self.end_lease(&mut session, &mut rows, lease);
        if !rows.leases.contains_key(&lease) {
            session.clock.remove(lease);
        }
        ended.map_err(LeaseError::Write)
    }

    fn expire(&self, now: Time) -> Result<Vec<LeaseId>, LeaseError> {
        let mut session = self.session();
        let mut rows = self.disk.rows();
        let lapsed = session.clock.take_lapsed(now);
        for &(lease, _) in &lapsed {
            if let Err(cause) = self.end_lease(&mut session, &mut rows, lease) {
                session.clock.put_back(lapsed, now);
                return Err(LeaseError::Write(cause));
            }
        }
        Ok(lapsed.into_iter().map(|(lease, _)| lease).collect())
    }

    fn next_expiry(&self) -> Option<Time> {
        self.session().clock.next_deadline()
    }

    fn stats(&self) -> Result<StoreStats, ReadError> {
        let rows = self.disk.rows();
        Ok(StoreStats {
            revision: rows.revision,
            compacted: rows.compacted,
            keys: rows.entries.len() as u64,
            leases: rows.leases.len() as u64,
            history_bytes: rows.history_bytes,
            file_bytes: 0,
        })
    }
}

impl MemoryDisk {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().expect("nothing panics while it holds the rows")
    }
}

impl Session {
    /// Lets the faults decide whether `write` happens, and which outcome is reported.
    fn attempt(&mut self, attempt: Attempt<'_>, write: impl FnOnce()) -> Result<(), WriteError> {
        let place = || "memory".to_owned();
        let cause = || -> Cause { Arc::new(Injected) };
        match self.faults.fate(attempt) {
            WriteFate::Applied => {
                write();
                Ok(())
            }
            WriteFate::NotApplied => Err(WriteError::NotApplied { place: place(), source: cause() }),
            WriteFate::AppliedUnknown => {
                write();
                Err(WriteError::Unknown { place: place(), source: cause() })
            }
            WriteFate::NotAppliedUnknown => Err(WriteError::Unknown { place: place(), source: cause() }),
        }
    }
}

/// The cause of an injected fault.
#[derive(Debug, thiserror::Error)]
#[error("the fault was injected")]
struct Injected;

impl Rows {
    fn apply(&mut self, change: &Arc<Change>) {
        self.revision = change.revision;
        for event in &change.events {
            match event {
                Event::Put(entry) => self.entries.insert(entry.key.clone(), entry.clone()),
                Event::Delete { key } => self.entries.remove(key),
            };
        }
        self.history_bytes += change.cost_bytes() as u64;
        self.history.push_back(Arc::clone(change));
    }

    fn forget_beyond(&mut self, retention: Retention) {
        let over = |rows: &Self| {
            rows.history.len() as u64 > retention.changes || rows.history_bytes > retention.bytes
        };
        while self.history.len() > 1 && over(self) {
            self.forget_through(self.compacted.next());
        }
    }

    fn forget_through(&mut self, through: Revision) {
        while let Some(change) = self.history.pop_front_if(|change| change.revision <= through) {
            self.history_bytes -= change.cost_bytes() as u64;
        }
        self.compacted = through;
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("revision", &self.disk.rows().revision).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
