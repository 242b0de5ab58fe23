//! One batch of writes inside one transaction of the engine.

use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use store::{Change, Commit, Decision, Entry, Event, Key, LEASES_MAX, LeaseId, Retention, Revision, Txn};

use crate::rows::{BOUND, COUNTERS, ENTRIES, HISTORY, LEASES, decode_entry, encode_change, encode_entry};

/// One thing to write.
#[derive(Debug)]
pub(crate) enum Write {
    /// A transaction.
    Commit(Txn),
    /// A new lease.
    Grant {
        /// Its time to live.
        ttl: Duration,
    },
    /// The end of a lease that its holder gives up.
    Revoke(LeaseId),
    /// The end of leases that have expired; those that have ended already are skipped.
    Expire(Vec<LeaseId>),
    /// Forgetting past changes, through this revision.
    Compact(Revision),
}

/// How a [`Write`] ended.
#[derive(Debug)]
pub(crate) enum Written {
    /// The transaction was decided.
    Committed(Commit),
    /// The transaction or the revocation names a lease that has ended.
    LeaseGone(LeaseId),
    /// The lease was granted.
    Granted(LeaseId),
    /// No more leases are granted.
    TooManyLeases,
    /// The leases have ended.
    Ended,
    /// The changes are forgotten.
    Compacted,
    /// There is no such revision yet.
    NotYet {
        /// The last write.
        current: Revision,
    },
}

/// The counters of a store, each under its name in [`COUNTERS`]; an absent one is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The last write.
    pub(crate) revision: u64,
    /// The last write whose change is forgotten.
    pub(crate) compacted: u64,
    /// The last lease.
    pub(crate) leases_granted: u64,
    /// Bytes of the rows of [`HISTORY`].
    pub(crate) history_bytes: u64,
    /// Batches committed: shows after a failure whether the last one happened.
    pub(crate) batches: u64,
}

/// The tables of a store, open for writing.
pub(crate) struct Ledger<'txn> {
    counters: Table<'txn, &'static str, u64>,
    entries: Table<'txn, &'static str, &'static [u8]>,
    history: Table<'txn, u64, &'static [u8]>,
    leases: Table<'txn, u64, u64>,
    bound: Table<'txn, (u64, &'static str), ()>,
    before: Counters,
    now: Counters,
    /// Leases that this batch ended: the only change that no counter reflects.
    leases_ended: u64,
    changes: Vec<Arc<Change>>,
}

impl Write {
    /// Bytes of keys and values that come with it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Commit(txn) => txn.bytes(),
            Self::Grant { .. } | Self::Revoke(_) | Self::Expire(_) | Self::Compact(_) => 0,
        }
    }
}

impl Counters {
    /// Reads the counters from their table.
    pub(crate) fn read(table: &impl ReadableTable<&'static str, u64>) -> Result<Self, redb::Error> {
        let counter = |name| Ok::<_, redb::Error>(table.get(name)?.map_or(0, |count| count.value()));
        Ok(Self {
            revision: counter("revision")?,
            compacted: counter("compacted")?,
            leases_granted: counter("leases_granted")?,
            history_bytes: counter("history_bytes")?,
            batches: counter("batches")?,
        })
    }

    fn write(&self, table: &mut Table<'_, &'static str, u64>) -> Result<(), redb::Error> {
        let Self { revision, compacted, leases_granted, history_bytes, batches } = *self;
        table.insert("revision", revision)?;
        table.insert("compacted", compacted)?;
        table.insert("leases_granted", leases_granted)?;
        table.insert("history_bytes", history_bytes)?;
        table.insert("batches", batches)?;
        Ok(())
    }
}

