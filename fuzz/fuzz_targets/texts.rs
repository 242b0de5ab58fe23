//! The small languages inside manifests: each takes any text without a panic, or refuses it with a sentence, and what was taken
//! is written as something that means the same.
//!
//! `cargo xtask fuzz texts`

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use model::resource::{
    Cron, HttpUrl, JsonPath, ListenAddress, PortName, Quantile, Quantity, Span, Zone,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fuzz_target!(|text: &str| {
    comes_back::<Cron>(text);
    comes_back::<HttpUrl>(text);
    comes_back::<JsonPath>(text);
    comes_back::<ListenAddress>(text);
    comes_back::<PortName>(text);
    comes_back::<Quantile>(text);
    comes_back::<Quantity>(text);
    comes_back::<Span>(text);
    comes_back::<Zone>(text);
});

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) {
    let taken = match serde_json::from_value::<T>(Value::String(text.to_owned())) {
        Ok(taken) => taken,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let written = serde_json::to_value(&taken).expect("what was read can be written");
    let again = serde_json::from_value::<T>(written).expect("what was written can be read");
    assert_eq!(again, taken, "{text:?}");
}
