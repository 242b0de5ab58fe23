//! Leases: their ends, the rows bound to them, and restarts.

use std::sync::Arc;
use std::time::Duration;

use ::store::{
    CommitError, Event, LEASE_TTL_MAX, LEASE_TTL_MIN, LeaseError, LeaseId, Prefix, Revision, Store, Txn,
};
use model::time::Time;

use super::{StoreHome, cases, key, keys, put, put_leased, value};

cases! {
    a_lease_ends_at_its_deadline_and_its_rows_with_it,
    a_lease_that_is_kept_alive_stays,
    a_revoked_lease_takes_its_rows_at_once,
    a_row_is_bound_to_the_lease_of_its_last_put,
    a_row_cannot_be_bound_to_a_lease_that_has_ended,
    a_lease_survives_a_restart_with_its_full_time,
    lease_ids_are_never_reused,
    a_lease_without_rows_ends_without_a_write,
    the_time_to_live_has_limits,
}

const TTL: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn grant(store: &Arc<dyn Store>, now: Time) -> LeaseId {
    store.grant(TTL, now).unwrap()
}

fn a_lease_ends_at_its_deadline_and_its_rows_with_it(home: &dyn StoreHome) {
    let store = home.open();
    let lease = grant(&store, at(0));
    put_leased(&*store, "leader", lease);
    put_leased(&*store, "address", lease);
    put(&*store, "stays", "");
    assert_eq!(store.get(&key("leader")).unwrap().unwrap().lease, Some(lease));
    assert_eq!(store.next_expiry(), Some(at(10)));

    let mut watch = store.watch(&Prefix::root(), Revision(4)).unwrap();
    assert_eq!(store.expire(Time::from_millis(9_999)).unwrap(), []);
    assert_eq!(keys(&*store), ["address", "leader", "stays"]);
    assert_eq!(store.expire(at(10)).unwrap(), [lease]);
    assert_eq!(keys(&*store), ["stays"]);
    let change = watch.try_next().unwrap().unwrap();
    assert_eq!(change.revision, Revision(4));
    assert_eq!(change.events, ["address", "leader"].map(|name| Event::Delete { key: key(name) }));
    assert_eq!(store.expire(at(20)).unwrap(), []);
    assert_eq!(store.stats().unwrap().leases, 0);
}

fn a_lease_that_is_kept_alive_stays(home: &dyn StoreHome) {
    let store = home.open();
    let lease = grant(&store, at(0));
    put_leased(&*store, "leader", lease);
    assert_eq!(store.keep_alive(lease, at(9)).unwrap(), at(19));
    assert_eq!(store.expire(at(18)).unwrap(), []);
    assert_eq!(store.expire(at(19)).unwrap(), [lease]);
    let gone = store.keep_alive(lease, at(19));
    assert!(matches!(gone, Err(LeaseError::Gone { .. })), "{gone:?}");
}

fn a_revoked_lease_takes_its_rows_at_once(home: &dyn StoreHome) {
    let store = home.open();
    let lease = grant(&store, at(0));
    put_leased(&*store, "leader", lease);
    store.revoke(lease).unwrap();
    assert_eq!(keys(&*store), [] as [&str; 0]);
    assert!(matches!(store.revoke(lease), Err(LeaseError::Gone { .. })));
    assert!(matches!(store.keep_alive(lease, at(1)), Err(LeaseError::Gone { .. })));
    assert_eq!(store.next_expiry(), None);
}

fn a_row_is_bound_to_the_lease_of_its_last_put(home: &dyn StoreHome) {
    let store = home.open();
    let (old, new) = (grant(&store, at(0)), grant(&store, at(0)));
    for name in ["freed", "moved", "deleted"] {
        put_leased(&*store, name, old);
    }
    put(&*store, "freed", "");
    put_leased(&*store, "moved", new);
    store.delete(key("deleted")).unwrap();
    put(&*store, "deleted", "again");

    store.revoke(old).unwrap();
    assert_eq!(keys(&*store), ["deleted", "freed", "moved"]);
    store.revoke(new).unwrap();
    assert_eq!(keys(&*store), ["deleted", "freed"]);
}

fn a_row_cannot_be_bound_to_a_lease_that_has_ended(home: &dyn StoreHome) {
    let store = home.open();
    let lease = grant(&store, at(0));
    store.revoke(lease).unwrap();
    for ended in [lease, LeaseId(lease.0 + 1), LeaseId(u64::MAX)] {
        let txn = Txn::new().put(key("a"), value("")).put_leased(key("b"), value(""), ended);
        let refused = store.commit(txn);
        assert!(matches!(&refused, Err(CommitError::LeaseGone { lease }) if *lease == ended), "{refused:?}");
    }
    assert_eq!(keys(&*store), [] as [&str; 0]);
}

fn a_lease_survives_a_restart_with_its_full_time(home: &dyn StoreHome) {
    let store = home.open();
    let lease = grant(&store, at(0));
    put_leased(&*store, "leader", lease);
    drop(store);

    let store = home.open();
    assert_eq!(store.next_expiry(), Some(Time::ZERO));
    assert_eq!(store.expire(at(1_000)).unwrap(), []);
    assert_eq!(store.next_expiry(), Some(at(1_010)));
    assert_eq!(store.expire(at(1_010)).unwrap(), [lease]);
    assert_eq!(keys(&*store), [] as [&str; 0]);
    drop(store);

    let store = home.open();
    assert_eq!(store.next_expiry(), None);
    assert!(matches!(store.keep_alive(lease, at(1_011)), Err(LeaseError::Gone { .. })));
}

fn lease_ids_are_never_reused(home: &dyn StoreHome) {
    let store = home.open();
    let first = grant(&store, at(0));
    store.revoke(first).unwrap();
    let second = grant(&store, at(0));
    assert!(second > first);
    store.revoke(second).unwrap();
    drop(store);
    assert!(grant(&home.open(), at(0)) > second);
}

fn a_lease_without_rows_ends_without_a_write(home: &dyn StoreHome) {
    let store = home.open();
    let lease = grant(&store, at(0));
    assert_eq!(store.expire(at(10)).unwrap(), [lease]);
    assert_eq!(store.stats().unwrap().revision, Revision::ZERO);
    drop(store);
    assert_eq!(home.open().next_expiry(), None);
}

fn the_time_to_live_has_limits(home: &dyn StoreHome) {
    let store = home.open();
    for ttl in
        [Duration::ZERO, LEASE_TTL_MIN - Duration::from_millis(1), LEASE_TTL_MAX + Duration::from_millis(1)]
    {
        assert!(matches!(store.grant(ttl, at(0)), Err(LeaseError::Ttl { .. })));
    }
    store.grant(LEASE_TTL_MIN, at(0)).unwrap();
    store.grant(LEASE_TTL_MAX, at(0)).unwrap();
    assert_eq!(store.next_expiry(), Some(Time::ZERO + LEASE_TTL_MIN));
}
