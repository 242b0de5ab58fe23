//! Checks a tree against the JSON Schema of its kind, finds all errors, and converts it to JSON.
//!
//! Scalars are read by the type in the schema and not as YAML guesses, so that `1e3` stays the text that a quantity keeps. What a
//! schema cannot express (names, quantities, spans, fields that exclude each other) is checked by the types themselves through
//! [`read_as`].

use std::collections::BTreeMap;
use std::ops::Range;

use model::nearest;
use model::resource::schema::read_as;
use serde_json::{Map, Value};

use crate::diagnostic::DIAGNOSTICS_MAX;
use crate::scalar;
use crate::schema::{self, Form, NamedForm, named_forms, names_of, one_line, range_of, texts, types_of};
use crate::tree::{Content, Entry, Node};

/// A deviation of a tree from its schema.
#[derive(Debug)]
pub(crate) struct FormError {
    pub(crate) span: Range<usize>,
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) expected: String,
}

impl FormError {
    pub(crate) fn new(
        span: Range<usize>,
        path: &str,
        text: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { span, path: path.to_owned(), text: text.into(), expected: expected.into() }
    }
}

/// The JSON Schema of a kind, and where it has which fields.
pub(crate) struct KindSchema {
    schema: Value,
    /// The paths of the objects that have a field, by its name.
    places: BTreeMap<String, Vec<String>>,
}

impl KindSchema {
    pub(crate) fn new(schema: Value) -> Self {
        let mut places = BTreeMap::new();
        add_places(&schema["$defs"], "", &schema, &mut places);
        Self { schema, places }
    }
}

/// Adds the path of each object in `schema` for each of its fields. No form refers to itself.
fn add_places(definitions: &Value, path: &str, schema: &Value, places: &mut BTreeMap<String, Vec<String>>) {
    let form = schema::followed(definitions, schema).schema;
    for (name, field) in form["properties"].as_object().into_iter().flatten() {
        places.entry(name.clone()).or_default().push(path.to_owned());
        add_places(definitions, &join(path, name), field, places);
    }
    for (name, inner) in named_forms(form) {
        add_places(definitions, &join(path, name), inner, places);
    }
    if form["items"].is_object() {
        add_places(definitions, &format!("{path}[]"), &form["items"], places);
    }
}

/// `root` as JSON of the form that `known` describes, or all deviations from it.
pub(crate) fn fit(root: &Node, known: &KindSchema) -> Result<Value, Vec<FormError>> {
    let KindSchema { schema, places } = known;
    let mut check = FormCheck { definitions: &schema["$defs"], places, form_errors: Vec::new() };
    let value = check.node(&Place { node: root, at: root.heading(), path: String::new() }, schema);
    match value {
        Some(value) if check.form_errors.is_empty() => Ok(value),
        Some(_) | None => Err(check.form_errors),
    }
}

/// A node with its path, and what to underline for an error about all of it.
struct Place<'t> {
    node: &'t Node,
    at: Range<usize>,
    path: String,
}

impl<'t> Place<'t> {
    fn under(&self, entry: &'t Entry) -> Self {
        let at = match &entry.value.content {
            Content::Scalar { .. } if !entry.value.span.is_empty() => entry.value.span.clone(),
            Content::Scalar { .. } | Content::Sequence(_) | Content::Mapping(_) => entry.key_span.clone(),
        };
        Self { node: &entry.value, at, path: join(&self.path, &entry.key) }
    }

    fn item(&self, index: usize, node: &'t Node) -> Self {
        Self { node, at: node.heading(), path: format!("{}[{index}]", self.path) }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

struct FormCheck<'s> {
    definitions: &'s Value,
    places: &'s BTreeMap<String, Vec<String>>,
    form_errors: Vec<FormError>,
}

impl<'s> FormCheck<'s> {
    fn add(&mut self, place: &Place<'_>, text: impl Into<String>, expected: impl Into<String>) {
        self.form_errors.push(FormError::new(place.at.clone(), &place.path, text, expected));
    }

    /// The JSON of a node; `None` when it has errors, which are then recorded.
    fn node(&mut self, place: &Place<'_>, schema: &'s Value) -> Option<Value> {
        let form = schema::followed(self.definitions, schema);
        let before = self.form_errors.len();
        let value = self.shape(place, &form)?;
        if self.form_errors.len() > before {
            return None;
        }
        let reads = form.definition.and_then(|definition| read_as(definition, &value));
        if let Some(Err(text)) = reads {
            self.add(place, text, "");
            return None;
        }
        Some(value)
    }

