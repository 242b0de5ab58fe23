//! The description of the API, made from the table of its routes and from the types of its answers.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::routes::{ResponseBody, Route, routes};
use crate::v1;

/// The description as OpenAPI 3.1, whose schemas are JSON Schema 2020-12.
pub fn description() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .for_serialize();
    let mut generator = SchemaGenerator::new(settings);
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Homeostat",
            "version": "v1",
            "summary": "Declares services, shows how they are, and says why.",
            "description": "Fields are added within v1, never renamed or removed. Times are RFC 3339 in UTC.",
        },
        "paths": paths,
        "components": {"schemas": generator.take_definitions(true)},
    })
}

/// The description as it is sent. It is rendered once, as that takes milliseconds and it never changes.
pub(crate) fn document() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| description().to_string());
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(route.query.iter().map(
        |it| json!({"name": it.name, "in": "query", "description": it.summary, "schema": {"type": it.form}}),
    ));
    let mut content: Map<String, Value> = Map::new();
    match route.response_body {
        ResponseBody::Json(schema) => {
            content.insert("application/json".into(), json!({"schema": schema(generator)}));
        }
        ResponseBody::Text(media) => {
            content.insert(media.into(), json!({"schema": {"type": "string"}}));
        }
    }
    if route.query.iter().any(|it| it.name == "watch") {
        content.insert("text/event-stream".into(), json!({"schema": {"type": "string"}}));
    }
    let failure = generator.subschema_for::<v1::Failure>();
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "As asked.", "content": content},
            "default": {
                "description": "Why not.",
                "content": {"application/json": {"schema": failure}},
            },
        },
    });
    if let Some(body) = route.request_body {
        let schema = body(generator);
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

/// A name for generated clients: `getServicesExplain`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split('/').filter(|part| !part.is_empty() && *part != "v1");
    let mut id = route.method.to_owned();
    for word in words {
        let word: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
        let (first, rest) = word.split_at(1.min(word.len()));
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}
