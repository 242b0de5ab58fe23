//! Writes to an embedded store until it is killed, and prints the acknowledged writes: the process that the kill test kills.
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

/// Enough to share syncs, and few enough that each is often killed during a write.
const THREADS: usize = 4;
/// A short history, so that compaction is often running when the process is killed.
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
                        Ok(Commit::Applied { revision }) => {
                            print_line(&format!("{thread} {count} {revision}"));
                        }
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
            Ok(revision) => print_line(&format!("{row} {revision}")),
            Err(cause) => {
                print_line(&format!("failed: {cause}"));
                break;
            }
        }
    }
    match store.list(&Prefix::root()) {
        Ok(listing) => print_line(&format!("reads {}", listing.entries.len())),
        Err(cause) => print_line(&format!("does not read: {cause}")),
    }
}

/// Prints a line in one write, so that a kill never leaves a part of it.
fn print_line(line: &str) {
    io::stdout().lock().write_all(format!("{line}\n").as_bytes()).expect("the test reads the output");
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("it is a key")
}

fn value(bytes: &[u8]) -> Value {
    Value::new(bytes).expect("it is short enough")
}
