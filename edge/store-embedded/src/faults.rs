//! Tests of the store on a disk that fails on demand and loses writes that were not synced.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use store::{Commit, Key, Prefix, ReadError, Retention, Revision, Store, Txn, Value, WatchEnd, WriteError};

use crate::disk::Disk;
use crate::embedded::EmbeddedStore;
use crate::engine::{self, Engine};

/// The unit that a disk writes atomically, in bytes.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
struct FaultyDisk(Arc<Mutex<Bytes>>);

#[derive(Debug, Default)]
struct Bytes {
    /// The content that a reader sees.
    seen: Vec<u8>,
    /// The content that certainly survives a power loss, without `unsynced`.
    synced: Vec<u8>,
    unsynced: Vec<Unsynced>,
    calls: u64,
    fault: Option<Fault>,
}

#[derive(Clone, Debug)]
enum Unsynced {
    Written { offset: usize, bytes: Vec<u8> },
    Resized(usize),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Writing and growing fail from this call on.
    Full { from_call: u64, kind: io::ErrorKind },
    /// Every sync fails.
    NoSync,
    /// Nothing works from this call on.
    Dead { from_call: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Grow,
    Sync,
}

impl FaultyDisk {
    fn with_empty_store() -> Self {
        let disk = Self::default();
        engine::create(&disk).unwrap();
        disk.bytes().sync();
        disk
    }

    fn bytes(&self) -> std::sync::MutexGuard<'_, Bytes> {
        self.0.lock().unwrap()
    }

    /// Injects a fault; `after` is the number of calls that still succeed.
    fn fail(&self, fault: impl FnOnce(u64) -> Fault, after: u64) {
        let mut bytes = self.bytes();
        bytes.fault = Some(fault(bytes.calls + after));
    }

    fn repair(&self) {
        self.bytes().fault = None;
    }

    fn store(&self) -> EmbeddedStore {
        let (engine, leases) =
            Engine::open(Box::new(self.clone()), "disk".to_owned(), Retention::default()).unwrap();
        EmbeddedStore::start(engine, leases, None).unwrap()
    }

    /// The disk after a power loss: of the unsynced writes all are left, or none, or each sector at random.
    fn after_power_loss(&self, chance: &mut impl FnMut() -> u64) -> Self {
        let mode = chance() % 3;
        let mut sector_is_left = || match mode {
            0 => true,
            1 => false,
            _ => chance().is_multiple_of(2),
        };
        let before = self.bytes();
        let mut left = before.synced.clone();
        for unsynced in &before.unsynced {
            unsynced.apply_to(&mut left, &mut sector_is_left);
        }
        let bytes = Bytes { seen: left.clone(), synced: left, ..Bytes::default() };
        Self(Arc::new(Mutex::new(bytes)))
    }
}

impl Unsynced {
    /// Applies the write to `medium`, for each sector for which `sector_is_left` returns true.
    fn apply_to(&self, medium: &mut Vec<u8>, mut sector_is_left: impl FnMut() -> bool) {
        match self {
            Self::Resized(len) => medium.resize(*len, 0),
            Self::Written { offset, bytes } => {
                for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    let at = offset + n * SECTOR_BYTES;
                    if at + sector.len() <= medium.len() && sector_is_left() {
                        medium[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }
}

impl Bytes {
    fn call(&mut self, call: Call) -> io::Result<()> {
        self.calls += 1;
        match self.fault {
            Some(Fault::Full { from_call, kind })
                if self.calls > from_call && matches!(call, Call::Write | Call::Grow) =>
            {
                Err(kind.into())
            }
            Some(Fault::NoSync) if call == Call::Sync => Err(io::Error::other("the disk does not answer")),
            Some(Fault::Dead { from_call }) if self.calls > from_call => Err(io::Error::other("no power")),
            Some(Fault::Full { .. } | Fault::NoSync | Fault::Dead { .. }) | None => Ok(()),
        }
    }

    fn sync(&mut self) {
        for unsynced in self.unsynced.drain(..) {
            unsynced.apply_to(&mut self.synced, || true);
        }
    }
}

impl Disk for FaultyDisk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.clone()))
    }