    fn shape(&mut self, place: &Place<'_>, form: &Form<'s>) -> Option<Value> {
        let bare_names = names_of(form.schema);
        let named = named_forms(form.schema);
        match &place.node.content {
            Content::Mapping(entries) if !named.is_empty() => {
                return self.named(place, entries, &bare_names, &named);
            }
            Content::Mapping(_) | Content::Scalar { .. } | Content::Sequence(_) => {}
        }
        if !bare_names.is_empty() {
            return self.name(place, &bare_names, &named);
        }
        let types = types_of(form.schema);
        let reads_itself = form.definition.is_some_and(|name| read_as(name, &Value::Null).is_some());
        let expected = || expectation(form.schema, &types);
        match &place.node.content {
            Content::Mapping(entries) if types.contains(&"object") => {
                self.object(place, entries, form.schema)
            }
            Content::Sequence(items) if types.contains(&"array") => self.array(place, items, form.schema),
            // The types of names and spans have better errors for a bare number than the YAML type has.
            Content::Scalar { text, .. } if reads_itself && types == ["string"] && !place.node.is_null() => {
                Some(text.as_str().into())
            }
            Content::Scalar { text, is_plain } if !types.is_empty() => {
                match scalar_as(&types, text, *is_plain) {
                    Ok(value) => self.number_in_range(place, value, form.schema),
                    Err(found) => {
                        let quoted = if types == ["string"] && is_number_or_truth(text) {
                            format!("; write \"{text}\" in quotes if it is meant as text")
                        } else {
                            String::new()
                        };
                        self.add(place, format!("expected {}, found {found}{quoted}", expected()), "");
                        None
                    }
                }
            }
            Content::Scalar { .. } | Content::Sequence(_) | Content::Mapping(_) if types.is_empty() => {
                Some(untyped(place.node))
            }
            Content::Mapping(_) | Content::Sequence(_) | Content::Scalar { .. } => {
                self.add(place, format!("expected {}, found {}", expected(), describe(place.node)), "");
                None
            }
        }
    }

    /// A choice between names, where some of the choices have fields as well.
    fn name(&mut self, place: &Place<'_>, bare_names: &[&str], named: &[NamedForm<'s>]) -> Option<Value> {
        let names: Vec<&str> =
            bare_names.iter().copied().chain(named.iter().map(|(name, _)| *name)).collect();
        let Content::Scalar { text, .. } = &place.node.content else {
            self.add(place, format!("expected a name, found {}", describe(place.node)), one_of(&names));
            return None;
        };
        if named.iter().any(|(name, _)| name == text) {
            self.add(place, format!("{text} has fields: write {{{text}: {{}}}} with its fields"), "");
            return None;
        }
        if bare_names.contains(&text.as_str()) {
            return Some(text.as_str().into());
        }
        let found = if text.is_empty() {
            "the value is missing".to_owned()
        } else {
            format!("unknown value {text:?}")
        };
        let suggestion = nearest(text, names.iter().copied()).map(|name| format!("; did you mean {name}?"));
        self.add(place, found + &suggestion.unwrap_or_default(), one_of(&names));
        None
    }

