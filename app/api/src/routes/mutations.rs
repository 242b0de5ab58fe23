//! Operations that change something: declarations, orders of operators, deletions, and trials of declarations.

use axum::Json;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, post, put};
use model::resource::Kind;
use schemars::{Schema, SchemaGenerator};
use serde::Deserialize;

use crate::apply::{self, Mode};
use crate::failure::{Code, Failure};
use crate::operation::{IF_MATCH, Operation, Parameter, ResponseBody, header, parameter, schema_of};
use crate::request::{Body, Params, body_bytes, body_text, if_match, replica_id, service_name};
use crate::state::State;
use crate::{trial, v1};

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = declaration_operations();
    operations.extend(order_operations());
    operations.extend(deletion_operations());
    operations
}

fn any_resource(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"description": "A resource, a list of resources, or an object whose `items` is one."})
}

fn declaration_operations() -> Vec<Operation> {
    const APPLY: &[Parameter] = &[
        parameter("dryRun", "boolean", "Only return what would change."),
        header(
            "If-Match",
            "The metadata.resourceVersion of the only resource in the body, in quotes; as if it were in the manifest.",
        ),
    ];
    vec![
        Operation {
            method: "post",
            path: "/v1/apply",
            summary: "Declare resources from JSON or YAML, all or none",
            parameters: APPLY,
            request_body: Some(any_resource),
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || post(apply),
        },
        Operation {
            method: "post",
            path: "/v1/trial",
            summary: "The decisions under changed declarations, now and over the last hour; stores nothing",
            parameters: &[],
            request_body: Some(any_resource),
            response_body: ResponseBody::Json(schema_of::<v1::Trials>),
            handler: || post(try_out),
        },
        Operation {
            method: "put",
            path: "/v1/services/{name}/scale",
            summary: "Hold a service at a size",
            parameters: &[IF_MATCH],
            request_body: Some(schema_of::<v1::ScaleRequest>),
            response_body: ResponseBody::Json(schema_of::<v1::Scaled>),
            handler: || put(hold),
        },
        Operation {
            method: "delete",
            path: "/v1/services/{name}/scale",
            summary: "Release the hold of a service",
            parameters: &[IF_MATCH],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Scaled>),
            handler: || delete(release),
        },
    ]
}

fn order_operations() -> Vec<Operation> {
    vec![
        Operation {
            method: "put",
            path: "/v1/services/{name}/pause",
            summary: "Pause the autoscaler of a service",
            parameters: &[],
            request_body: Some(schema_of::<v1::DurationRequest>),
            response_body: ResponseBody::Json(schema_of::<v1::Paused>),
            handler: || put(pause),
        },
        Operation {
            method: "delete",
            path: "/v1/services/{name}/pause",
            summary: "Resume the autoscaler of a service",
            parameters: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Paused>),
            handler: || delete(resume),
        },
        Operation {
            method: "put",
            path: "/v1/replicas/{name}/protection",
            summary: "Protect a replica from removal by scale-in",
            parameters: &[],
            request_body: Some(schema_of::<v1::DurationRequest>),
            response_body: ResponseBody::Json(schema_of::<v1::Protected>),
            handler: || put(protect),
        },
        Operation {
            method: "delete",
            path: "/v1/replicas/{name}/protection",
            summary: "End the protection of a replica",
            parameters: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Protected>),
            handler: || delete(unprotect),
        },
    ]
}