    fn check_place(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        bytes.call(Call::Read)?;
        let from = offset as usize;
        out.copy_from_slice(bytes.seen.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.bytes();
        bytes.call(Call::Grow)?;
        bytes.seen.resize(len as usize, 0);
        bytes.unsynced.push(Unsynced::Resized(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut bytes = self.bytes();
        bytes.call(Call::Sync)?;
        bytes.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        bytes.call(Call::Write)?;
        let at = offset as usize;
        bytes.seen[at..at + data.len()].copy_from_slice(data);
        bytes.unsynced.push(Unsynced::Written { offset: at, bytes: data.to_vec() });
        Ok(())
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Both halves of a pair, and something to make the file grow.
fn pair(count: u64) -> Txn {
    let value = Value::new(count.to_string()).unwrap();
    let ballast = Value::new(vec![count as u8; 3_000]).unwrap();
    let txn = Txn::new().put(key("pair/a"), value.clone()).put(key("pair/b"), value);
    txn.put(key(&format!("ballast/{}", count % 50)), ballast)
}

fn write_pair(store: &EmbeddedStore, count: u64) -> Result<Revision, WriteError> {
    match store.commit(pair(count)) {
        Ok(Commit::Applied { revision }) => Ok(revision),
        Ok(Commit::Refused { .. }) => panic!("a transaction without expectations was refused"),
        Err(store::CommitError::Write(cause)) => Err(cause),
        Err(other) => panic!("{other}"),
    }
}

/// The count in both halves, 0 before the first write.
fn pair_in(store: &EmbeddedStore) -> u64 {
    let count = |name| {
        let row = store.get(&key(name)).unwrap();
        row.map_or(0, |row| std::str::from_utf8(&row.value).unwrap().parse().unwrap())
    };
    let (a, b): (u64, u64) = (count("pair/a"), count("pair/b"));
    assert_eq!(a, b, "half a transaction");
    a
}

/// A small random number generator (Lehmer, modulus 2³¹ − 1), so that a seed determines a run.
fn chance(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed + 1;
    move || {
        state = state * 48_271 % 2_147_483_647;
        state >> 8
    }
}

#[test]
fn power_loss_at_any_call_loses_nothing_acknowledged() {
    let (mut unknown, mut happened) = (0, 0);
    for seed in 0..150 {
        let mut chance = chance(seed);
        let disk = FaultyDisk::with_empty_store();
        let store = disk.store();
        disk.fail(|from_call| Fault::Dead { from_call }, chance() % 400);
        let mut acknowledged = 0;
        let cause = loop {
            match write_pair(&store, acknowledged + 1) {
                Ok(revision) => {
                    acknowledged += 1;
                    assert_eq!(revision, Revision(acknowledged));
                }
                Err(cause) => break cause,
            }
        };
        drop(store);

        let store = disk.after_power_loss(&mut chance).store();
        let found = pair_in(&store);
        if found != acknowledged {
            assert_eq!(found, acknowledged + 1, "seed {seed}");
            assert!(cause.is_unknown(), "seed {seed}: {cause:?}, but it happened");
            happened += 1;
        }
        unknown += u32::from(cause.is_unknown());
        assert_eq!(store.list(&Prefix::root()).unwrap().revision, Revision(found));
        assert_eq!(write_pair(&store, found + 1).unwrap(), Revision(found + 1));
    }
    assert!(
        unknown > 15,
        "{unknown} runs had an unknown outcome: power must be lost in the middle of writes"
    );
    eprintln!("{unknown} of 150 runs had an unknown outcome, in {happened} of them the write had happened");
    assert!(happened > 0, "in none of the runs a write of unknown outcome had happened");
}

#[test]
fn a_full_disk_refuses_the_write_and_the_store_continues_when_there_is_space() {
    for after in 0..40 {
        let disk = FaultyDisk::with_empty_store();
        let store = disk.store();
        let mut watch = store.watch(&Prefix::root(), Revision(1)).unwrap();
        write_pair(&store, 1).unwrap();
        let full = |from_call| Fault::Full { from_call, kind: io::ErrorKind::StorageFull };
        disk.fail(full, after);
        let mut acknowledged = 1;
        let cause = loop {
            match write_pair(&store, acknowledged + 1) {
                Ok(_) => acknowledged += 1,
                Err(cause) => break cause,
            }
        };
        if cause.is_unknown() {
            // The file could not even be reopened: the store must not guess.
            assert!(matches!(write_pair(&store, 9), Err(WriteError::Stopped { .. })));
            continue;
        }
        assert!(matches!(cause, WriteError::NoSpace { .. }), "{cause:?}");
        disk.repair();
        assert_eq!(pair_in(&store), acknowledged, "after {after} calls");
        assert_eq!(write_pair(&store, acknowledged + 1).unwrap(), Revision(acknowledged + 1));
        for revision in 1..=acknowledged + 1 {
            assert_eq!(watch.try_next().unwrap().unwrap().revision, Revision(revision));
        }
        assert_eq!(watch.try_next().unwrap(), None);
    }
}

#[test]
fn a_disk_that_became_read_only_is_reported_as_such() {
    let disk = FaultyDisk::with_empty_store();
    let store = disk.store();
    disk.fail(|from_call| Fault::Full { from_call, kind: io::ErrorKind::ReadOnlyFilesystem }, 0);
    let cause = write_pair(&store, 1).unwrap_err();
    assert!(matches!(cause, WriteError::Denied { .. }), "{cause:?}");
    disk.repair();
    assert_eq!(pair_in(&store), 0);
}

#[test]
fn a_failed_read_does_not_keep_later_ones_from_succeeding() {
    let disk = FaultyDisk::with_empty_store();
    let store = disk.store();
    write_pair(&store, 1).unwrap();
    // More than the engine keeps in memory.
    for n in 0..6 {
        store.put(key(&format!("large/{n}")), Value::new(vec![n; 900_000]).unwrap()).unwrap();
    }
    disk.fail(|from_call| Fault::Dead { from_call }, 0);
    assert!(matches!(store.list(&Prefix::root()), Err(ReadError::Failed { .. })));
    assert!(matches!(store.list(&Prefix::root()), Err(ReadError::Failed { .. })), "it still does not answer");
    disk.repair();
    assert_eq!(pair_in(&store), 1);
    assert_eq!(store.list(&Prefix::root()).unwrap().entries.len(), 9);
    write_pair(&store, 2).unwrap();
    assert_eq!(pair_in(&store), 2);
}

#[test]
fn a_failed_sync_has_an_unknown_outcome_and_stops_the_store() {
    let disk = FaultyDisk::with_empty_store();
    let store = disk.store();
    write_pair(&store, 1).unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(2)).unwrap();
    disk.fail(|_| Fault::NoSync, 0);
    assert!(write_pair(&store, 2).unwrap_err().is_unknown());
    disk.repair();

    assert!(matches!(write_pair(&store, 3), Err(WriteError::Stopped { .. })));
    assert!(matches!(store.get(&key("pair/a")), Err(ReadError::Stopped { .. })));
    assert_eq!(watch.try_next(), Err(WatchEnd::Closed));
    drop(store);
    assert!([1, 2].contains(&pair_in(&disk.store())));
}

#[test]
fn nothing_is_acknowledged_while_the_file_is_not_at_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
    let store = EmbeddedStore::open(&data).unwrap();
    write_pair(&store, 1).unwrap();
    let assert_refused = || {
        let cause = write_pair(&store, 2).unwrap_err();
        assert!(matches!(cause, WriteError::NotApplied { .. }), "{cause:?}");
        assert_eq!(pair_in(&store), 1);
    };
    fs::rename(&data, &elsewhere).unwrap();
    assert_refused();
    // A copy in its place, as somebody restores a backup.
    fs::create_dir(&data).unwrap();
    fs::copy(elsewhere.join("store.db"), data.join("store.db")).unwrap();
    assert_refused();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&elsewhere, &data).unwrap();
    write_pair(&store, 2).unwrap();
    assert_eq!(pair_in(&store), 2);
    fs::remove_dir_all(&data).unwrap();
    assert!(matches!(write_pair(&store, 3), Err(WriteError::NotApplied { .. })));
}
