//! Watches: order, completeness, and lagging watches.

use std::sync::Arc;
use std::thread;

use ::store::{
    Change, CompactError, Event, Key, Prefix, Revision, Store, Txn, Value, WATCH_QUEUE_BYTES_MAX,
    WATCH_QUEUE_CHANGES_MAX, WATCHERS_MAX, Watch, WatchEnd, WatchError,
};

use super::{StoreHome, applied, cases, key, prefix, put, value};

cases! {
    a_watch_gives_past_changes_and_then_new_ones,
    a_watch_gives_one_transaction_as_one_change,
    a_watch_gives_only_changes_in_its_prefix,
    a_watch_from_a_future_revision_waits_for_it,
    list_and_watch_miss_no_concurrent_write,
    a_lagging_watch_ends_and_can_be_resumed,
    large_changes_fill_a_queue_by_their_bytes,
    a_watch_from_far_behind_catches_up_in_steps,
    a_watch_of_compacted_history_is_refused_and_rows_stay,
    compaction_does_not_touch_an_open_watch,
    the_history_is_there_after_reopening,
    closing_the_store_ends_its_watches,
    watches_are_limited_and_a_dropped_one_frees_its_slot,
}

/// Everything that is already queued.
fn drain(watch: &mut Watch) -> Vec<Arc<Change>> {
    std::iter::from_fn(|| watch.try_next().expect("the watch is open")).collect()
}

fn revisions(changes: &[Arc<Change>]) -> Vec<u64> {
    changes.iter().map(|change| change.revision.0).collect()
}

/// Returns what is queued, and then why there is no more.
fn drain_to_end(watch: &mut Watch) -> (Vec<Arc<Change>>, WatchEnd) {
    let mut changes = Vec::new();
    loop {
        match watch.blocking_next() {
            Ok(change) => changes.push(change),
            Err(end) => return (changes, end),
        }
    }
}

fn a_watch_gives_past_changes_and_then_new_ones(home: &dyn StoreHome) {
    let store = home.open();
    put(&*store, "a", "one");
    put(&*store, "b", "two");
    store.delete(key("a")).unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(2)).unwrap();
    put(&*store, "a", "three");

    let changes = drain(&mut watch);
    assert_eq!(revisions(&changes), [2, 3, 4]);
    assert_eq!(changes[1].events, [Event::Delete { key: key("a") }]);
    let row = store.get(&key("a")).unwrap().unwrap();
    assert_eq!(changes[2].events, [Event::Put(row)]);
}

fn a_watch_gives_one_transaction_as_one_change(home: &dyn StoreHome) {
    let store = home.open();
    put(&*store, "c", "old");
    let mut watch = store.watch(&Prefix::root(), Revision(2)).unwrap();
    applied(
        store
            .commit(Txn::new().put(key("b"), value("1")).delete(key("c")).put(key("a"), value("2")))
            .unwrap(),
    );

    let changes = drain(&mut watch);
    assert_eq!(revisions(&changes), [2]);
    let named: Vec<&Key> = changes[0].events.iter().map(Event::key).collect();
    assert_eq!(named, [&key("a"), &key("b"), &key("c")]);
}

fn a_watch_gives_only_changes_in_its_prefix(home: &dyn StoreHome) {
    let store = home.open();
    put(&*store, "in/a", "1");
    put(&*store, "out", "2");
    let mut watch = store.watch(&prefix("in/"), Revision::ZERO).unwrap();
    put(&*store, "other", "3");
    applied(store.commit(Txn::new().put(key("in/b"), value("4")).put(key("out"), value("4"))).unwrap());

    let changes = drain(&mut watch);
    assert_eq!(revisions(&changes), [1, 4]);
    assert_eq!(changes[1].events.len(), 1);
    assert_eq!(changes[1].events[0].key(), &key("in/b"));
}

fn a_watch_from_a_future_revision_waits_for_it(home: &dyn StoreHome) {
    let store = home.open();
    let mut watch = store.watch(&Prefix::root(), Revision(3)).unwrap();
    for text in ["1", "2", "3", "4"] {
        put(&*store, "a", text);
    }
    assert_eq!(revisions(&drain(&mut watch)), [3, 4]);
}

fn list_and_watch_miss_no_concurrent_write(home: &dyn StoreHome) {
    const THREADS: usize = 4;
    const WRITES: usize = 50;
    const LAST: u64 = (THREADS * WRITES) as u64;
    let store = home.open();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for n in 0..WRITES {
                    put(&**store, &format!("k/{thread}"), &n.to_string());
                }
            });
        }
        for _ in 0..THREADS {
            scope.spawn(|| {
                let listing = store.list(&prefix("k/")).unwrap();
                let mut watch = store.watch(&prefix("k/"), listing.revision.next()).unwrap();
                for revision in listing.revision.0 + 1..=LAST {
                    assert_eq!(watch.blocking_next().unwrap().revision, Revision(revision));
                }
            });
        }
    });
}

fn a_lagging_watch_ends_and_can_be_resumed(home: &dyn StoreHome) {
    let store = home.open();
    let mut slow = store.watch(&Prefix::root(), Revision(1)).unwrap();
    let writes = WATCH_QUEUE_CHANGES_MAX as u64 + 10;
    write_many(&*store, writes);

    let (changes, end) = drain_to_end(&mut slow);
    let next = Revision(WATCH_QUEUE_CHANGES_MAX as u64 + 1);
    assert_eq!(revisions(&changes), (1..next.0).collect::<Vec<_>>());
    assert_eq!(end, WatchEnd::Lagged { next });

    let mut again = store.watch(&Prefix::root(), next).unwrap();
    assert_eq!(revisions(&drain(&mut again)), (next.0..=writes).collect::<Vec<_>>());
}

