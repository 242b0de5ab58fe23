//! Writes to an embedded store until it is killed, and prints what was acknowledged: the victim of the kill test.
//!
//! `store-writer DIR` opens the store in DIR and prints a line for each acknowledged write, `THREAD COUNT REVISION`, where
//! both `pairs/THREAD/a` and `pairs/THREAD/b` hold COUNT since REVISION. `store-writer DIR BYTES` instead writes rows of BYTES
//! bytes until a write fails: it prints `ROW REVISION` for each, then `failed: WHY`, then `reads ROWS` for the rows that it can
//! still read.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::{env, thread};

use store::{Commit, Key, Prefix, Retention, Store, Txn, Value};
use store_embedded::EmbeddedStore;

/// Enough to share syncs, few enough that each is often killed in the middle of a write.
const THREADS: usize = 4;
/// A short history, so that forgetting is under way when the kill comes.
const RETENTION: Retention = Retention { changes: 300, bytes: 1 << 20 };

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [dir, rest @ ..] = &*arguments else {
        eprintln!("usage: store-writer DIR [BYTES]");
        return ExitCode::from(2);
    };
    let store = match EmbeddedStore::open_retaining(Path::new(dir), RETENTION) {
        Ok(store) => store,
        Err(cause) => {
            eprintln!("{cause}");
            return ExitCode::FAILURE;
        }
    };
    match rest.first().map(|bytes| bytes.parse()) {
        None => count_until_killed(&store),
        Some(Ok(bytes)) => fill(&store, bytes),
        Some(Err(cause)) => eprintln!("BYTES is a number: {cause}"),
    }
    ExitCode::SUCCESS
}

fn count_until_killed(store: &EmbeddedStore) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let (a, b) = (key(&format!("pairs/{thread}/a")), key(&format!("pairs/{thread}/b")));
                let row = store.get(&a).expect("a sound store reads");
                let text =
                    row.map_or_else(String::new, |row| String::from_utf8_lossy(&row.value).into_owned());
                let before: u64 = text.parse().unwrap_or(0);
                for count in before + 1.. {
                    let text = value(count.to_string().as_bytes());
                    let txn = Txn::new().put(a.clone(), text.clone()).put(b.clone(), text);
                    match store.commit(txn) {
                        Ok(Commit::Applied { revision }) => say(&format!("{thread} {count} {revision}")),
                        refused => panic!("a write without expectations was not applied: {refused:?}"),
                    }
                }
            });
        }
    });
}

fn fill(store: &EmbeddedStore, bytes: usize) {
    for row in 0.. {
        match store.put(key(&format!("rows/{row}")), value(&vec![b'x'; bytes])) {
            Ok(revision) => say(&format!("{row} {revision}")),
            Err(cause) => {
                say(&format!("failed: {cause}"));
                break;
            }
        }
    }
    match store.list(&Prefix::root()) {
        Ok(listing) => say(&format!("reads {}", listing.entries.len())),
        Err(cause) => say(&format!("does not read: {cause}")),
    }
}

/// One line in one write, so that a kill never leaves half of it.
fn say(line: &str) {
    io::stdout().lock().write_all(format!("{line}\n").as_bytes()).expect("the test reads what is said");
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("it is a key")
}

fn value(bytes: &[u8]) -> Value {
    Value::new(bytes).expect("it is short enough")
}
