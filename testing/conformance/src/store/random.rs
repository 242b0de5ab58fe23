//! Random operations, compared with a simple model of the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::store::{
    Change, Commit, CommitError, Event, Expect, LeaseError, LeaseId, Prefix, Revision, Store, Txn, Watch,
};
use model::time::Time;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{StoreHome, key, value};

/// The number of runs, of up to [`STEPS_MAX`] steps each: some 2,500 steps, less than a second if a sync takes 0.2 ms.
const RUNS: u32 = 64;
const STEPS_MAX: usize = 80;
/// Few keys and few leases, so that steps interact.
const KEYS: u8 = 5;
const TTL: Duration = Duration::from_secs(10);

/// The operations on a store.
#[derive(Clone, Debug)]
enum Step {
    Commit { expectations: Vec<(u8, Expectation)>, ops: Vec<(u8, Write)> },
    Compact { back: u64 },
    Grant,
    KeepAlive { lease: u64 },
    Revoke { lease: u64 },
    Advance { seconds: u64 },
    Reopen,
}

/// What a step expects of a key.
#[derive(Clone, Copy, Debug)]
enum Expectation {
    Absent,
    Present,
    /// The row's present revision, so that the expectation holds.
    AsItIs,
    Stale,
}

/// What a step does to a key.
#[derive(Clone, Copy, Debug)]
enum Write {
    Put(u8),
    PutLeased(u8, u64),
    Delete,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    value: u8,
    created: u64,
    modified: u64,
    version: u64,
    lease: Option<u64>,
}

#[derive(Debug, Default)]
struct Model {
    revision: u64,
    compacted: u64,
    rows: BTreeMap<String, Row>,
    /// For each revision, the new state of each key.
    log: BTreeMap<u64, BTreeMap<String, Option<Row>>>,
    /// Deadlines in milliseconds; `None` from a restart to the next tick.
    leases: BTreeMap<u64, Option<u64>>,
    granted: u64,
    now_ms: u64,
}

