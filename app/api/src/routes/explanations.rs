//! Operations that explain: events, descriptions, explanations of decisions, the history of decisions, forecasts, and what was learned.

use axum::Json;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use model::time::Wall;
use orchestrator::{EventId, Handle};
use serde::Deserialize;

use crate::failure::{Code, Failure};
use crate::operation::ResponseBody::Json as J;
use crate::operation::{Operation, Parameter, SERVICE, WATCH, header, parameter, read, schema_of};
use crate::request::{Params, service_name, time};
use crate::state::State;
use crate::{decision, explain, forecast, history, learned, stream, v1};

/// The header with which a client of server-sent events continues a stream that broke. Source: WHATWG HTML, "Server-sent events".
const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Events per response by default.
const EVENTS_DEFAULT: usize = 100;

/// Events per response at most: as many as are kept.
const EVENTS_MAX: usize = 10_000;

const EVENT_PARAMETERS: &[Parameter] = &[
    SERVICE,
    parameter("since", "string", "Only events after this time, RFC 3339."),
    parameter(
        "limit",
        "integer",
        "The maximum number of events, of which the latest are returned; 100 by default, at most 10000.",
    ),
    WATCH,
    header(
        LAST_EVENT_ID,
        "With `watch`: the `id` of the last event that was received. The stream continues after it, whatever `since` and `limit` are; \
         410 when later events are no longer kept.",
    ),
];

const EXPLAIN_PARAMETERS: &[Parameter] = &[
    parameter("at", "string", "The decision as of this time, RFC 3339, from the journal or the history."),
    parameter("whyNot", "string", "Also explain why not `out`, `in`, or a number of replicas."),
];

const HISTORY_PARAMETERS: &[Parameter] = &[
    parameter(
        "since",
        "string",
        "Decisions that were still made at this time or later, RFC 3339; an hour before `until` by default.",
    ),
    parameter(
        "until",
        "string",
        "Decisions that were first made at this time or before, RFC 3339; now by default.",
    ),
    parameter(
        "limit",
        "integer",
        "The maximum number of items, of which the latest are returned; 100 by default, at most 1000.",
    ),
];

const FORECAST_PARAMETERS: &[Parameter] =
    &[parameter("past", "integer", "The number of latest steps of load; 120 by default, at most 1000.")];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        read(
            "/v1/services/{name}/describe",
            "Everything about one service",
            &[],
            J(schema_of::<v1::Description>),
            || get(describe),
        ),
        read(
            "/v1/events",
            "Events, oldest first",
            EVENT_PARAMETERS,
            J(schema_of::<v1::List<v1::Event>>),
            || get(events),
        ),
        read(
            "/v1/services/{name}/explain",
            "The latest scaling decision and its reasons",
            EXPLAIN_PARAMETERS,
            J(schema_of::<v1::Explanation>),
            || get(explain),
        ),
        read(
            "/v1/services/{name}/history",
            "The history of decisions on a service, oldest first",
            HISTORY_PARAMETERS,
            J(schema_of::<v1::History>),
            || get(history),
        ),
        read(
            "/v1/services/{name}/forecast",
            "The load forecast of a service",
            FORECAST_PARAMETERS,
            J(schema_of::<v1::Forecast>),
            || get(one_forecast),
        ),
        read(
            "/v1/services/{name}/learned",
            "What is learned from observing a service: the capacity and start times of its replicas, and its load",
            &[],
            J(schema_of::<v1::Learned>),
            || get(one_learned),
        ),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsParams {
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

async fn events(
    Extract(state): Extract<State>,
    Params(params): Params<EventsParams>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let service = params.service.as_deref().map(service_name).transpose()?;
    let since = params.since.as_deref().map(time).transpose()?;
    let limit = params.limit.min(EVENTS_MAX);
    let selected = service.clone();
    let earlier = move |handle: &Handle| {
        let mut events = handle.events().recent_events(selected.as_ref(), limit);
        events.retain(|event| since.is_none_or(|since| event.at > since));
        events
    };
    if params.watch {
        return match last_event_id(&headers)? {
            Some(after) => {
                let selected = service.clone();
                let missed = move |handle: &Handle| {
                    let events = handle.events().events_after(after, selected.as_ref());
                    events.ok_or_else(|| events_gone(after))
                };
                stream::events(&state, service, missed).await
            }
            None => stream::events(&state, service, move |handle| Ok(earlier(handle))).await,
        };
    }
    let list = state.query(move |handle| match &service {
        Some(service) => explain::events_of(handle, service, &earlier(handle)),
        None => {
            let items = earlier(handle).iter().map(|event| crate::view::event(event)).collect();
            Ok(v1::List { items })
        }
    });
    list.await.map(|list| Json(list).into_response())
}

/// The event after which a stream continues; `None` for a new one.
fn last_event_id(headers: &HeaderMap) -> Result<Option<EventId>, Failure> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().ok().and_then(EventId::parse);
    id.map(Some).ok_or_else(|| {
        Failure::bad_request(format!(
            "could not read {LAST_EVENT_ID} {value:?}: it must be the id of an event, such as 3-141"
        ))
    })
}

fn events_gone(after: EventId) -> Failure {
    let sentence = format!(
        "could not continue after event {after}: later events are no longer kept, or there was no such event; watch without {LAST_EVENT_ID}"
    );
    Failure::new(StatusCode::GONE, Code::EventsGone, sentence)
}

async fn describe(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Description>, Failure> {
    explain::describe(&state, service_name(&name)?).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExplainParams {
    at: Option<String>,
    why_not: Option<String>,
}

async fn explain(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<ExplainParams>,
) -> Result<Json<v1::Explanation>, Failure> {
    let service = service_name(&name)?;
    let why_not = params.why_not.as_deref().map(why_not).transpose()?;
    match params.at.as_deref().map(time).transpose()? {
        Some(at) if at > state.handle.now().wall => Err(explain::not_decided_yet(&service, at)),
        Some(at) => explain::past(&state, service, at, why_not).await,
        None => explain::present(&state, service, why_not).await,
    }
    .map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryParams {
    since: Option<String>,
    until: Option<String>,
    #[serde(default = "runs_default")]
    limit: usize,
}

fn runs_default() -> usize {
    history::RUNS_DEFAULT
}

/// The default period of a history, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

async fn history(
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
            "could not read whyNot {text:?}: it must be out, in, or a number of replicas"
        ))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForecastParams {
    #[serde(default = "past_default")]
    past: usize,
}

fn past_default() -> usize {
    120
}

async fn one_forecast(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<ForecastParams>,
) -> Result<Json<v1::Forecast>, Failure> {
    let name = service_name(&name)?;
    state.query(move |handle| forecast::forecast(handle, &name, params.past)).await.map(Json)
}

async fn one_learned(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::Learned>, Failure> {
    let name = service_name(&name)?;
    state.query(move |handle| learned::learned(handle, &name)).await.map(Json)
}
