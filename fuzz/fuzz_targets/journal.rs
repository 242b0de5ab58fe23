//! Any bytes after the magic number are read without a panic, and reading terminates.
//!
//! `cargo xtask fuzz journal`

#![no_main]

use std::path::Path;

use journal::Segment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = [b"HSJRNL01", bytes].concat();
    let Ok(segment) = Segment::read(Path::new("fuzz"), bytes.as_slice()) else { return };
    let records = segment.take_while(Result::is_ok).count();
    // A record has at least twelve bytes.
    assert!(records <= bytes.len() / 12);
});
