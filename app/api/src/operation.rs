//! The form of one operation of the API, from which both its route and its description are made.

use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::state::State;

/// A method on a path.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) request_body: Option<SchemaOf>,
    pub(crate) response_body: ResponseBody,
    pub(crate) handler: fn() -> MethodRouter<State>,
}

/// Returns the schema of a type, and adds those that it refers to.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A parameter of an operation.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// Where it is in a request, as OpenAPI calls it: `query` or `header`.
    pub(crate) location: &'static str,
    /// A type of JSON Schema.
    pub(crate) form: &'static str,
    pub(crate) summary: &'static str,
}

/// The form of a response body.
#[derive(Clone, Copy)]
pub(crate) enum ResponseBody {
    /// JSON of this schema; with `watch`, server-sent events of changes.
    Json(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
}

/// The parameter that turns a response into a stream of changes.
pub(crate) const WATCH: Parameter = parameter(
    "watch",
    "boolean",
    "Answer with server-sent events: first the existing objects, then each change.",
);

/// The parameter that selects one service.
pub(crate) const SERVICE: Parameter = parameter("service", "string", "Only of this service.");

/// The header that guards a change against changes by others in the meantime.
pub(crate) const IF_MATCH: Parameter = header(
    "If-Match",
    "The metadata.resourceVersion that the change was made from, in quotes, such as \"r12\". If the resource has been changed or deleted \
     since, nothing is done and the answer is 412.",
);

pub(crate) const fn parameter(name: &'static str, form: &'static str, summary: &'static str) -> Parameter {
    Parameter { name, location: "query", form, summary }
}

/// A header of an operation.
pub(crate) const fn header(name: &'static str, summary: &'static str) -> Parameter {
    Parameter { name, location: "header", form: "string", summary }
}

pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// An operation that only reads.
pub(crate) fn read(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    response_body: ResponseBody,
    handler: fn() -> MethodRouter<State>,
) -> Operation {
    Operation { method: "get", path, summary, parameters, request_body: None, response_body, handler }
}
