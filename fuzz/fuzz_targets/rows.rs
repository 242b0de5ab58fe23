//! Stored data: the rows and changes of the store, the records of the journal, and the memory of the loop. Any content with a valid
//! checksum is read without a panic, and survives a round trip if it can be read.
//!
//! The first byte of the input selects the kind of row, the rest is its content; valid checksums are added here, because random input
//! would not have them. `cargo xtask fuzz rows`

#![no_main]

use std::path::Path;

use journal::{Segment, StoredMemory};
use libfuzzer_sys::fuzz_target;
use model::memory::Memory;
use xxhash_rust::xxh3::xxh3_64;

/// The stored format, which is private to the store.
#[expect(dead_code, reason = "the tables are used only with a complete store")]
#[path = "../../edge/store-embedded/src/rows.rs"]
mod rows;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, content)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => entry(content),
        1 => change(content),
        2 => record(content),
        _ => memory(content),
    }
});

fn entry(content: &[u8]) {
    let Ok(entry) = rows::decode_entry("services/shop", &with_checksum(content)) else { return };
    let again = rows::decode_entry("services/shop", &rows::encode_entry(&entry));
    assert_eq!(again.expect("what was written is read"), entry);
}

fn change(content: &[u8]) {
    let Ok(change) = rows::decode_change(7, &with_checksum(content)) else { return };
    let again = rows::decode_change(7, &rows::encode_change(&change));
    assert_eq!(again.expect("what was written is read"), change);
}

/// Reads the content as the body of the only record of a segment.
fn record(content: &[u8]) {
    let length = u32::try_from(content.len()).expect("no input is that long").to_le_bytes();
    let segment = [b"HSJRNL01".as_slice(), &length, &with_checksum(content)].concat();
    let mut records = Segment::read(Path::new("fuzz"), segment.as_slice()).expect("the magic number is valid");
    assert!(records.by_ref().take_while(Result::is_ok).count() <= 1);
    assert!(records.next().is_none(), "reading has ended");
}

/// Reads the content as the JSON of a memory.
fn memory(content: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<StoredMemory>(content) else { return };
    let memory = Memory::from(stored);
    let json = serde_json::to_vec(&StoredMemory::from(&memory)).expect("a memory is JSON");
    let again: StoredMemory = serde_json::from_slice(&json).expect("what was written is read");
    assert_eq!(Memory::from(again), memory);
}

/// The content after its checksum.
fn with_checksum(content: &[u8]) -> Vec<u8> {
    [&xxh3_64(content).to_le_bytes(), content].concat()
}