    /// One of several forms under its name, where some of the choices are bare names.
    fn named(
        &mut self,
        place: &Place<'_>,
        entries: &[Entry],
        bare_names: &[&str],
        named: &[NamedForm<'s>],
    ) -> Option<Value> {
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        let mut object = Map::new();
        for entry in entries {
            let under = place.under(entry);
            match named.iter().find(|(name, _)| *name == entry.key) {
                Some((_, form)) => {
                    let value = self.node(&under, form);
                    object.extend(value.map(|value| (entry.key.clone(), value)));
                }
                None if bare_names.contains(&entry.key.as_str()) => {
                    let at = Place { node: under.node, at: entry.key_span.clone(), path: under.path };
                    self.add(&at, format!("{0} has no fields: write just {0}", entry.key), "");
                }
                None => self.unknown(&under, entry, &names),
            }
        }
        if entries.len() != 1 {
            self.add(place, format!("give exactly one of {}; found {}", names.join(", "), entries.len()), "");
            return None;
        }
        Some(Value::Object(object))
    }

    fn object(&mut self, place: &Place<'_>, entries: &[Entry], schema: &'s Value) -> Option<Value> {
        let no_fields = Map::new();
        let fields = schema["properties"].as_object();
        let names: Vec<&str> = fields.unwrap_or(&no_fields).keys().map(String::as_str).collect();
        let mut object = Map::new();
        for entry in entries {
            let under = place.under(entry);
            match (fields.and_then(|fields| fields.get(&entry.key)), &schema["additionalProperties"]) {
                // As in Kubernetes, an empty field counts as a missing one.
                (Some(_), _) if entry.value.is_null() => {}
                (Some(field), _) => {
                    let value = self.node(&under, field);
                    object.extend(value.map(|value| (entry.key.clone(), value)));
                }
                (None, Value::Bool(false)) => self.unknown(&under, entry, &names),
                (None, Value::Null | Value::Bool(true)) => {
                    object.insert(entry.key.clone(), untyped(&entry.value));
                }
                (None, form) => {
                    let value = self.node(&under, form);
                    object.extend(value.map(|value| (entry.key.clone(), value)));
                }
            }
        }
        self.required(place, schema);
        self.exactly_one(place, schema);
        Some(Value::Object(object))
    }

    fn unknown(&mut self, under: &Place<'_>, entry: &Entry, names: &[&str]) {
        let at = Place { node: under.node, at: entry.key_span.clone(), path: under.path.clone() };
        if self.form_errors.len() >= DIAGNOSTICS_MAX {
            // It is only counted.
            return self.add(&at, "", "");
        }
        let suggestion = match nearest(&entry.key, names.iter().copied()) {
            Some(name) => format!("; did you mean {name}?"),
            None => self
                .elsewhere(&under.path, &entry.key)
                .map_or_else(String::new, |path| format!("; it belongs under {path}")),
        };
        let text = format!("unknown field {:?}{suggestion}", entry.key);
        self.add(&at, text, one_of(names));
    }

    /// The nearest ancestor or descendant of the place at `path` in the form that has a field `name`; `None` when several are
    /// equally near. In siblings, such as another type of metric, the field would not mean the same.
    fn elsewhere(&self, path: &str, name: &str) -> Option<String> {
        let here: String =
            path.strip_suffix(name)?.trim_end_matches('.').replace(|c: char| c.is_ascii_digit(), "");
        let places = self.places.get(name)?;
        let mut places: Vec<&String> = places
            .iter()
            .filter(|place| !place.is_empty() && (place.starts_with(&here) || here.starts_with(*place)))
            .collect();
        let depth = |place: &String| place.matches('.').count();
        let least = places.iter().map(|place| depth(place)).min()?;
        places.retain(|place| depth(place) == least);
        places.pop().filter(|_| places.is_empty()).cloned()
    }

    fn required(&mut self, place: &Place<'_>, schema: &'s Value) {
        for name in texts(&schema["required"]) {
            if place.node.entry(name).is_none_or(|entry| entry.value.is_null()) {
                let what = schema["properties"][name]["description"].as_str().unwrap_or_default();
                let what = one_line(what);
                let what = what.trim_end_matches('.').split(". ").next().unwrap_or_default();
                self.add(place, format!("the field {name} is missing"), format!("{name}: {what}"));
            }
        }
    }

    /// Checks that of several alternative required fields exactly one is given.
    fn exactly_one(&mut self, place: &Place<'_>, schema: &'s Value) {
        let Some(ways) = schema["oneOf"].as_array() else { return };
        let names: Vec<&str> = ways.iter().flat_map(|way| texts(&way["required"])).collect();
        let is_given = |name: &&&str| place.node.entry(name).is_some_and(|entry| !entry.value.is_null());
        let given: Vec<&str> = names.iter().filter(is_given).copied().collect();
        if given.len() != 1 {
            let found = if given.is_empty() { "none of them".to_owned() } else { given.join(" and ") };
            self.add(place, format!("give exactly one of {}; found {found}", names.join(", ")), "");
        }
    }

    fn array(&mut self, place: &Place<'_>, items: &[Node], schema: &'s Value) -> Option<Value> {
        let items = items.iter().enumerate();
        let values: Vec<Option<Value>> = items
            .map(|(i, item)| match &schema["items"] {
                Value::Null | Value::Bool(_) => Some(untyped(item)),
                form => self.node(&place.item(i, item), form),
            })
            .collect();
        let least = schema["minItems"].as_u64().unwrap_or(0);
        if (values.len() as u64) < least {
            self.add(place, format!("the list needs at least {least} entry"), "");
        }
        values.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
    }

    fn number_in_range(&mut self, place: &Place<'_>, value: Value, schema: &Value) -> Option<Value> {
        let Some(number) = value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX)) else {
            return Some(value);
        };
        let (least, most) = range_of(schema);
        if (least..=most).contains(&number) {
            return Some(value);
        }
        self.add(place, format!("expected a whole number from {least} to {most}, found {value}"), "");
        None
    }
}