impl<'txn> Ledger<'txn> {
    /// Opens the tables, and creates those that do not exist.
    pub(crate) fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        let counters = txn.open_table(COUNTERS)?;
        let before = Counters::read(&counters)?;
        Ok(Self {
            entries: txn.open_table(ENTRIES)?,
            history: txn.open_table(HISTORY)?,
            leases: txn.open_table(LEASES)?,
            bound: txn.open_table(BOUND)?,
            counters,
            before,
            now: before,
            leases_ended: 0,
            changes: Vec::new(),
        })
    }

    /// Batches committed before this one.
    pub(crate) fn batches(&self) -> u64 {
        self.before.batches
    }

    /// Applies one write. After an error the ledger can only be dropped, with its transaction.
    pub(crate) fn apply(&mut self, write: &Write) -> Result<Written, redb::Error> {
        match write {
            Write::Commit(txn) => self.commit(txn),
            Write::Grant { ttl } => self.grant(*ttl),
            Write::Revoke(lease) => self.revoke(*lease),
            Write::Expire(leases) => {
                for &lease in leases {
                    self.end(lease)?;
                }
                Ok(Written::Ended)
            }
            Write::Compact(through) => self.compact(*through),
        }
    }

    /// Forgets what is beyond `retention`, and closes the tables; `None` when the batch changed nothing.
    pub(crate) fn finish(mut self, retention: Retention) -> Result<Option<Vec<Arc<Change>>>, redb::Error> {
        if self.now == self.before && self.leases_ended == 0 {
            return Ok(None);
        }
        let kept = |now: &Counters| now.revision - now.compacted;
        while kept(&self.now) > 1
            && (kept(&self.now) > retention.changes || self.now.history_bytes > retention.bytes)
        {
            self.forget_first()?;
        }
        self.now.batches += 1;
        self.now.write(&mut self.counters)?;
        Ok(Some(self.changes))
    }

    fn commit(&mut self, txn: &Txn) -> Result<Written, redb::Error> {
        let row = |key: &Key| self.entry(key);
        let lease_lives = |lease: LeaseId| Ok(self.leases.get(lease.0)?.is_some());
        let committed = match txn.decide(Revision(self.now.revision).next(), row, lease_lives)? {
            Decision::Change(change) => {
                let revision = change.revision;
                self.record(change)?;
                Commit::Applied { revision }
            }
            Decision::Nothing => Commit::Applied { revision: Revision(self.now.revision) },
            Decision::Refuse { key, expected, found } => Commit::Refused { key, expected, found },
            Decision::LeaseGone(lease) => return Ok(Written::LeaseGone(lease)),
        };
        Ok(Written::Committed(committed))
    }

    fn grant(&mut self, ttl: Duration) -> Result<Written, redb::Error> {
        if self.leases.len()? >= LEASES_MAX as u64 {
            return Ok(Written::TooManyLeases);
        }
        self.now.leases_granted += 1;
        let ttl_ms = u64::try_from(ttl.as_millis()).expect("a time to live is at most a day");
        self.leases.insert(self.now.leases_granted, ttl_ms)?;
        Ok(Written::Granted(LeaseId(self.now.leases_granted)))
    }

    fn revoke(&mut self, lease: LeaseId) -> Result<Written, redb::Error> {
        if self.leases.get(lease.0)?.is_none() {
            return Ok(Written::LeaseGone(lease));
        }
        self.end(lease)?;
        Ok(Written::Ended)
    }

    fn compact(&mut self, through: Revision) -> Result<Written, redb::Error> {
        if through.0 > self.now.revision {
            return Ok(Written::NotYet { current: Revision(self.now.revision) });
        }
        while self.now.compacted < through.0 {
            self.forget_first()?;
        }
        Ok(Written::Compacted)
    }

    /// Removes a lease and its rows. Does nothing when it has ended.
    fn end(&mut self, lease: LeaseId) -> Result<(), redb::Error> {
        if self.leases.remove(lease.0)?.is_none() {
            return Ok(());
        }
        let mut events = Vec::new();
        for bound in self.bound.range((lease.0, "")..(lease.0 + 1, ""))? {
            let (bound, ()) = bound.map(|(bound, unit)| (bound, unit.value()))?;
            let key = Key::parse(bound.value().1)
                .map_err(|cause| redb::Error::Corrupted(format!("a key of lease {lease}: {cause}")))?;
            events.push(Event::Delete { key });
        }
        self.leases_ended += 1;
        if events.is_empty() {
            return Ok(());
        }
        self.record(Change { revision: Revision(self.now.revision).next(), events })
    }

    fn record(&mut self, change: Change) -> Result<(), redb::Error> {
        for event in &change.events {
            let lease_before = self.entry(event.key())?.and_then(|entry| entry.lease);
            if let Some(lease) = lease_before {
                self.bound.remove((lease.0, event.key().as_str()))?;
            }
            match event {
                Event::Put(entry) => {
                    self.entries.insert(entry.key.as_str(), encode_entry(entry).as_slice())?;
                    if let Some(lease) = entry.lease {
                        self.bound.insert((lease.0, entry.key.as_str()), ())?;
                    }
                }
                Event::Delete { key } => {
                    self.entries.remove(key.as_str())?;
                }
            }
        }
        let stored = encode_change(&change);
        self.history.insert(change.revision.0, stored.as_slice())?;
        self.now.history_bytes += stored.len() as u64;
        self.now.revision = change.revision.0;
        self.changes.push(Arc::new(change));
        Ok(())
    }

    fn forget_first(&mut self) -> Result<(), redb::Error> {
        let first = self.now.compacted + 1;
        if let Some(stored) = self.history.remove(first)? {
            self.now.history_bytes = self.now.history_bytes.saturating_sub(stored.value().len() as u64);
        }
        self.now.compacted = first;
        Ok(())
    }

    fn entry(&self, key: &Key) -> Result<Option<Entry>, redb::Error> {
        let stored = self.entries.get(key.as_str())?;
        stored.map(|stored| decode_entry(key.as_str(), stored.value())).transpose()
    }
}
