//! Rows, transactions, and what survives a restart.

use std::thread;

use ::store::{
    Commit, CommitError, Expect, Prefix, Revision, TXN_BYTES_MAX, TXN_KEYS_MAX, Txn, TxnTooLarge,
    VALUE_BYTES_MAX, Value,
};

use super::{StoreHome, applied, cases, key, keys, prefix, put, value};

cases! {
    a_new_store_is_empty_at_revision_zero,
    a_row_knows_when_it_was_written_and_how_often,
    a_deleted_key_starts_at_version_one_again,
    deleting_nothing_is_no_write,
    a_listing_has_the_keys_of_a_prefix_in_order,
    a_stale_compare_and_set_is_refused_and_changes_nothing,
    expectations_can_be_presence_or_absence,
    a_transaction_is_atomic,
    the_largest_value_fits_and_a_larger_transaction_does_not,
    acknowledged_writes_are_there_after_reopening,
    concurrent_increments_are_all_counted,
    a_read_never_returns_a_partial_write,
    a_listing_never_shows_half_a_transaction,
}

fn a_new_store_is_empty_at_revision_zero(home: &dyn StoreHome) {
    let store = home.open();
    let listing = store.list(&Prefix::root()).unwrap();
    assert_eq!((listing.revision, listing.entries.len()), (Revision::ZERO, 0));
    assert_eq!(store.get(&key("a")).unwrap(), None);
    assert_eq!(store.next_expiry(), None);
}

fn a_row_knows_when_it_was_written_and_how_often(home: &dyn StoreHome) {
    let store = home.open();
    assert_eq!(put(&*store, "a", "one"), Revision(1));
    assert_eq!(put(&*store, "b", "other"), Revision(2));
    assert_eq!(put(&*store, "a", "two"), Revision(3));

    let row = store.get(&key("a")).unwrap().unwrap();
    assert_eq!(row.value, value("two"));
    assert_eq!((row.create_revision, row.mod_revision, row.version), (Revision(1), Revision(3), 2));
    assert_eq!(row.lease, None);
    assert_eq!(store.stats().unwrap().revision, Revision(3));
    assert_eq!(store.stats().unwrap().keys, 2);
}

fn a_deleted_key_starts_at_version_one_again(home: &dyn StoreHome) {
    let store = home.open();
    put(&*store, "a", "one");
    put(&*store, "a", "two");
    assert_eq!(store.delete(key("a")).unwrap(), Revision(3));
    assert_eq!(store.get(&key("a")).unwrap(), None);

    put(&*store, "a", "three");
    let row = store.get(&key("a")).unwrap().unwrap();
    assert_eq!((row.create_revision, row.mod_revision, row.version), (Revision(4), Revision(4), 1));
}

fn deleting_nothing_is_no_write(home: &dyn StoreHome) {
    let store = home.open();
    put(&*store, "a", "one");
    assert_eq!(store.delete(key("b")).unwrap(), Revision(1));
    assert_eq!(applied(store.commit(Txn::new()).unwrap()), Revision(1));
    assert_eq!(put(&*store, "c", "next"), Revision(2));
}

fn a_listing_has_the_keys_of_a_prefix_in_order(home: &dyn StoreHome) {
    let store = home.open();
    for name in ["services/shop", "services", "services-2/x", "services/db", "services/shop/status", "z"] {
        put(&*store, name, name);
    }
    let listing = store.list(&prefix("services/")).unwrap();
    let listed: Vec<_> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(listed, ["services/db", "services/shop", "services/shop/status"]);
    assert_eq!(listing.revision, Revision(6));
    assert_eq!(keys(&*store).len(), 6);
    assert_eq!(store.list(&prefix("absent/")).unwrap().entries, []);
}

fn a_stale_compare_and_set_is_refused_and_changes_nothing(home: &dyn StoreHome) {
    let store = home.open();
    let first = put(&*store, "a", "one");
    let second = applied(store.compare_and_set(key("a"), Expect::WrittenAt(first), value("two")).unwrap());

    let refused = store.compare_and_set(key("a"), Expect::WrittenAt(first), value("lost")).unwrap();
    let expected = Expect::WrittenAt(first);
    assert_eq!(refused, Commit::Refused { key: key("a"), expected, found: Some(second) });
    assert_eq!(store.get(&key("a")).unwrap().unwrap().value, value("two"));
    assert_eq!(store.stats().unwrap().revision, second);
}

fn expectations_can_be_presence_or_absence(home: &dyn StoreHome) {
    let store = home.open();
    let set = |expected| store.compare_and_set(key("a"), expected, value("x")).unwrap();
    assert_eq!(
        set(Expect::Present),
        Commit::Refused { key: key("a"), expected: Expect::Present, found: None }
    );
    assert_eq!(set(Expect::Absent), Commit::Applied { revision: Revision(1) });
    let found = Some(Revision(1));
    assert_eq!(set(Expect::Absent), Commit::Refused { key: key("a"), expected: Expect::Absent, found });
    assert_eq!(set(Expect::Present), Commit::Applied { revision: Revision(2) });
}

