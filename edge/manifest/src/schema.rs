//! Reads the JSON Schema of a form, as far as the schemas of the kinds make use of it.

use serde_json::Value;

/// A schema with its reference resolved.
pub(crate) struct Form<'s> {
    pub(crate) schema: &'s Value,
    /// The name under `$defs`, when it has one.
    pub(crate) definition: Option<&'s str>,
}

/// Follows references, and takes the form that is not null where null is allowed too.
pub(crate) fn followed<'s>(definitions: &'s Value, mut schema: &'s Value) -> Form<'s> {
    let mut definition = None;
    loop {
        if let Some(name) = reference_in(schema) {
            definition = Some(name);
            schema = &definitions[name];
        } else if let Some(inner) =
            schema["anyOf"].as_array().and_then(|any| any.iter().find(|form| form["type"] != "null"))
        {
            schema = inner;
        } else {
            return Form { schema, definition };
        }
    }
}

/// The name under `$defs` that a schema refers to.
pub(crate) fn reference_in(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

/// A description of several lines and paragraphs in one.
pub(crate) fn one_line(description: &str) -> String {
    description.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The least and the most that a whole number may be.
pub(crate) fn range_of(schema: &Value) -> (i64, i64) {
    let (least, most) = match schema["format"].as_str() {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some(_) | None => (i64::MIN, i64::MAX),
    };
    let least = schema["minimum"].as_i64().map_or(least, |minimum| minimum.max(least));
    let most = schema["maximum"].as_i64().map_or(most, |maximum| maximum.min(most));
    (least, most)
}

/// The names that a schema allows, when it is a choice of names.
pub(crate) fn names_of(schema: &Value) -> Vec<&str> {
    if let Some(word) = schema["const"].as_str() {
        return vec![word];
    }
    if schema["enum"].is_array() {
        return texts(&schema["enum"]).collect();
    }
    schema["oneOf"].as_array().into_iter().flatten().flat_map(|way| names_of(way)).collect()
}

/// A form and the name by which it is chosen.
pub(crate) type NamedForm<'s> = (&'s str, &'s Value);

/// The forms of which a schema allows one, each under its name.
pub(crate) fn named_forms(schema: &Value) -> Vec<NamedForm<'_>> {
    let ways = schema["oneOf"].as_array().into_iter().flatten();
    let fields = ways.filter_map(|way| way["properties"].as_object());
    fields.flatten().map(|(name, form)| (name.as_str(), form)).collect()
}

/// The JSON types that a schema allows, null left out; empty when any is.
pub(crate) fn types_of(schema: &Value) -> Vec<&str> {
    let single = schema["type"].as_str().into_iter();
    single.chain(texts(&schema["type"])).filter(|name| *name != "null").collect()
}

pub(crate) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
