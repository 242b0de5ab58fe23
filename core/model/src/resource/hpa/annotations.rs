//! Fields that older versions of the HorizontalPodAutoscaler have as JSON in annotations.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::resource::Problem;
use crate::resource::metadata::ObjectMeta;

/// Metrics of `autoscaling/v1`, in the shape of `v2beta1`.
pub(super) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

/// Behavior of `autoscaling/v1` and `v2beta1`, with keys as Go or as JSON writes them.
pub(super) const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Reads the annotation `key`; `None` when it is absent, null or invalid. The latter is added to `problems`.
pub(super) fn read<T: DeserializeOwned>(
    metadata: &ObjectMeta,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let text = metadata.annotations.get(key)?;
    let parsed =
        serde_json::from_str::<Value>(text).map(camel_case).and_then(serde_json::from_value::<Option<T>>);
    parsed.unwrap_or_else(|error| {
        problems.push(Problem::at(
            format!("metadata.annotations.{key}"),
            format!("the annotation is not valid JSON of the corresponding field: {error}"),
        ));
        None
    })
}

/// Makes the first letter of keys lower-case and removes nulls; the labels of a selector are not changed.
///
/// Kubernetes wrote these annotations from Go structures without JSON names, and reads keys of either case.
fn camel_case(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries = map.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
                let key = lower_first(&key);
                let value = if key == "matchLabels" { value } else { camel_case(value) };
                (key, value)
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(camel_case).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn lower_first(key: &str) -> String {
    let mut chars = key.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}
