//! The history is compacted automatically.

use store::memory::{Attempt, MemoryDisk, MemoryStore, WriteFate};
use store::{Key, Prefix, Retention, Revision, Store, Value, WatchError};
use store_embedded::EmbeddedStore;

use super::folder;

fn put_many(store: &dyn Store, writes: u64, value: &Value) {
    for _ in 0..writes {
        store.put(Key::parse("a").unwrap(), value.clone()).unwrap();
    }
}

fn oldest_change_kept(store: &dyn Store) -> u64 {
    let compacted = store.stats().unwrap().compacted;
    let first = compacted.next();
    let mut watch = store.watch(&Prefix::root(), first).unwrap();
    assert_eq!(watch.try_next().unwrap().unwrap().revision, first);
    assert!(matches!(store.watch(&Prefix::root(), compacted), Err(WatchError::Compacted { .. })));
    first.0
}

fn only_so_many_changes_are_kept(open: impl Fn(Retention) -> Box<dyn Store>) {
    let store = open(Retention { changes: 10, bytes: u64::MAX });
    put_many(&*store, 25, &Value::new("x").unwrap());
    assert_eq!(oldest_change_kept(&*store), 16);
}

fn only_so_many_bytes_are_kept(open: impl Fn(Retention) -> Box<dyn Store>) {
    let store = open(Retention { changes: u64::MAX, bytes: 100_000 });
    put_many(&*store, 50, &Value::new([0; 10_000]).unwrap());
    assert_eq!(oldest_change_kept(&*store), 42);
    assert!(store.stats().unwrap().history_bytes <= 100_000);

    // A change larger than all that may be kept is kept as the only one: a watcher that is up to date loses nothing.
    put_many(&*store, 1, &Value::new(vec![0; 200_000]).unwrap());
    assert_eq!(oldest_change_kept(&*store), 51);
    assert_eq!(store.stats().unwrap().revision, Revision(51));
}

#[test]
fn the_store_in_memory_forgets_what_is_beyond_its_retention() {
    let open = |retention| -> Box<dyn Store> {
        let never = |_: Attempt<'_>| WriteFate::Applied;
        Box::new(MemoryStore::open_with(MemoryDisk::default(), retention, never))
    };
    only_so_many_changes_are_kept(open);
    only_so_many_bytes_are_kept(open);
}

#[test]
fn the_embedded_store_forgets_what_is_beyond_its_retention() {
    let (by_count, by_bytes) = (folder(), folder());
    only_so_many_changes_are_kept(|retention| {
        Box::new(EmbeddedStore::open_retaining(by_count.path(), retention).unwrap())
    });
    only_so_many_bytes_are_kept(|retention| {
        Box::new(EmbeddedStore::open_retaining(by_bytes.path(), retention).unwrap())
    });
}