fn a_transaction_is_atomic(home: &dyn StoreHome) {
    let store = home.open();
    let from = put(&*store, "from", "10");
    let transfer = |seen| {
        let txn = Txn::new().expect(key("from"), Expect::WrittenAt(seen)).expect(key("to"), Expect::Absent);
        store.commit(txn.put(key("to"), value("10")).delete(key("from"))).unwrap()
    };
    assert_eq!(transfer(from), Commit::Applied { revision: Revision(2) });
    assert_eq!(keys(&*store), ["to"]);
    assert!(matches!(transfer(from), Commit::Refused { .. }));
    assert_eq!(keys(&*store), ["to"]);
    assert_eq!(store.get(&key("to")).unwrap().unwrap().create_revision, Revision(2));
}

fn the_largest_value_fits_and_a_larger_transaction_does_not(home: &dyn StoreHome) {
    let store = home.open();
    let largest = Value::new(vec![7; VALUE_BYTES_MAX]).unwrap();
    assert_eq!(store.put(key("large"), largest.clone()).unwrap(), Revision(1));
    assert_eq!(store.get(&key("large")).unwrap().unwrap().value, largest);

    let two = Txn::new().put(key("a"), largest.clone()).put(key("b"), largest);
    let bytes = two.bytes();
    assert!(bytes > TXN_BYTES_MAX);
    let Err(CommitError::TooLarge(TxnTooLarge::Bytes { bytes: refused })) = store.commit(two) else {
        panic!("a transaction of {bytes} bytes was taken");
    };
    assert_eq!(refused, bytes);

    let many = (0..=TXN_KEYS_MAX).fold(Txn::new(), |txn, n| txn.put(key(&format!("k/{n}")), value("")));
    let refused = store.commit(many);
    assert!(matches!(refused, Err(CommitError::TooLarge(TxnTooLarge::Keys { .. }))), "{refused:?}");
    assert_eq!(keys(&*store), ["large"]);
}

fn acknowledged_writes_are_there_after_reopening(home: &dyn StoreHome) {
    let store = home.open();
    put(&*store, "a", "one");
    put(&*store, "b", "gone");
    put(&*store, "a", "two");
    store.delete(key("b")).unwrap();
    let before = store.list(&Prefix::root()).unwrap();
    drop(store);

    let store = home.open();
    assert_eq!(store.list(&Prefix::root()).unwrap(), before);
    assert_eq!(put(&*store, "c", "next"), Revision(5));
}

fn concurrent_increments_are_all_counted(home: &dyn StoreHome) {
    const THREADS: u64 = 8;
    const INCREMENTS: u64 = 25;
    let store = home.open();
    put(&*store, "count", "0");
    let increment = || {
        loop {
            let row = store.get(&key("count")).unwrap().unwrap();
            let count: u64 = std::str::from_utf8(&row.value).unwrap().parse().unwrap();
            let next = value(&(count + 1).to_string());
            match store.compare_and_set(key("count"), Expect::WrittenAt(row.mod_revision), next).unwrap() {
                Commit::Applied { .. } => break,
                Commit::Refused { .. } => {}
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..INCREMENTS).for_each(|_| increment()));
        }
    });
    let row = store.get(&key("count")).unwrap().unwrap();
    assert_eq!(row.value, value(&(THREADS * INCREMENTS).to_string()));
    assert_eq!(row.mod_revision, Revision(1 + THREADS * INCREMENTS));
}

fn a_read_never_returns_a_partial_write(home: &dyn StoreHome) {
    const READERS: usize = 4;
    const READS: usize = 2_000;
    const WRITES: u8 = 200;
    let store = home.open();
    let full_of = |n: u8| Value::new(vec![n; 3_000]).unwrap();
    store.put(key("row"), full_of(0)).unwrap();
    let read = || {
        let row = store.get(&key("row")).unwrap().unwrap();
        assert_eq!(row.value, full_of(row.value[0]));
    };
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| (0..READS).for_each(|_| read()));
        }
        (1..=WRITES).for_each(|n| {
            store.put(key("row"), full_of(n)).unwrap();
        });
    });
    assert_eq!(store.get(&key("row")).unwrap().unwrap().value, full_of(WRITES));
}

fn a_listing_never_shows_half_a_transaction(home: &dyn StoreHome) {
    const WRITES: u64 = 100;
    let store = home.open();
    let pair = |n: u64| {
        Txn::new().put(key("pair/a"), value(&n.to_string())).put(key("pair/b"), value(&n.to_string()))
    };
    applied(store.commit(pair(0)).unwrap());
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..=WRITES {
                applied(store.commit(pair(n)).unwrap());
            }
        });
        let mut listed = Revision::ZERO;
        while !writer.is_finished() {
            let listing = store.list(&prefix("pair/")).unwrap();
            let [a, b] = &*listing.entries else { panic!("two rows, not {:?}", listing.entries) };
            assert_eq!((&a.value, a.mod_revision), (&b.value, b.mod_revision));
            assert!(a.mod_revision <= listing.revision && listed <= listing.revision);
            listed = listing.revision;
        }
    });
}