fn deletion_operations() -> Vec<Operation> {
    vec![
        Operation {
            method: "delete",
            path: "/v1/services/{name}",
            summary: "Delete a service; its replicas are drained and stopped",
            parameters: &[IF_MATCH],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_service),
        },
        Operation {
            method: "delete",
            path: "/v1/horizontalpodautoscalers/{name}",
            summary: "Delete a HorizontalPodAutoscaler; its service keeps its size",
            parameters: &[IF_MATCH],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_autoscaler),
        },
        Operation {
            method: "delete",
            path: "/v1/routes/{name}",
            summary: "Delete a route; its requests go to the other routes of its listener, if any",
            parameters: &[IF_MATCH],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_route),
        },
        Operation {
            method: "delete",
            path: "/v1/metricsources/{name}",
            summary: "Delete a metric source; services that are scaled by it keep their size",
            parameters: &[IF_MATCH],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_metric_source),
        },
        Operation {
            method: "delete",
            path: "/v1/{kind}/{name}",
            summary: "Delete a resource by any name of its kind, such as svc or hpa",
            parameters: &[IF_MATCH],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove),
        },
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ApplyParams {
    #[serde(default)]
    dry_run: bool,
}

async fn apply(
    Extract(state): Extract<State>,
    Params(params): Params<ApplyParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<v1::Applied>, Failure> {
    let body = body_bytes(body)?;
    let (text, media) = body_text(&body, &headers)?;
    let mode = if params.dry_run { Mode::DryRun } else { Mode::Keep };
    apply::apply(&state, (media, text), if_match(&headers)?, mode).await.map(Json)
}

async fn try_out(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<v1::Trials>, Failure> {
    let body = body_bytes(body)?;
    let (text, media) = body_text(&body, &headers)?;
    trial::trial(&state, media, text).await.map(Json)
}

async fn remove_service(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, (Kind::Service, name), if_match(&headers)?).await.map(Json)
}

async fn remove_autoscaler(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, (Kind::HorizontalPodAutoscaler, name), if_match(&headers)?).await.map(Json)
}

async fn remove_route(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, (Kind::Route, name), if_match(&headers)?).await.map(Json)
}

async fn remove_metric_source(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, (Kind::MetricSource, name), if_match(&headers)?).await.map(Json)
}

async fn remove(
    Extract(state): Extract<State>,
    Path((kind, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<v1::Applied>, Failure> {
    let kind = Kind::parse(&kind).ok_or_else(|| {
        let sentence = format!(
            "could not delete {kind}/{name}: only services, horizontalpodautoscalers, routes and metricsources are declared"
        );
        Failure::new(StatusCode::NOT_FOUND, Code::NotFound, sentence)
    })?;
    apply::delete(&state, (kind, name), if_match(&headers)?).await.map(Json)
}

async fn hold(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<v1::Scaled>, Failure> {
    let request = serde_json::from_slice(&body_bytes(body)?).map_err(|error| {
        Failure::bad_request(format!("could not read the request to scale service/{name}: {error}"))
    })?;
    let now = state.handle.now().wall;
    apply::hold(&state, service_name(&name)?, request, (now, if_match(&headers)?)).await.map(Json)
}

async fn release(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<v1::Scaled>, Failure> {
    apply::release(&state, service_name(&name)?, if_match(&headers)?).await.map(Json)
}

async fn pause(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<v1::Paused>, Failure> {
    let request = duration_request(&body_bytes(body)?, &format!("pause service/{name}"))?;
    let now = state.handle.now().wall;
    apply::pause(&state, service_name(&name)?, request, now).await.map(Json)
}

async fn resume(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Paused>, Failure> {
    apply::resume(&state, service_name(&name)?).await.map(Json)
}

async fn protect(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<v1::Protected>, Failure> {
    let request = duration_request(&body_bytes(body)?, &format!("protect replica/{name}"))?;
    let now = state.handle.now().wall;
    apply::protect(&state, replica_id(&name)?, request, now).await.map(Json)
}

async fn unprotect(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Protected>, Failure> {
    apply::unprotect(&state, replica_id(&name)?).await.map(Json)
}

/// The duration in a body. An empty body is the same as an empty object.
fn duration_request(body: &[u8], what: &str) -> Result<v1::DurationRequest, Failure> {
    if body.is_empty() {
        return Ok(v1::DurationRequest::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("could not read the request to {what}: {error}")))
}
