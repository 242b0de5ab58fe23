//! Any bytes are either read as the answer of a PromQL server or refused, without a panic.
//!
//! `cargo xtask fuzz promql`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _result = measure::promql::read(bytes);
});
