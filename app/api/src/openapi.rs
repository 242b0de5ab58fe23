//! The OpenAPI description of the API, made from its operations and the types of its responses.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::operation::{Operation, ResponseBody};
use crate::v1;

/// The description of `operations` as OpenAPI 3.1, whose schemas are JSON Schema 2020-12.
pub(crate) fn describe(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .for_serialize();
    let mut generator = SchemaGenerator::new(settings);
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation_object(operation, &mut generator);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Homeostat",
            "version": "v1",
            "summary": "Declares services, shows their status, and explains decisions.",
            "description": "Within v1, fields are added, but never renamed or removed. Times are RFC 3339 in UTC.",
        },
        "paths": paths,
        "components": {"schemas": generator.take_definitions(true)},
    })
}

fn operation_object(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(operation.parameters.iter().map(
        |it| json!({"name": it.name, "in": it.location, "description": it.summary, "schema": {"type": it.form}}),
    ));
    let mut content: Map<String, Value> = Map::new();
    match operation.response_body {
        ResponseBody::Json(schema) => {
            content.insert("application/json".into(), json!({"schema": schema(generator)}));
        }
        ResponseBody::Text(media) => {
            content.insert(media.into(), json!({"schema": {"type": "string"}}));
        }
    }
    if operation.parameters.iter().any(|it| it.name == "watch") {
        content.insert("text/event-stream".into(), json!({"schema": {"type": "string"}}));
    }
    let failure = generator.subschema_for::<v1::Failure>();
    let mut object = json!({
        "operationId": operation_id(operation),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The request succeeded.", "content": content},
            "default": {
                "description": "The request failed.",
                "content": {"application/json": {"schema": failure}},
            },
        },
    });
    if let Some(body) = operation.request_body {
        let schema = body(generator);
        object["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    object
}

/// The name in generated clients, such as `getServicesExplain`.
fn operation_id(operation: &Operation) -> String {
    let words = operation.path.split('/').filter(|part| !part.is_empty() && *part != "v1");
    let mut id = operation.method.to_owned();
    for word in words {
        let word: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
        let (first, rest) = word.split_at(1.min(word.len()));
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}
