//! Transactions, the one way to write: expectations, and operations that happen together or not at all.

use std::collections::BTreeMap;

use crate::entry::{Entry, LeaseId, Revision, Value};
use crate::key::Key;
use crate::watch::{Change, Event};

/// The most expectations, and the most operations, of one transaction.
///
/// 8192: as many of the shortest rows as fit in [`TXN_BYTES_MAX`], so that a whole folder of declarations in one transaction
/// meets one limit and not two. etcd allows 128 by default (`--max-txn-ops`).
pub const TXN_KEYS_MAX: usize = 8192;

/// The most bytes of keys and values of one transaction.
///
/// 1.5 MB is etcd's limit of a request (`--max-request-bytes`); one value of the greatest length fits, with space for others.
pub const TXN_BYTES_MAX: usize = 1_572_864;

/// A condition on a key for a transaction to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key has no row.
    Absent,
    /// The key has a row.
    Present,
    /// The key has a row, last written at this revision.
    WrittenAt(Revision),
}

/// What a transaction does to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Gives it this value, and binds it to this lease or to none.
    Put {
        /// The new value.
        value: Value,
        /// The lease with whose end the row ends.
        lease: Option<LeaseId>,
    },
    /// Removes its row; does nothing where there is none.
    Delete,
}

/// Expectations and operations, at most one of each for a key: a later one replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    expectations: BTreeMap<Key, Expect>,
    ops: BTreeMap<Key, Op>,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a refused transaction changed nothing"]
pub enum Commit {
    /// All of it happened.
    Applied {
        /// Its revision; the one before it when there was nothing to change, as when a key without a row is deleted.
        revision: Revision,
    },
    /// None of it happened.
    Refused {
        /// The first key, in the order of keys, that was not as expected.
        key: Key,
        /// What was expected.
        expected: Expect,
        /// When the row was last written; `None` when there is none.
        found: Option<Revision>,
    },
}

/// The transaction exceeds a limit. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxnTooLarge {
    /// More than [`TXN_KEYS_MAX`] expectations or operations.
    #[error("a transaction names at most {TXN_KEYS_MAX} keys, this one names {keys}")]
    Keys {
        /// The greater of the two counts.
        keys: usize,
    },
    /// More than [`TXN_BYTES_MAX`] bytes to write.
    #[error("a transaction writes at most {TXN_BYTES_MAX} bytes, this one writes {bytes}")]
    Bytes {
        /// Their number.
        bytes: usize,
    },
}

/// What a transaction does to the current rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every expectation holds, and there is something to change.
    Change(Change),
    /// Every expectation holds, and there is nothing to change.
    Nothing,
    /// An expectation does not hold.
    Refuse {
        /// The first such key.
        key: Key,
        /// What was expected of it.
        expected: Expect,
        /// When its row was last written.
        found: Option<Revision>,
    },
    /// A row would be bound to a lease that has ended or never existed.
    LeaseGone(LeaseId),
}

impl Txn {
    /// A transaction that expects nothing and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires that `key` is as `expected`.
    #[must_use]
    pub fn expect(mut self, key: Key, expected: Expect) -> Self {
        self.expectations.insert(key, expected);
        self
    }

    /// Sets the value of `key`, without a lease.
    #[must_use]
    pub fn put(mut self, key: Key, value: Value) -> Self {
        self.ops.insert(key, Op::Put { value, lease: None });
        self
    }

    /// Sets the value of `key` until `lease` ends.
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: Value, lease: LeaseId) -> Self {
        self.ops.insert(key, Op::Put { value, lease: Some(lease) });
        self
    }

    /// Removes the row of `key`.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.ops.insert(key, Op::Delete);
        self
    }

    /// Refuses a transaction that is too large for a store.
    pub fn check_size(&self) -> Result<(), TxnTooLarge> {
        let keys = self.expectations.len().max(self.ops.len());
        if keys > TXN_KEYS_MAX {
            return Err(TxnTooLarge::Keys { keys });
        }
        let bytes = self.bytes();
        if bytes > TXN_BYTES_MAX {
            return Err(TxnTooLarge::Bytes { bytes });
        }
        Ok(())
    }

    /// Bytes of keys and values to write.
    pub fn bytes(&self) -> usize {
        let value_bytes = |op: &Op| match op {
            Op::Put { value, .. } => value.len(),
            Op::Delete => 0,
        };
        self.ops.iter().map(|(key, op)| key.as_str().len() + value_bytes(op)).sum()
    }

    /// Decides what this transaction does as revision `next`, reading rows and leases through the functions given.
    ///
    /// All stores use this function, so that they cannot differ in the meaning of a transaction.
    pub fn decide<E>(
        &self,
        next: Revision,
        mut row: impl FnMut(&Key) -> Result<Option<Entry>, E>,
        mut lease_lives: impl FnMut(LeaseId) -> Result<bool, E>,
    ) -> Result<Decision, E> {
        for (key, &expected) in &self.expectations {
            let found = row(key)?.map(|entry| entry.mod_revision);
            if !expected.holds_of(found) {
                return Ok(Decision::Refuse { key: key.clone(), expected, found });
            }
        }
        let mut events = Vec::with_capacity(self.ops.len());
        for (key, op) in &self.ops {
            let before = row(key)?;
            match op {
                Op::Put { lease: Some(lease), .. } if !lease_lives(*lease)? => {
                    return Ok(Decision::LeaseGone(*lease));
                }
                Op::Put { value, lease } => events.push(Event::Put(Entry {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: before.as_ref().map_or(next, |entry| entry.create_revision),
                    mod_revision: next,
                    version: before.as_ref().map_or(1, |entry| entry.version + 1),
                    lease: *lease,
                })),
                Op::Delete if before.is_some() => events.push(Event::Delete { key: key.clone() }),
                Op::Delete => {}
            }
        }
        if events.is_empty() {
            return Ok(Decision::Nothing);
        }
        Ok(Decision::Change(Change { revision: next, events }))
    }
}

impl Expect {
    fn holds_of(self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::WrittenAt(revision) => found == Some(revision),
        }
    }
}
