//! The tables of format 1 and the stored form of their rows. Change nothing here without a new format number.

use redb::TableDefinition;
use serde::{Deserialize, Serialize};
use store::{Change, Entry, Event, Key, LeaseId, Revision, Value};
use xxhash_rust::xxh3::xxh3_64;

/// The store's counters by name.
pub(crate) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// Key → sealed [`RowV1`].
pub(crate) const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
/// Revision → sealed list of [`EventV1`].
pub(crate) const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
/// Lease → its time to live in milliseconds.
pub(crate) const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
/// The keys of a lease: (lease, key).
pub(crate) const BOUND: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("bound");

/// The length of the checksum before each row's bytes: the engine does not check its own when it reads.
const SEAL_BYTES: usize = size_of::<u64>();

#[derive(Serialize, Deserialize)]
struct RowV1<'a> {
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    lease: Option<u64>,
    value: &'a [u8],
}

#[derive(Serialize, Deserialize)]
enum EventV1<'a> {
    Put {
        key: &'a str,
        #[serde(borrow)]
        row: RowV1<'a>,
    },
    Delete {
        key: &'a str,
    },
}

/// The stored form of an entry; its key is the row's.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    seal(&RowV1::from(entry))
}

/// Decodes the result of [`encode_entry`]. Fails on anything else.
pub(crate) fn decode_entry(key: &str, stored: &[u8]) -> Result<Entry, redb::Error> {
    let damaged = |what: &dyn std::fmt::Display| damaged("the row", key, what);
    let row: RowV1<'_> = unseal(stored).map_err(|cause| damaged(&cause))?;
    entry(key, &row).map_err(|cause| damaged(&cause))
}

/// The stored form of a change; its revision is the row's key.
pub(crate) fn encode_change(change: &Change) -> Vec<u8> {
    seal(&change.events.iter().map(EventV1::from).collect::<Vec<_>>())
}

/// Decodes the result of [`encode_change`]. Fails on anything else.
pub(crate) fn decode_change(revision: u64, stored: &[u8]) -> Result<Change, redb::Error> {
    let damaged = |what: &dyn std::fmt::Display| damaged("the change", revision, what);
    let stored: Vec<EventV1<'_>> = unseal(stored).map_err(|cause| damaged(&cause))?;
    let event = |stored: &EventV1<'_>| match stored {
        EventV1::Put { key, row } => entry(key, row).map(Event::Put),
        EventV1::Delete { key } => {
            Key::parse(key).map(|key| Event::Delete { key }).map_err(|cause| cause.to_string())
        }
    };
    let events = stored.iter().map(event).collect::<Result<_, _>>().map_err(|cause| damaged(&cause))?;
    Ok(Change { revision: Revision(revision), events })
}

impl<'a> From<&'a Entry> for RowV1<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            create_revision: entry.create_revision.0,
            mod_revision: entry.mod_revision.0,
            version: entry.version,
            lease: entry.lease.map(|lease| lease.0),
            value: &entry.value,
        }
    }
}

impl<'a> From<&'a Event> for EventV1<'a> {
    fn from(event: &'a Event) -> Self {
        match event {
            Event::Put(entry) => Self::Put { key: entry.key.as_str(), row: RowV1::from(entry) },
            Event::Delete { key } => Self::Delete { key: key.as_str() },
        }
    }
}

fn entry(key: &str, row: &RowV1<'_>) -> Result<Entry, String> {
    Ok(Entry {
        key: Key::parse(key).map_err(|cause| cause.to_string())?,
        value: Value::new(row.value).map_err(|cause| cause.to_string())?,
        create_revision: Revision(row.create_revision),
        mod_revision: Revision(row.mod_revision),
        version: row.version,
        lease: row.lease.map(LeaseId),
    })
}

fn seal(row: &impl Serialize) -> Vec<u8> {
    let mut sealed =
        postcard::to_extend(row, vec![0; SEAL_BYTES]).expect("a row has no map and no unknown length");
    let seal = xxh3_64(&sealed[SEAL_BYTES..]);
    sealed[..SEAL_BYTES].copy_from_slice(&seal.to_le_bytes());
    sealed
}

fn unseal<'a, T: Deserialize<'a>>(stored: &'a [u8]) -> Result<T, String> {
    let (seal, row) = stored.split_first_chunk::<SEAL_BYTES>().ok_or("it is too short")?;
    if u64::from_le_bytes(*seal) != xxh3_64(row) {
        return Err("its checksum does not match".to_owned());
    }
    postcard::from_bytes(row).map_err(|cause| cause.to_string())
}

fn damaged(what: &str, id: impl std::fmt::Display, cause: impl std::fmt::Display) -> redb::Error {
    redb::Error::Corrupted(format!("{what} {id}: {cause}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(stored in prop::collection::vec(any::<u8>(), 0..200), sealed: bool) {
            let mut stored = stored;
            if sealed && stored.len() > SEAL_BYTES {
                let seal = xxh3_64(&stored[SEAL_BYTES..]);
                stored[..SEAL_BYTES].copy_from_slice(&seal.to_le_bytes());
            }
            drop(decode_entry("a", &stored));
            drop(decode_change(1, &stored));
        }

        #[test]
        fn a_row_is_read_back_unchanged(
            value in prop::collection::vec(any::<u8>(), 0..2_000),
            revisions in any::<(u64, u64, u64)>(),
            lease in any::<Option<u64>>(),
            name in "[a-z]{1,8}(/[a-zA-Z0-9._:-]{1,8}){0,3}",
            flipped in any::<prop::sample::Index>(),
        ) {
            let entry = Entry {
                key: Key::parse(&name).unwrap(),
                value: Value::new(value).unwrap(),
                create_revision: Revision(revisions.0),
                mod_revision: Revision(revisions.1),
                version: revisions.2,
                lease: lease.map(LeaseId),
            };
            let mut stored = encode_entry(&entry);
            prop_assert_eq!(&decode_entry(&name, &stored).unwrap(), &entry);
            let events = vec![Event::Delete { key: entry.key.clone() }, Event::Put(entry)];
            let change = Change { revision: Revision(revisions.1), events };
            prop_assert_eq!(&decode_change(revisions.1, &encode_change(&change)).unwrap(), &change);

            let at = flipped.index(stored.len());
            stored[at] ^= 1;
            prop_assert!(decode_entry(&name, &stored).is_err());
        }
    }
}
