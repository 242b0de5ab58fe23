//! How many puts a second the embedded store acknowledges, by the number of threads that write at once.
//!
//! `cargo run --release -p store-embedded --example puts_per_second [DIR]`; DIR must be new, and lies on the disk to measure.

use std::path::PathBuf;
use std::thread;

use store::{Key, Prefix, Store, Value};
use store_embedded::EmbeddedStore;
use tokio::time::Instant;

/// Puts for each number of writers.
const PUTS: usize = 4_096;
/// As a service with its status.
const VALUE_BYTES: usize = 1_024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kept = tempfile::tempdir()?;
    let dir = std::env::args().nth(1).map_or_else(|| kept.path().to_owned(), PathBuf::from);
    let store = EmbeddedStore::open(&dir)?;
    println!("idle: {} resident", resident()?);
    for writers in [1, 16, 64] {
        let begin = Instant::now();
        thread::scope(|scope| {
            for writer in 0..writers {
                let store = &store;
                scope.spawn(move || put_many(store, writer, PUTS / writers));
            }
        });
        let seconds = begin.elapsed().as_secs_f64();
        println!("{writers:>2} writers: {:>6.0} puts/s", PUTS as f64 / seconds);
    }
    let key = Key::parse("k/0/0")?;
    let begin = Instant::now();
    for _ in 0..PUTS {
        store.get(&key)?;
    }
    println!("1 reader: {:.1} us a get", begin.elapsed().as_secs_f64() * 1e6 / PUTS as f64);
    let begin = Instant::now();
    let rows = store.list(&Prefix::root())?.entries.len();
    println!("a listing of {rows} rows: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    println!("{:?}", store.stats()?);
    drop(store);
    let begin = Instant::now();
    let store = EmbeddedStore::open(&dir)?;
    println!("open: {:.1} ms, {} resident", begin.elapsed().as_secs_f64() * 1e3, resident()?);
    drop(store);
    Ok(())
}

fn put_many(store: &EmbeddedStore, writer: usize, puts: usize) {
    for put in 0..puts {
        let key = Key::parse(&format!("k/{writer}/{put}")).expect("it is a key");
        let value = Value::new([put as u8; VALUE_BYTES]).expect("it is short enough");
        store.put(key, value).expect("the disk has space");
    }
}

/// What the kernel says of this process's memory.
fn resident() -> std::io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.unwrap_or("unknown").trim().to_owned())
}
