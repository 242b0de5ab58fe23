//! Any text is either read as a formula or refused with a message, without a panic; a formula has a finite value or an error.
//!
//! `cargo xtask fuzz formula`

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::resource::{FORMULA_LEN_MAX, Formula};

fuzz_target!(|input: (&str, [f64; 4])| {
    let (text, values) = input;
    match Formula::parse(text) {
        Ok(formula) => {
            assert!(text.len() <= FORMULA_LEN_MAX && formula.as_str() == text);
            // Every fifth name has no value.
            let value = formula.value(&|place| values.get(place % 5).copied());
            assert!(value.is_err() || value.is_ok_and(f64::is_finite), "{text:?}: {value:?}");
        }
        Err(error) => assert!(!error.why.is_empty()),
    }
});
