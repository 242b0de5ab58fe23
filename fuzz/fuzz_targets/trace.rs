//! Any bytes are either read as a trace or refused with a message, without a panic.
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
