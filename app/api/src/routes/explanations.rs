//! What happened to services, how they stand, and why: events, descriptions, explanations and the history of decisions.

use axum::Json;
use axum::extract::{Path, State as Extract};
use axum::response::{IntoResponse, Response};
use model::time::Wall;
use serde::Deserialize;

use super::{Params, service_name, time};
use crate::failure::Failure;
use crate::state::State;
use crate::{decision, explain, history, stream, v1};

/// Events per response by default.
const EVENTS_DEFAULT: usize = 100;

/// Events per response at most: as many as are kept.
const EVENTS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsParams {
    service: Option<String>,
    since: Option<String>,
    #[serde(default = "events_default")]
    limit: usize,
    #[serde(default)]
    watch: bool,
}

fn events_default() -> usize {
    EVENTS_DEFAULT
}

pub(super) async fn events(
    Extract(state): Extract<State>,
    Params(params): Params<EventsParams>,
) -> Result<Response, Failure> {
    let service = params.service.as_deref().map(service_name).transpose()?;
    let since = params.since.as_deref().map(time).transpose()?;
    let limit = params.limit.min(EVENTS_MAX);
    let (handle, meant) = (state.handle.clone(), service.clone());
    let earlier = move || {
        let mut events = handle.events().recent_events(meant.as_ref(), limit);
        events.retain(|event| since.is_none_or(|since| event.at > since));
        events
    };
    if params.watch {
        return stream::events(&state, service, earlier);
    }
    if let Some(service) = service {
        return state
            .query(move |handle| explain::events_of(handle, &service, &earlier()))
            .await
            .map(|list| Json(list).into_response());
    }
    let items = earlier().iter().map(|event| crate::view::event(event)).collect();
    Ok(Json(v1::List::<v1::Event> { items }).into_response())
}

pub(super) async fn describe(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Description>, Failure> {
    explain::describe(&state, service_name(&name)?).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ExplainParams {
    at: Option<String>,
    why_not: Option<String>,
}

pub(super) async fn explain(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<ExplainParams>,
) -> Result<Json<v1::Explanation>, Failure> {
    let service = service_name(&name)?;
    let why_not = params.why_not.as_deref().map(why_not).transpose()?;
    match params.at.as_deref().map(time).transpose()? {
        Some(at) if at > state.handle.now().wall => Err(explain::to_come(&service, at)),
        Some(at) => explain::past(&state, service, at, why_not).await,
        None => explain::present(&state, service, why_not).await,
    }
    .map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryParams {
    since: Option<String>,
    until: Option<String>,
    #[serde(default = "runs_default")]
    limit: usize,
}

fn runs_default() -> usize {
    history::RUNS_DEFAULT
}

/// How far a history goes back by default, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

pub(super) async fn history(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<v1::History>, Failure> {
    let service = service_name(&name)?;
    let until = params.until.as_deref().map(time).transpose()?.unwrap_or_else(|| state.handle.now().wall);
    let hour_before = Wall::from_millis(until.as_millis().saturating_sub(HOUR_MS));
    let since = params.since.as_deref().map(time).transpose()?.unwrap_or(hour_before);
    history::history(&state, service, (since, until), params.limit).await.map(Json)
}

fn why_not(text: &str) -> Result<model::decision::AlternativeSize, Failure> {
    decision::parse_asked(text).ok_or_else(|| {
        Failure::bad_request(format!(
            "could not tell what {text:?} asks about: whyNot is out, in, or a number of replicas"
        ))
    })
}
