//! Any bytes are read as the answer of a server of PromQL without a panic, or refused.
//!
//! `cargo xtask fuzz promql`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _whatever = measure::promql::read(bytes);
});
