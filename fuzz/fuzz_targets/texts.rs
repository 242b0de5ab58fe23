//! The text formats within manifests: each either reads any text or refuses it with a message, without a panic, and a value survives a
//! round trip.
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
    round_trip::<Cron>(text);
    round_trip::<HttpUrl>(text);
    round_trip::<JsonPath>(text);
    round_trip::<ListenAddress>(text);
    round_trip::<PortName>(text);
    round_trip::<Quantile>(text);
    round_trip::<Quantity>(text);
    round_trip::<Span>(text);
    round_trip::<Zone>(text);
});

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) {
    let value = match serde_json::from_value::<T>(Value::String(text.to_owned())) {
        Ok(value) => value,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let written = serde_json::to_value(&value).expect("what was read can be written");
    let again = serde_json::from_value::<T>(written).expect("what was written can be read");
    assert_eq!(again, value, "{text:?}");
}