/// After every step of every run, its result, the rows, the leases, the history and an open watch agree with the model.
pub(super) fn random_writes_agree_with_the_model(new_home: &dyn Fn() -> Box<dyn StoreHome>) {
    let config = Config { cases: RUNS, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(step(), 1..STEPS_MAX);
    let run = |steps| {
        run(&*new_home(), steps);
        Ok(())
    };
    if let Err(failure) = TestRunner::new(config).run(&steps, run) {
        panic!("{failure}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    let expectation = prop_oneof![
        Just(Expectation::Absent),
        Just(Expectation::Present),
        Just(Expectation::AsItIs),
        Just(Expectation::Stale)
    ];
    let write = prop_oneof![
        4 => any::<u8>().prop_map(Write::Put),
        2 => (any::<u8>(), 1..6u64).prop_map(|(value, lease)| Write::PutLeased(value, lease)),
        2 => Just(Write::Delete),
    ];
    let expectations = prop::collection::vec((0..KEYS, expectation), 0..2);
    let ops = prop::collection::vec((0..KEYS, write), 0..4);
    prop_oneof![
        12 => (expectations, ops).prop_map(|(expectations, ops)| Step::Commit { expectations, ops }),
        1 => (0..6u64).prop_map(|back| Step::Compact { back }),
        2 => Just(Step::Grant),
        1 => (1..6u64).prop_map(|lease| Step::KeepAlive { lease }),
        1 => (1..6u64).prop_map(|lease| Step::Revoke { lease }),
        2 => (0..8u64).prop_map(|seconds| Step::Advance { seconds }),
        1 => Just(Step::Reopen),
    ]
}

fn run(home: &dyn StoreHome, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut store = home.open();
    let mut watch =
        store.watch(&Prefix::root(), Revision(1)).expect("a new store has not compacted anything");
    let mut watched = 0;
    for step in steps {
        match step {
            Step::Commit { expectations, ops } => commit(&*store, &mut model, &expectations, &ops),
            Step::Compact { back } => {
                let through = model.revision.saturating_sub(back);
                store.compact(Revision(through)).expect("the revision exists");
                model.compacted = model.compacted.max(through);
            }
            Step::Grant => {
                let lease = store.grant(TTL, model.now()).expect("the time to live is within its limits");
                model.granted += 1;
                assert_eq!(lease, LeaseId(model.granted));
                model.leases.insert(model.granted, Some(model.deadline()));
            }
            Step::KeepAlive { lease } => keep_alive(&*store, &mut model, lease),
            Step::Revoke { lease } => match store.revoke(LeaseId(lease)) {
                Ok(()) => assert!(model.end(lease), "lease {lease} had ended"),
                Err(LeaseError::Gone { .. }) => assert!(!model.leases.contains_key(&lease)),
                Err(other) => panic!("{other}"),
            },
            Step::Advance { seconds } => advance(&*store, &mut model, seconds),
            Step::Reopen => {
                drop(watch);
                drop(store);
                store = home.open();
                model.leases.values_mut().for_each(|deadline| *deadline = None);
                watch =
                    store.watch(&Prefix::root(), Revision(watched + 1)).expect("the watch was up to date");
            }
        }
        watched = read_watch(&mut watch, watched, &model);
        assert_same(&*store, &model);
    }
}

fn commit(store: &dyn Store, model: &mut Model, expectations: &[(u8, Expectation)], ops: &[(u8, Write)]) {
    let mut txn = Txn::new();
    let mut expectations_hold = BTreeMap::new();
    for &(number, expectation) in expectations {
        let name = format!("k/{number}");
        let modified = model.rows.get(&name).map(|row| row.modified);
        let expected = match expectation {
            Expectation::Absent => Expect::Absent,
            Expectation::Present => Expect::Present,
            Expectation::AsItIs => {
                modified.map_or(Expect::Absent, |modified| Expect::WrittenAt(Revision(modified)))
            }
            Expectation::Stale => Expect::WrittenAt(Revision(modified.unwrap_or(model.revision) + 1)),
        };
        txn = txn.expect(key(&name), expected);
        let holds = match expectation {
            Expectation::Absent => modified.is_none(),
            Expectation::Present => modified.is_some(),
            Expectation::AsItIs => true,
            Expectation::Stale => false,
        };
        expectations_hold.insert(name, holds);
    }
    let mut writes = BTreeMap::new();
    for &(number, write) in ops {
        let name = format!("k/{number}");
        txn = match write {
            Write::Put(byte) => txn.put(key(&name), value(&byte.to_string())),
            Write::PutLeased(byte, lease) => {
                txn.put_leased(key(&name), value(&byte.to_string()), LeaseId(lease))
            }
            Write::Delete => txn.delete(key(&name)),
        };
        writes.insert(name, write);
    }
    let first_miss = expectations_hold.iter().find(|(_, holds)| !**holds).map(|(name, _)| key(name));
    let binds_to_gone =
        |write: &Write| matches!(write, Write::PutLeased(_, lease) if !model.leases.contains_key(lease));
    let lease_gone = writes.values().any(binds_to_gone);
    match store.commit(txn) {
        Ok(Commit::Refused { key, .. }) => assert_eq!(Some(key), first_miss),
        Err(CommitError::LeaseGone { .. }) => assert!(first_miss.is_none() && lease_gone),
        Ok(Commit::Applied { revision }) => {
            assert!(first_miss.is_none() && !lease_gone);
            model.apply(writes);
            assert_eq!(revision, Revision(model.revision));
        }
        Err(other) => panic!("{other}"),
    }
}

fn keep_alive(store: &dyn Store, model: &mut Model, lease: u64) {
    match store.keep_alive(LeaseId(lease), model.now()) {
        Ok(deadline) => {
            assert!(model.leases.contains_key(&lease), "lease {lease} had ended");
            assert_eq!(deadline.as_millis(), model.deadline());
            model.leases.insert(lease, Some(deadline.as_millis()));
        }
        Err(LeaseError::Gone { .. }) => assert!(!model.leases.contains_key(&lease)),
        Err(other) => panic!("{other}"),
    }
}

fn advance(store: &dyn Store, model: &mut Model, seconds: u64) {
    model.now_ms += seconds * 1000;
    let ended = store.expire(model.now()).expect("a sound store ends leases");
    let deadline = model.deadline();
    let due = |(lease, at): (&u64, &mut Option<u64>)| {
        (*at.get_or_insert(deadline) <= model.now_ms).then_some(*lease)
    };
    let lapsed: Vec<u64> = model.leases.iter_mut().filter_map(due).collect();
    assert_eq!(ended, lapsed.iter().copied().map(LeaseId).collect::<Vec<_>>());
    for lease in lapsed {
        model.end(lease);
    }
}

/// Reads from the watch, which has to give the changes of the model since `watched`; returns the last revision.
fn read_watch(watch: &mut Watch, watched: u64, model: &Model) -> u64 {
    let given: Vec<Arc<Change>> =
        std::iter::from_fn(|| watch.try_next().expect("the watch is open")).collect();
    let logged: Vec<_> = model.log.range(watched + 1..).collect();
    assert_eq!(given.len(), logged.len(), "changes since {watched}");
    for (change, (revision, events)) in given.iter().zip(logged) {
        assert_change(change, *revision, events);
    }
    model.revision
}

fn assert_same(store: &dyn Store, model: &Model) {
    let listing = store.list(&Prefix::root()).expect("a sound store lists");
    assert_eq!(listing.revision, Revision(model.revision));
    let listed: Vec<_> = listing.entries.iter().map(|entry| (entry.key.to_string(), row(entry))).collect();
    let rows: Vec<_> = model.rows.iter().map(|(name, row)| (name.clone(), row.clone())).collect();
    assert_eq!(listed, rows);
    for number in 0..KEYS {
        let name = format!("k/{number}");
        let got = store.get(&key(&name)).expect("a sound store reads").map(|entry| row(&entry));
        assert_eq!(got.as_ref(), model.rows.get(&name));
    }
    let mut past = store.watch(&Prefix::root(), Revision(model.compacted + 1)).expect("this past is kept");
    read_watch(&mut past, model.compacted, model);
    let deadlines = model.leases.values().map(|deadline| Time::from_millis(deadline.unwrap_or(0)));
    assert_eq!(store.next_expiry(), deadlines.min());
}

fn assert_change(change: &Change, revision: u64, events: &BTreeMap<String, Option<Row>>) {
    assert_eq!(change.revision, Revision(revision));
    let given = change.events.iter().map(|event| match event {
        Event::Put(entry) => (entry.key.to_string(), Some(row(entry))),
        Event::Delete { key } => (key.to_string(), None),
    });
    let logged: Vec<_> = events.iter().map(|(name, row)| (name.clone(), row.clone())).collect();
    assert_eq!(given.collect::<Vec<_>>(), logged);
}

fn row(entry: &::store::Entry) -> Row {
    let text = std::str::from_utf8(&entry.value).expect("the suite writes text");
    Row {
        value: text.parse().expect("the suite writes numbers"),
        created: entry.create_revision.0,
        modified: entry.mod_revision.0,
        version: entry.version,
        lease: entry.lease.map(|lease| lease.0),
    }
}

impl Model {
    fn now(&self) -> Time {
        Time::from_millis(self.now_ms)
    }

    fn deadline(&self) -> u64 {
        self.now_ms + 10_000
    }

    fn apply(&mut self, writes: BTreeMap<String, Write>) {
        let next = self.revision + 1;
        let mut events = BTreeMap::new();
        for (name, write) in writes {
            let before = self.rows.get(&name);
            let (value, lease) = match write {
                Write::Put(value) => (value, None),
                Write::PutLeased(value, lease) => (value, Some(lease)),
                Write::Delete => {
                    if self.rows.remove(&name).is_some() {
                        events.insert(name, None);
                    }
                    continue;
                }
            };
            let (created, version) = before.map_or((next, 1), |row| (row.created, row.version + 1));
            let row = Row { value, created, modified: next, version, lease };
            self.rows.insert(name.clone(), row.clone());
            events.insert(name, Some(row));
        }
        self.log_change(events);
    }

    /// Ends the lease; returns whether there was one.
    fn end(&mut self, lease: u64) -> bool {
        let existed = self.leases.remove(&lease).is_some();
        let bound = self.rows.extract_if(.., |_, row| row.lease == Some(lease));
        let events = bound.map(|(name, _)| (name, None)).collect();
        self.log_change(events);
        existed
    }

    fn log_change(&mut self, events: BTreeMap<String, Option<Row>>) {
        if !events.is_empty() {
            self.revision += 1;
            self.log.insert(self.revision, events);
        }
    }
}
