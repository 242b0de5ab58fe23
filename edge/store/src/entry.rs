//! What a store holds: values, and when they were written.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::key::Key;

/// The longest value, in bytes.
///
/// 1 MiB: the largest thing stored is a service with its status, some 10 KB; two orders of magnitude stay free, and a
/// full watch queue ([`crate::WATCH_QUEUE_BYTES_MAX`]) still holds several of them.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// The number of writes of a store: grows by one with each transaction that changes something.
///
/// 0 is the empty store, before its first write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Identifies a lease; never reused by a store. Starts at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// The bytes of one row, at most [`VALUE_BYTES_MAX`], opaque to the store. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(Arc<[u8]>);

/// The bytes are longer than [`VALUE_BYTES_MAX`]. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value has at most {VALUE_BYTES_MAX} bytes, this one has {bytes}")]
pub struct ValueTooLong {
    /// Their length.
    pub bytes: usize,
}

/// One row as it was at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Its content.
    pub value: Value,
    /// The write that created the key; a key that was deleted and written again was created by the latter.
    pub create_revision: Revision,
    /// The write that gave it this value.
    pub mod_revision: Revision,
    /// The number of writes since the key was created, from 1.
    pub version: u64,
    /// The lease whose end deletes the row.
    pub lease: Option<LeaseId>,
}

/// The rows of a prefix, all as they were at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The revision at which all of them were read; a watch from `revision.next()` continues without a gap.
    pub revision: Revision,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
}

/// How large the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// The last write.
    pub revision: Revision,
    /// The last write whose events are forgotten.
    pub compacted: Revision,
    /// Rows.
    pub keys: u64,
    /// Leases that have not ended.
    pub leases: u64,
    /// Bytes that past events take, as stored.
    pub history_bytes: u64,
    /// Bytes on disk; 0 for a store that has none.
    pub file_bytes: u64,
}

impl Revision {
    /// Before the first write.
    pub const ZERO: Self = Self(0);

    /// The revision of the write after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Value {
    /// Takes `bytes` as a value.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, ValueTooLong> {
        let bytes = bytes.as_ref();
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(ValueTooLong { bytes: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }
}

impl Entry {
    /// What the row costs in a queue or a history, in bytes: its key, its value and its fixed fields.
    pub fn cost_bytes(&self) -> usize {
        self.key.as_str().len() + self.value.len() + size_of::<Self>()
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    /// A short text is shown, anything else only by its length: a log line must not have a megabyte of bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_BYTES_MAX: usize = 64;
        match std::str::from_utf8(&self.0) {
            Ok(text) if text.len() <= SHOWN_BYTES_MAX => fmt::Debug::fmt(text, f),
            Ok(_) | Err(_) => write!(f, "<{} bytes>", self.0.len()),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
