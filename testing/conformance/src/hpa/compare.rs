//! Reading the parts of rows, and comparing results with what they expect.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads the input or the expectation of a row as `T`.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("the row cannot be read: {error}"))
}

/// Compares one value of a row; fails with both values if they differ.
pub(super) fn compare<T: PartialEq + Debug>(name: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{name}: expected {expected:?}, found {found:?}")) }
}