/// Writes this often, from several threads, as that is faster for stores that share a sync among writers.
fn write_many(store: &dyn Store, writes: u64) {
    const THREADS: u64 = 16;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let share = writes / THREADS + u64::from(thread < writes % THREADS);
            scope.spawn(move || {
                for n in 0..share {
                    put(store, &format!("w/{thread}"), &n.to_string());
                }
            });
        }
    });
}

fn large_changes_fill_a_queue_by_their_bytes(home: &dyn StoreHome) {
    let store = home.open();
    let mut slow = store.watch(&Prefix::root(), Revision(1)).unwrap();
    let large = Value::new(vec![1; 1 << 20]).unwrap();
    let fit = (WATCH_QUEUE_BYTES_MAX >> 20) as u64;
    for _ in 0..fit {
        store.put(key("large"), large.clone()).unwrap();
    }
    let (changes, end) = drain_to_end(&mut slow);
    assert_eq!(changes.len() as u64, fit - 1);
    assert_eq!(end, WatchEnd::Lagged { next: Revision(fit) });
}

fn a_watch_from_far_behind_catches_up_in_steps(home: &dyn StoreHome) {
    let store = home.open();
    let writes = 2 * WATCH_QUEUE_CHANGES_MAX as u64 + 5;
    write_many(&*store, writes);

    let mut seen = Vec::new();
    let mut from = Revision(1);
    while seen.len() < writes as usize {
        let mut watch = store.watch(&Prefix::root(), from).unwrap();
        loop {
            match watch.try_next() {
                Ok(Some(change)) => seen.push(change.revision.0),
                Ok(None) => break,
                Err(WatchEnd::Lagged { next }) => {
                    from = next;
                    break;
                }
                Err(WatchEnd::Closed) => panic!("the store is open"),
            }
        }
    }
    assert_eq!(seen, (1..=writes).collect::<Vec<_>>());
}

fn a_watch_of_compacted_history_is_refused_and_rows_stay(home: &dyn StoreHome) {
    let store = home.open();
    for text in ["1", "2", "3", "4"] {
        put(&*store, "a", text);
    }
    put(&*store, "b", "5");
    store.compact(Revision(3)).unwrap();
    store.compact(Revision(2)).unwrap();

    for from in [0, 1, 3] {
        let refused = store.watch(&Prefix::root(), Revision(from));
        let Err(WatchError::Compacted { compacted: Revision(3), .. }) = refused else {
            panic!("a watch from {from} gave {refused:?}");
        };
    }
    assert_eq!(revisions(&drain(&mut store.watch(&Prefix::root(), Revision(4)).unwrap())), [4, 5]);
    assert_eq!(store.get(&key("a")).unwrap().unwrap().version, 4);
    assert_eq!(store.stats().unwrap().compacted, Revision(3));

    let future = store.compact(Revision(6));
    assert!(matches!(future, Err(CompactError::Future { current: Revision(5), .. })), "{future:?}");
    store.compact(Revision(5)).unwrap();
    assert_eq!(revisions(&drain(&mut store.watch(&Prefix::root(), Revision(6)).unwrap())), [] as [u64; 0]);
    assert_eq!(put(&*store, "c", "6"), Revision(6));
}

fn compaction_does_not_touch_an_open_watch(home: &dyn StoreHome) {
    let store = home.open();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).unwrap();
    put(&*store, "a", "1");
    put(&*store, "a", "2");
    store.compact(Revision(2)).unwrap();
    put(&*store, "a", "3");
    assert_eq!(revisions(&drain(&mut watch)), [1, 2, 3]);
}

fn the_history_is_there_after_reopening(home: &dyn StoreHome) {
    let store = home.open();
    for text in ["1", "2", "3"] {
        put(&*store, "a", text);
    }
    store.compact(Revision(1)).unwrap();
    let before = drain(&mut store.watch(&Prefix::root(), Revision(2)).unwrap());
    drop(store);

    let store = home.open();
    assert_eq!(drain(&mut store.watch(&Prefix::root(), Revision(2)).unwrap()), before);
    assert!(matches!(store.watch(&Prefix::root(), Revision(1)), Err(WatchError::Compacted { .. })));
}

fn closing_the_store_ends_its_watches(home: &dyn StoreHome) {
    let store = home.open();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).unwrap();
    put(&*store, "a", "1");
    drop(store);
    let (changes, end) = drain_to_end(&mut watch);
    assert_eq!(revisions(&changes), [1]);
    assert_eq!(end, WatchEnd::Closed);
}

fn watches_are_limited_and_a_dropped_one_frees_its_slot(home: &dyn StoreHome) {
    let store = home.open();
    let watch = || store.watch(&Prefix::root(), Revision(1));
    let mut open: Vec<_> = (0..WATCHERS_MAX).map(|_| watch().unwrap()).collect();
    assert!(matches!(watch(), Err(WatchError::TooMany)));
    open.truncate(WATCHERS_MAX - 1);
    let mut last = watch().unwrap();
    put(&*store, "a", "1");
    assert_eq!(revisions(&drain(&mut last)), [1]);
}
