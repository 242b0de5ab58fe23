//! Any bytes are read as a trace without a panic, or refused in a sentence.
//!
//! `cargo xtask fuzz trace`

#![no_main]

use libfuzzer_sys::fuzz_target;
use load::trace::Trace;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = Trace::read(bytes, "fuzz") {
        assert!(error.to_string().contains("fuzz"), "{error}");
    }
});
