//! Any text is either read as metrics or refused with a line number, without a panic; the number of samples and labels is bounded.
//!
//! `cargo xtask fuzz exposition`

#![no_main]

use libfuzzer_sys::fuzz_target;
use measure::exposition::{Form, read};

fuzz_target!(|text: &str| {
    let lines = text.lines().count().max(1);
    for form in [Form::Prometheus, Form::OpenMetrics] {
        match read(text, form) {
            Ok(samples) => assert!(samples.len() <= lines && samples.iter().all(|sample| sample.labels.len() <= 64)),
            Err(malformed) => assert!((1..=lines).contains(&malformed.line), "{malformed}"),
        }
    }
});
