//! kill -9 at any time loses no acknowledged write and leaves no partial one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use store::{Key, Prefix, Revision, Store, WatchEnd};
use store_embedded::EmbeddedStore;

use super::folder;

/// How often a working writer is killed.
const KILLS_AT_WORK: u64 = 240;
/// How often a writer is killed while it creates or opens its store.
const KILLS_AT_START: u64 = 60;

/// The last count and revision that each thread of the writer had acknowledged.
type Acknowledged = BTreeMap<String, (u64, Revision)>;

struct Writer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    fn start(dir: &Path) -> Self {
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_store-writer")).arg(dir).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn read(&mut self, lines: u64, acknowledged: &mut Acknowledged) {
        for line in self.lines.by_ref().take(lines as usize) {
            note(&line.unwrap(), acknowledged);
        }
    }

    /// Kills it, and reads the rest of its output.
    fn kill(mut self, acknowledged: &mut Acknowledged) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for line in self.lines {
            note(&line.unwrap(), acknowledged);
        }
    }
}

fn note(line: &str, acknowledged: &mut Acknowledged) {
    let mut fields = line.split(' ');
    let mut field = || fields.next().expect("a line has three fields");
    let (thread, count, revision) = (field(), field(), field());
    let latest = (count.parse().unwrap(), Revision(revision.parse().unwrap()));
    acknowledged.insert(thread.to_owned(), latest);
}

/// How many lines to read before the kill: 0 to 40 by a full cycle of a small generator, the same in every run.
fn line_counts() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(7_u64), |n| Some((n * 16_807) % 2_147_483_647)).map(|n| n % 41)
}

/// Checks the store after `writers` writers were killed since the last check: each may have left one unreported write in each thread.
fn check(store: &EmbeddedStore, acknowledged: &mut Acknowledged, writers: u64) {
    for (thread, (count, revision)) in acknowledged {
        let row = |half| store.get(&Key::parse(&format!("pairs/{thread}/{half}")).unwrap()).unwrap().unwrap();
        let (a, b) = (row("a"), row("b"));
        assert_eq!(
            (&a.value, a.mod_revision, a.version),
            (&b.value, b.mod_revision, b.version),
            "a partial write"
        );
        let found: u64 = std::str::from_utf8(&a.value).unwrap().parse().unwrap();
        if found == *count {
            assert_eq!(a.mod_revision, *revision);
        } else {
            let unreported = *count + 1..=*count + writers;
            assert!(unreported.contains(&found), "{count} was acknowledged at {revision}, {found} was found");
            assert!(a.mod_revision > *revision);
        }
        (*count, *revision) = (found, a.mod_revision);
    }
    let stats = store.stats().unwrap();
    let mut next = stats.compacted.next();
    let mut watch = store.watch(&Prefix::root(), next).unwrap();
    loop {
        match watch.try_next() {
            Ok(Some(change)) => {
                assert_eq!(
                    (change.revision, change.events.len()),
                    (next, 2),
                    "a gap or a partial change in the history"
                );
                next = next.next();
            }
            Ok(None) => break,
            Err(WatchEnd::Lagged { .. } | WatchEnd::Closed) => {
                panic!("a short history of an open store was not given")
            }
        }
    }
    assert_eq!(next, stats.revision.next());
}

#[test]
fn kill_9_at_work_loses_nothing_acknowledged() {
    let dir = folder();
    let mut acknowledged = Acknowledged::new();
    for (kill, lines) in (0..KILLS_AT_WORK).zip(line_counts()) {
        let mut writer = Writer::start(dir.path());
        writer.read(1 + lines, &mut acknowledged);
        writer.kill(&mut acknowledged);
        // Every other time the next writer, not this test, is the first to open the store after the kill.
        if kill % 2 == 1 {
            check(&EmbeddedStore::open(dir.path()).unwrap(), &mut acknowledged, 2);
        }
    }
    let store = EmbeddedStore::open(dir.path()).unwrap();
    check(&store, &mut acknowledged, 1);
    eprintln!("{KILLS_AT_WORK} kills, {} writes survived", store.stats().unwrap().revision);
}

#[test]
fn kill_9_while_a_store_is_created_leaves_none_or_a_complete_one() {
    for (_, spins) in (0..KILLS_AT_START).zip(line_counts()) {
        let dir = folder();
        let mut acknowledged = Acknowledged::new();
        let writer = Writer::start(dir.path());
        while !dir.path().join("store.lock").exists() {
            std::hint::spin_loop();
        }
        // Somewhere between the first file and the first rows, a little later each time.
        for _ in 0..spins * 5_000 {
            std::hint::spin_loop();
        }
        writer.kill(&mut acknowledged);
        check(&EmbeddedStore::open(dir.path()).unwrap(), &mut acknowledged, 1);
    }
}
