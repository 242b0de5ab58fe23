//! The operations of the API: one table, from which both the router and the OpenAPI description are made.

mod explanations;
mod mutations;
mod recommendations;
mod resources;

use std::sync::LazyLock;

use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use crate::failure::{Code, Failure};
use crate::operation::{Operation, ResponseBody, SchemaOf, read};
use crate::state::State;
use crate::{metrics, openapi};

/// The OpenAPI description of the API.
pub fn description() -> Value {
    openapi::describe(&operations())
}

/// The description as it is sent, rendered once, as that takes milliseconds and it never changes.
fn rendered_description() -> impl IntoResponse {
    static RENDERED: LazyLock<String> = LazyLock::new(|| description().to_string());
    ([(CONTENT_TYPE, "application/json")], RENDERED.as_str())
}

/// The router of all operations.
pub(crate) fn router() -> axum::Router<State> {
    let no_such_path = || async {
        let sentence =
            "could not find the path of the request: the API has no such path; /openapi.json lists all";
        Failure::new(StatusCode::NOT_FOUND, Code::NotUnderstood, sentence)
    };
    let other_method = || async {
        let sentence = "could not handle the method of the request: this path has other methods; /openapi.json lists them";
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::NotUnderstood, sentence)
    };
    let paths = operations()
        .into_iter()
        .fold(axum::Router::new(), |router, it| router.route(it.path, (it.handler)()));
    paths.fallback(no_such_path).method_not_allowed_fallback(other_method)
}

/// The router while no loop runs: it answers with the reason, so that probes and people do not wait.
pub(crate) fn unavailable(why: &str) -> axum::Router {
    let sentence = format!("could not handle the request: {why}");
    let failure =
        move || async move { Failure::new(StatusCode::SERVICE_UNAVAILABLE, Code::Stopping, sentence) };
    let why = why.to_owned();
    axum::Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(|| async move { not_ready(&why) }))
        .fallback(failure)
}

/// All operations, in the order of the description.
fn operations() -> Vec<Operation> {
    let mut operations = resources::operations();
    operations.extend(explanations::operations());
    operations.extend(recommendations::operations());
    operations.extend(mutations::operations());
    operations.extend(server_operations());
    operations
}

fn server_operations() -> Vec<Operation> {
    use ResponseBody::{Json as J, Text};
    let any: SchemaOf = |_| schemars::json_schema!({"type": "object"});
    vec![
        read("/openapi.json", "The OpenAPI description of this API", &[], J(any), || {
            get(|| async { rendered_description() })
        }),
        read(
            "/metrics",
            "Metrics in the OpenMetrics format",
            &[],
            Text("application/openmetrics-text"),
            || get(|Extract(state): Extract<State>| async move { metrics::metrics(&state).await }),
        ),
        read("/healthz", "Whether the process responds", &[], Text("text/plain"), || get(healthy)),
        read("/readyz", "Whether the control loop controls the services", &[], Text("text/plain"), || {
            get(ready)
        }),
    ]
}

async fn ready(Extract(state): Extract<State>) -> Response {
    match state.handle.not_ready_reason() {
        None => "ready\n".into_response(),
        Some(why) => not_ready(&why),
    }
}

async fn healthy() -> &'static str {
    "ok\n"
}

fn not_ready(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
}