fn one_of(names: &[&str]) -> String {
    format!("expected {}{}", if names.len() > 1 { "one of " } else { "" }, names.join(", "))
}

fn expectation(schema: &Value, types: &[&str]) -> String {
    match types {
        ["object"] if schema["properties"].is_object() => {
            match texts(&schema["required"]).collect::<Vec<_>>()[..] {
                [] => "a mapping with fields".to_owned(),
                [name] => format!("a mapping with the field {name}"),
                ref names => format!("a mapping with the fields {}", names.join(", ")),
            }
        }
        ["object"] => "a mapping".to_owned(),
        ["array"] => "a list".to_owned(),
        ["integer"] => match range_of(schema) {
            (i64::MIN, _) | (_, i64::MAX) => "a whole number".to_owned(),
            (least, most) => format!("a whole number from {least} to {most}"),
        },
        ["number"] => "a number".to_owned(),
        ["boolean"] => "true or false".to_owned(),
        ["string"] => "a text".to_owned(),
        // Only quantities have two types, and their own description is the best.
        _ => schema["description"].as_str().unwrap_or("a value").trim_end_matches('.').to_lowercase(),
    }
}

/// A scalar as the first of `types` that it can be; otherwise a description of what it is.
fn scalar_as(types: &[&str], text: &str, is_plain: bool) -> Result<Value, String> {
    let meaning = if is_plain { scalar::resolve(text) } else { Value::from(text) };
    let takes_number = types.contains(&"number");
    if types.contains(&"string") && (meaning.is_string() || (takes_number && meaning.is_number())) {
        // The text as it was written, so that nothing is rounded.
        return Ok(text.into());
    }
    let fits = (types.contains(&"integer") && (meaning.is_i64() || meaning.is_u64()))
        || (takes_number && meaning.is_number())
        || (types.contains(&"boolean") && meaning.is_boolean());
    if fits { Ok(meaning) } else { Err(describe_value(&meaning, text)) }
}

fn is_number_or_truth(text: &str) -> bool {
    let meaning = scalar::resolve(text);
    meaning.is_number() || meaning.is_boolean()
}

fn describe(node: &Node) -> String {
    match &node.content {
        Content::Mapping(_) => "a mapping".to_owned(),
        Content::Sequence(_) => "a list".to_owned(),
        Content::Scalar { text, is_plain: true } => describe_value(&scalar::resolve(text), text),
        Content::Scalar { text, is_plain: false } => describe_value(&text.as_str().into(), text),
    }
}

fn describe_value(meaning: &Value, text: &str) -> String {
    /// The longest text that is repeated in a message, in characters: the excerpt shows it as well.
    const SHOWN_MAX: usize = 40;
    match meaning {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => format!("{truth}"),
        Value::Number(_) => format!("the number {text}"),
        Value::String(_) if text.chars().count() <= SHOWN_MAX => format!("the text {text:?}"),
        Value::String(_) => "a long text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// A node as JSON with the types of YAML. Nodes nest no deeper than `tree::DEPTH_MAX`.
fn untyped(node: &Node) -> Value {
    match &node.content {
        Content::Scalar { text, is_plain: true } => scalar::resolve(text),
        Content::Scalar { text, is_plain: false } => text.as_str().into(),
        Content::Sequence(items) => items.iter().map(untyped).collect(),
        Content::Mapping(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), untyped(&entry.value))).collect()
        }
    }
}
