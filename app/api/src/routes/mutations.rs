//! What changes something: declarations, orders of people, and what a declaration would change.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use model::resource::Kind;
use serde::Deserialize;

use super::{Params, replica_id, service_name, whole};
use crate::apply::{self, Mode};
use crate::failure::{Code, Failure};
use crate::origin::{Media, media};
use crate::state::State;
use crate::{trial, v1};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ApplyParams {
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn apply(
    Extract(state): Extract<State>,
    Params(params): Params<ApplyParams>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<v1::Applied>, Failure> {
    let body = whole(body)?;
    let (text, media) = written(&body, &headers)?;
    let mode = if params.dry_run { Mode::DryRun } else { Mode::Keep };
    apply::apply(&state, media, text, mode).await.map(Json)
}

pub(super) async fn try_out(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<v1::Trials>, Failure> {
    let body = whole(body)?;
    let (text, media) = written(&body, &headers)?;
    trial::trial(&state, media, text).await.map(Json)
}

/// The text of a body, and in what it is written.
fn written<'b>(body: &'b [u8], headers: &HeaderMap) -> Result<(&'b str, Media), Failure> {
    let text = str::from_utf8(body)
        .map_err(|_| Failure::bad_request("could not read the body: it is no UTF-8 text"))?;
    let media = media(headers)
        .ok_or_else(|| Failure::bad_request("could not read the body: it has no Content-Type"))?;
    Ok((text, media))
}

pub(super) async fn remove_service(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, Kind::Service, name).await.map(Json)
}

pub(super) async fn remove_autoscaler(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, Kind::HorizontalPodAutoscaler, name).await.map(Json)
}

pub(super) async fn remove_route(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, Kind::Route, name).await.map(Json)
}

pub(super) async fn remove_metric_source(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Applied>, Failure> {
    apply::delete(&state, Kind::MetricSource, name).await.map(Json)
}

pub(super) async fn remove(
    Extract(state): Extract<State>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<v1::Applied>, Failure> {
    let kind = Kind::parse(&kind).ok_or_else(|| {
        let sentence = format!(
            "could not delete {kind}/{name}: only services, horizontalpodautoscalers, routes and metricsources are declared"
        );
        Failure::new(StatusCode::NOT_FOUND, Code::NotFound, sentence)
    })?;
    apply::delete(&state, kind, name).await.map(Json)
}

pub(super) async fn hold(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<v1::Scaled>, Failure> {
    let request = serde_json::from_slice(&whole(body)?).map_err(|error| {
        Failure::bad_request(format!("could not read how to scale service/{name}: {error}"))
    })?;
    let now = state.handle.now().wall;
    apply::hold(&state, service_name(&name)?, request, now).await.map(Json)
}

pub(super) async fn release(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Scaled>, Failure> {
    apply::release(&state, service_name(&name)?).await.map(Json)
}

pub(super) async fn pause(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<v1::Paused>, Failure> {
    let request = how_long(&whole(body)?, &format!("pause service/{name}"))?;
    let now = state.handle.now().wall;
    apply::pause(&state, service_name(&name)?, request, now).await.map(Json)
}

pub(super) async fn resume(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Paused>, Failure> {
    apply::resume(&state, service_name(&name)?).await.map(Json)
}

pub(super) async fn protect(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<v1::Protected>, Failure> {
    let request = how_long(&whole(body)?, &format!("protect replica/{name}"))?;
    let now = state.handle.now().wall;
    apply::protect(&state, replica_id(&name)?, request, now).await.map(Json)
}

pub(super) async fn unprotect(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Protected>, Failure> {
    apply::unprotect(&state, replica_id(&name)?).await.map(Json)
}

/// How long something shall last, as a body says; one that says nothing is as an empty object.
fn how_long(body: &[u8], what: &str) -> Result<v1::DurationRequest, Failure> {
    if body.is_empty() {
        return Ok(v1::DurationRequest::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("could not read for how long to {what}: {error}")))
}
