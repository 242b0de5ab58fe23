//! The conformance suite of a [`Store`]: the guarantees of the contract, one case each, and random writes compared with a model.

mod leases;
mod random;
mod rows;
mod watches;

use std::sync::Arc;

use ::store::{Commit, Key, LeaseId, Prefix, Revision, Store, Value};

/// Opens stores over the same persistent state.
pub trait StoreHome {
    /// Opens the store. The previous one is already dropped; its acknowledged writes are there.
    fn open(&self) -> Arc<dyn Store>;
}

/// The test of one guarantee on a new and empty store.
type Case = fn(&dyn StoreHome);

/// Tests that the stores of `new_home` keep the contract; panics if they break a guarantee.
///
/// Each case gets a home of its own.
pub fn suite(new_home: &dyn Fn() -> Box<dyn StoreHome>) {
    let cases: Vec<&(&str, Case)> =
        [rows::CASES, watches::CASES, leases::CASES].into_iter().flatten().collect();
    for (name, case) in cases {
        eprintln!("case {name}");
        case(&*new_home());
    }
    random::random_writes_agree_with_the_model(new_home);
}

/// Lists cases with their names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(super) const CASES: &[(&str, super::Case)] = &[$((stringify!($case), $case)),*];
    };
}
use cases;

fn key(text: &str) -> Key {
    Key::parse(text).expect("the suite's keys are valid")
}

fn value(text: &str) -> Value {
    Value::new(text).expect("the suite's values are short")
}

fn prefix(text: &str) -> Prefix {
    Prefix::parse(text).expect("the suite's prefixes are valid")
}

/// Puts a row without a condition.
fn put(store: &dyn Store, at: &str, text: &str) -> Revision {
    store.put(key(at), value(text)).expect("a put succeeds on a sound store")
}

/// The revision of a transaction; panics if it was refused.
fn applied(commit: Commit) -> Revision {
    match commit {
        Commit::Applied { revision } => revision,
        Commit::Refused { key, expected, found } => {
            panic!("refused: {key} should be {expected:?} and is {found:?}")
        }
    }
}

/// Binds a row to a lease.
fn put_leased(store: &dyn Store, at: &str, lease: LeaseId) -> Revision {
    let txn = ::store::Txn::new().put_leased(key(at), value("leased"), lease);
    applied(store.commit(txn).expect("a row can be bound to a live lease"))
}

/// The keys of every row, in the order in which the store lists them.
fn keys(store: &dyn Store) -> Vec<String> {
    let listing = store.list(&Prefix::root()).expect("a sound store lists its rows");
    listing.entries.iter().map(|entry| entry.key.to_string()).collect()
}
