use super::*;
use crate::entry::Value;
use crate::watch::WatchEnd;

const TTL: Duration = Duration::from_secs(10);

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn put(store: &MemoryStore, at: &str) -> Result<Revision, CommitError> {
    store.put(key(at), Value::new("x").unwrap())
}

/// A store whose writes meet these fates, in turn, and succeed after them.
fn with_fates(disk: &MemoryDisk, fates: impl IntoIterator<Item = WriteFate>) -> MemoryStore {
    let mut fates: VecDeque<_> = fates.into_iter().collect();
    let faults = move |_: Attempt<'_>| fates.pop_front().unwrap_or(WriteFate::Applied);
    MemoryStore::open_with(disk.clone(), Retention::default(), faults)
}

#[test]
fn each_fate_is_applied_and_reported() {
    let fates = [WriteFate::NotApplied, WriteFate::NotAppliedUnknown, WriteFate::AppliedUnknown];
    let store = with_fates(&MemoryDisk::default(), fates);
    let mut watch = store.watch(&Prefix::root(), Revision(1)).unwrap();

    assert!(matches!(put(&store, "a"), Err(CommitError::Write(WriteError::NotApplied { .. }))));
    assert!(matches!(put(&store, "b"), Err(CommitError::Write(WriteError::Unknown { .. }))));
    assert!(matches!(put(&store, "c"), Err(CommitError::Write(WriteError::Unknown { .. }))));
    assert_eq!(put(&store, "d").unwrap(), Revision(2));

    let rows: Vec<_> =
        store.list(&Prefix::root()).unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(rows, [key("c"), key("d")]);
    assert_eq!(watch.try_next().unwrap().unwrap().revision, Revision(1));
    assert_eq!(watch.try_next().unwrap().unwrap().revision, Revision(2));
}

#[test]
fn a_refused_transaction_makes_no_write_attempt() {
    let store = with_fates(&MemoryDisk::default(), [WriteFate::NotApplied]);
    assert_eq!(store.delete(key("absent")).unwrap(), Revision::ZERO);
    assert!(put(&store, "a").is_err());
}

#[test]
fn a_lease_whose_end_failed_ends_at_the_next_tick() {
    let now = Time::from_millis(10_000);
    for fate in [WriteFate::NotApplied, WriteFate::NotAppliedUnknown, WriteFate::AppliedUnknown] {
        let store = with_fates(&MemoryDisk::default(), [WriteFate::Applied, WriteFate::Applied, fate]);
        let lease = store.grant(TTL, Time::ZERO).unwrap();
        let bound = Txn::new().put_leased(key("a"), Value::new("x").unwrap(), lease);
        assert!(matches!(store.commit(bound), Ok(Commit::Applied { .. })));

        assert!(matches!(store.expire(now), Err(LeaseError::Write(_))));
        assert_eq!(store.expire(now).unwrap(), [lease], "{fate:?}");
        assert_eq!(store.list(&Prefix::root()).unwrap().entries, []);
        assert_eq!(store.stats().unwrap().revision, Revision(2));
    }
}

#[test]
fn a_lease_of_unknown_outcome_ends_like_any_other() {
    let store = with_fates(&MemoryDisk::default(), [WriteFate::AppliedUnknown]);
    assert!(matches!(store.grant(TTL, Time::ZERO), Err(LeaseError::Write(WriteError::Unknown { .. }))));
    assert_eq!(store.next_expiry(), Some(Time::ZERO + TTL));
    assert_eq!(store.expire(Time::ZERO + TTL).unwrap(), [LeaseId(1)]);
}

#[test]
fn the_disk_outlives_the_store() {
    let disk = MemoryDisk::default();
    let store = with_fates(&disk, []);
    put(&store, "a").unwrap();
    drop(store);
    assert_eq!(with_fates(&disk, []).get(&key("a")).unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn a_watch_can_be_awaited() {
    let store = MemoryStore::default();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).unwrap();
    let writer = async { put(&store, "a").unwrap() };
    let (change, revision) = tokio::join!(watch.next(), writer);
    assert_eq!(change.unwrap().revision, revision);
    drop(store);
    assert_eq!(watch.next().await, Err(WatchEnd::Closed));
}
