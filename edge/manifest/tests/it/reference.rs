use model::resource::Kind;
use model::resource::schema::{read_as, schema, schema_of};
use serde_json::Value;

#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/resources.md");
    let page = std::fs::read_to_string(path).expect("docs/resources.md is there");
    assert!(
        page == manifest::reference(),
        "docs/resources.md is stale; run: cargo run -p manifest --example reference > docs/resources.md"
    );
}

/// Calls `visit` with each schema within `schema`, and the path to it.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match schema {
        Value::Object(fields) => {
            visit(path, schema);
            fields.iter().for_each(|(key, inner)| walk(&format!("{path}/{key}"), inner, visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| walk(path, inner, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_version_of_every_kind_has_a_schema_and_every_field_a_description() {
    for kind in Kind::ALL {
        for version in kind.api_versions() {
            let schema = schema_of(version, kind).expect("a schema of each version");
            walk("", &schema, &mut |path, inner| {
                for (name, field) in inner["properties"].as_object().into_iter().flatten() {
                    // One of several forms under its name is described where it is chosen.
                    let described = if path.ends_with("/oneOf") { inner } else { field };
                    let has_description =
                        described["description"].as_str().is_some_and(|text| !text.is_empty());
                    assert!(has_description, "{version} {path}/{name}");
                }
            });
        }
        assert_eq!(Some(schema(kind)), schema_of(kind.api_versions()[0], kind));
        assert_eq!(schema_of("homeostat/v0", kind), None);
    }
}

#[test]
fn no_object_accepts_unknown_fields() {
    for kind in Kind::ALL {
        walk("", &schema(kind), &mut |path, inner| {
            if inner["properties"].is_object() && inner["type"] == "object" {
                assert_eq!(inner["additionalProperties"], false, "{kind}{path}");
            }
        });
    }
}

#[test]
fn every_definition_with_a_pattern_is_read_by_its_type() {
    for kind in Kind::ALL {
        let schema = schema(kind);
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            let needs_its_type = definition["pattern"].is_string();
            assert!(!needs_its_type || read_as(name, &Value::Null).is_some(), "{kind} {name}");
        }
    }
}
