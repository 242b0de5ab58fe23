//! The differences between two states of a resource, field by field.

use std::collections::BTreeSet;

use model::resource::Resource;
use serde_json::Value;

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Dotted path, such as `spec.scale.max` or `spec.ports[0].name`.
    pub path: String,
    /// The old value; `None` when there was none.
    pub old: Option<Value>,
    /// The new value; `None` when there is none.
    pub new: Option<Value>,
}

/// The fields in which `new` differs from `old`, in the order of their paths; empty when the two are equivalent.
///
/// Defaults are filled in on both sides before they are compared: leaving a field out and writing its default is no change. The
/// `resourceVersion` is not compared, as it is not declared.
pub fn diff(old: &Resource, new: &Resource) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", Some(&value_of(old)), Some(&value_of(new)), &mut changes);
    changes
}

fn value_of(resource: &Resource) -> Value {
    let mut resource = resource.clone();
    resource.take_version();
    serde_json::to_value(resource).expect("the keys of every resource are texts, so that it is JSON")
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let under = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&under, old.get(key), new.get(key), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for i in 0..old.len().max(new.len()) {
                compare(&format!("{path}[{i}]"), old.get(i), new.get(i), changes);
            }
        }
        (old, new) if old == new => {}
        (old, new) => changes.push(Change { path: path.to_owned(), old: old.cloned(), new: new.cloned() }),
    }
}
