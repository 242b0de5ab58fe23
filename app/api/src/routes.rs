//! What can be asked: one table, from which both the router and its description are made.

mod changing;
mod looking_back;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query, State as Of};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use model::identity::ReplicaId;
use model::name::ServiceName;
use model::time::Wall;
use orchestrator::Handle;
use platform::TAIL_LINES_MAX;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::changing::{
    apply, hold, pause, protect, release, remove, remove_autoscaler, remove_metric_source, remove_route,
    remove_service, resume, try_out, unprotect,
};
use crate::failure::{Code, Failure};
use crate::logs::{self, TAIL_DEFAULT, Until};
use crate::moment::parse_rfc3339;
use crate::resources::{self, Meant};
use crate::state::State;
use crate::{
    decided, explain, forecast, history, learned, metric_source, metrics, openapi, route, scaling, stream, v1,
};

/// Events that are answered unless told otherwise.
const EVENTS_DEFAULT: usize = 100;

/// Most events of one answer: as many as are kept.
const EVENTS_MAX: usize = 10_000;

/// One thing that can be asked.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [Parameter],
    pub(crate) body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(crate) answer: Answer,
    handler: fn() -> MethodRouter<State>,
}

/// Something in the query of a request.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// A type of JSON Schema.
    pub(crate) form: &'static str,
    pub(crate) summary: &'static str,
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// JSON of this form; with `watch`, server-sent events of changes.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text of this media type.
    Text(&'static str),
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"description": "A resource, a list of resources, or an object whose `items` is one."})
}

const fn parameter(name: &'static str, form: &'static str, summary: &'static str) -> Parameter {
    Parameter { name, form, summary }
}

const WATCH: Parameter =
    parameter("watch", "boolean", "Answer with server-sent events: what is there, then what changes.");
const SERVICE: Parameter = parameter("service", "string", "Only of this service.");

fn read(
    path: &'static str,
    summary: &'static str,
    query: &'static [Parameter],
    answer: Answer,
    handler: fn() -> MethodRouter<State>,
) -> Route {
    Route { method: "get", path, summary, query, body: None, answer, handler }
}

const ONLY_WATCH: &[Parameter] = &[WATCH];

/// Everything that can be asked.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = reads();
    routes.extend(reads_why());
    routes.extend(looking_back::reads_of_the_past());
    routes.extend(reads_of_scaling());
    routes.extend(reads_around());
    routes.extend(changes());
    routes.extend(orders());
    routes.extend(deletions());
    routes.extend(about_itself());
    routes
}

fn reads() -> Vec<Route> {
    const EVENTS: &[Parameter] = &[
        SERVICE,
        parameter("since", "string", "Only later than this time, RFC 3339."),
        parameter("limit", "integer", "The latest so many; 100 unless given, 10000 at most."),
        WATCH,
    ];
    const LOGS: &[Parameter] = &[
        parameter("tail", "integer", "Lines before the end; 100 unless given."),
        parameter("follow", "boolean", "Go on with what is printed later."),
    ];
    use Answer::{Json as J, Text};
    vec![
        read("/v1/services", "All services", ONLY_WATCH, J(of::<v1::List<v1::Service>>), || get(services)),
        read("/v1/services/{name}", "One service", ONLY_WATCH, J(of::<v1::Service>), || get(service)),
        read(
            "/v1/services/{name}/describe",
            "Everything about one service",
            &[],
            J(of::<v1::Description>),
            || get(describe),
        ),
        read(
            "/v1/horizontalpodautoscalers",
            "All HorizontalPodAutoscalers",
            ONLY_WATCH,
            J(of::<v1::List<v1::Autoscaler>>),
            || get(autoscalers),
        ),
        read(
            "/v1/horizontalpodautoscalers/{name}",
            "One HorizontalPodAutoscaler",
            ONLY_WATCH,
            J(of::<v1::Autoscaler>),
            || get(autoscaler),
        ),
        read("/v1/replicas", "All replicas", &[SERVICE, WATCH], J(of::<v1::List<v1::Replica>>), || {
            get(replicas)
        }),
        read("/v1/replicas/{name}", "One replica", ONLY_WATCH, J(of::<v1::Replica>), || get(replica)),
        read("/v1/replicas/{name}/logs", "What a replica prints", LOGS, Text("text/plain"), || {
            get(replica_logs)
        }),
        read("/v1/nodes", "All nodes; there is one", ONLY_WATCH, J(of::<v1::List<v1::Node>>), || get(nodes)),
        read("/v1/nodes/{name}", "One node", ONLY_WATCH, J(of::<v1::Node>), || get(node)),
        read("/v1/events", "What happened, oldest first", EVENTS, J(of::<v1::List<v1::Event>>), || {
            get(events)
        }),
    ]
}

/// Why a service has the size that it has, now and earlier.
fn reads_why() -> Vec<Route> {
    const EXPLAIN: &[Parameter] = &[
        parameter("at", "string", "As of this time, RFC 3339, from the journal or the history."),
        parameter("whyNot", "string", "Also why not `out`, `in`, or a number of replicas."),
    ];
    const HISTORY: &[Parameter] = &[
        parameter(
            "since",
            "string",
            "What went on at this time or later, RFC 3339; an hour before `until` unless given.",
        ),
        parameter("until", "string", "What began at this time or before, RFC 3339; now unless given."),
        parameter("limit", "integer", "The latest so many; 100 unless given, 1000 at most."),
    ];
    const FORECAST: &[Parameter] =
        &[parameter("past", "integer", "The latest so many steps of load; 120 unless given, 1000 at most.")];
    use Answer::Json as J;
    vec![
        read(
            "/v1/services/{name}/explain",
            "The last scaling decision, and why",
            EXPLAIN,
            J(of::<v1::Explanation>),
            || get(explain),
        ),
        read(
            "/v1/services/{name}/history",
            "What was decided on a service, oldest first",
            HISTORY,
            J(of::<v1::History>),
            || get(history),
        ),
        read(
            "/v1/services/{name}/forecast",
            "The load ahead of a service, where it is forecast",
            FORECAST,
            J(of::<v1::Forecast>),
            || get(one_forecast),
        ),
        read(
            "/v1/services/{name}/learned",
            "What was learned of a service as it runs: what its replicas carry, how they start, its load",
            &[],
            J(of::<v1::Learned>),
            || get(one_learned),
        ),
    ]
}

/// How autoscalers compare.
fn reads_of_scaling() -> Vec<Route> {
    use Answer::Json as J;
    vec![
        read(
            "/v1/scaling",
            "How the autoscalers of each service compare that are tried beside the acting one",
            ONLY_WATCH,
            J(of::<v1::List<v1::Scaling>>),
            || get(all_scaling),
        ),
        read(
            "/v1/scaling/{name}",
            "How the autoscalers of one service compare",
            ONLY_WATCH,
            J(of::<v1::Scaling>),
            || get(one_scaling),
        ),
    ]
}

/// What goes around the loop: routes, and sources of metrics.
fn reads_around() -> Vec<Route> {
    use Answer::Json as J;
    vec![
        read("/v1/routes", "All routes", ONLY_WATCH, J(of::<v1::List<v1::Route>>), || get(shared_routes)),
        read("/v1/routes/{name}", "One route", ONLY_WATCH, J(of::<v1::Route>), || get(shared_route)),
        read(
            "/v1/routes/{name}/describe",
            "Everything about one route",
            &[],
            J(of::<v1::RouteDescription>),
            || get(describe_route),
        ),
        read(
            "/v1/metricsources",
            "All sources of metrics",
            ONLY_WATCH,
            J(of::<v1::List<v1::MetricSource>>),
            || get(metric_sources),
        ),
        read(
            "/v1/metricsources/{name}",
            "One source of a metric",
            ONLY_WATCH,
            J(of::<v1::MetricSource>),
            || get(one_metric_source),
        ),
        read(
            "/v1/metricsources/{name}/describe",
            "Everything about one source of a metric",
            &[],
            J(of::<v1::MetricSourceDescription>),
            || get(describe_metric_source),
        ),
    ]
}

fn changes() -> Vec<Route> {
    const DRY_RUN: &[Parameter] = &[parameter("dryRun", "boolean", "Only say what would change.")];
    vec![
        Route {
            method: "post",
            path: "/v1/apply",
            summary: "Declares resources, all or nothing, from JSON or YAML",
            query: DRY_RUN,
            body: Some(anything),
            answer: Answer::Json(of::<v1::Applied>),
            handler: || post(apply),
        },
        Route {
            method: "post",
            path: "/v1/trial",
            summary: "What changed declarations would decide, now and over the last hour; keeps nothing",
            query: &[],
            body: Some(anything),
            answer: Answer::Json(of::<v1::Trials>),
            handler: || post(try_out),
        },
        Route {
            method: "put",
            path: "/v1/services/{name}/scale",
            summary: "Holds a service at a size",
            query: &[],
            body: Some(of::<v1::ScaleRequest>),
            answer: Answer::Json(of::<v1::Scaled>),
            handler: || put(hold),
        },
        Route {
            method: "delete",
            path: "/v1/services/{name}/scale",
            summary: "Lets a service size itself again",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Scaled>),
            handler: || delete(release),
        },
    ]
}

fn orders() -> Vec<Route> {
    vec![
        Route {
            method: "put",
            path: "/v1/services/{name}/pause",
            summary: "Lets the autoscaler of a service decide nothing",
            query: &[],
            body: Some(of::<v1::Lasting>),
            answer: Answer::Json(of::<v1::Paused>),
            handler: || put(pause),
        },
        Route {
            method: "delete",
            path: "/v1/services/{name}/pause",
            summary: "Lets the autoscaler of a service decide again",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Paused>),
            handler: || delete(resume),
        },
        Route {
            method: "put",
            path: "/v1/replicas/{name}/protection",
            summary: "Protects a replica from being removed when its service shrinks",
            query: &[],
            body: Some(of::<v1::Lasting>),
            answer: Answer::Json(of::<v1::Protected>),
            handler: || put(protect),
        },
        Route {
            method: "delete",
            path: "/v1/replicas/{name}/protection",
            summary: "Lets a replica be removed again",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Protected>),
            handler: || delete(unprotect),
        },
    ]
}

fn deletions() -> Vec<Route> {
    vec![
        Route {
            method: "delete",
            path: "/v1/services/{name}",
            summary: "Deletes a service: its replicas finish what they do, then stop",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Applied>),
            handler: || delete(remove_service),
        },
        Route {
            method: "delete",
            path: "/v1/horizontalpodautoscalers/{name}",
            summary: "Deletes a HorizontalPodAutoscaler; its service keeps its size",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Applied>),
            handler: || delete(remove_autoscaler),
        },
        Route {
            method: "delete",
            path: "/v1/routes/{name}",
            summary: "Deletes a route: its requests are for the other routes of its listener, if there are any",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Applied>),
            handler: || delete(remove_route),
        },
        Route {
            method: "delete",
            path: "/v1/metricsources/{name}",
            summary: "Deletes a source of a metric: what is scaled by it keeps its size",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Applied>),
            handler: || delete(remove_metric_source),
        },
        Route {
            method: "delete",
            path: "/v1/{kind}/{name}",
            summary: "Deletes by any name of a kind, such as svc or hpa",
            query: &[],
            body: None,
            answer: Answer::Json(of::<v1::Applied>),
            handler: || delete(remove),
        },
    ]
}

fn about_itself() -> Vec<Route> {
    use Answer::{Json as J, Text};
    let any: fn(&mut SchemaGenerator) -> Schema = |_| schemars::json_schema!({"type": "object"});
    vec![
        read("/openapi.json", "This description", &[], J(any), || {
            get(|| async { Json(openapi::description()) })
        }),
        read("/metrics", "Measurements as OpenMetrics", &[], Text("application/openmetrics-text"), || {
            get(|Of(state): Of<State>| async move { metrics::metrics(&state).await })
        }),
        read("/healthz", "Whether the process answers", &[], Text("text/plain"), || get(|| async { "ok\n" })),
        read("/readyz", "Whether the loop steers", &[], Text("text/plain"), || get(ready)),
    ]
}

/// The router that answers all of them.
pub(crate) fn router() -> axum::Router<State> {
    let nothing_there = || async {
        let sentence = "could not find what was asked for: there is no such path; /openapi.json lists all";
        Failure::new(StatusCode::NOT_FOUND, Code::NotUnderstood, sentence)
    };
    let not_so = || async {
        let sentence = "could not do that: this path takes another method; /openapi.json says which";
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::NotUnderstood, sentence)
    };
    let paths =
        routes().into_iter().fold(axum::Router::new(), |router, it| router.route(it.path, (it.handler)()));
    paths.fallback(nothing_there).method_not_allowed_fallback(not_so)
}

/// The query of a request; what it must not hold is refused in words.
struct Asked<T>(T);

impl<T: DeserializeOwned> FromRequestParts<State> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => {
                Err(Failure::bad_request(format!("could not read the query: {}", error.body_text())))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    #[serde(default)]
    watch: bool,
}

/// All that `look` finds, once or as it changes.
async fn list<S, F>(state: &State, watch: bool, look: F) -> Result<Response, Failure>
where
    S: Serialize + Send + 'static,
    F: Fn(&Handle) -> Result<Vec<v1::Object<S>>, Failure> + Clone + Send + Sync + 'static,
{
    if watch {
        return stream::watch(state, look);
    }
    let items = state.ask(look).await?;
    Ok(Json(v1::List { items }).into_response())
}

/// The one that `look` finds, once or as it changes. What is not there cannot be watched.
async fn one<S, F>(state: &State, watch: bool, look: F) -> Result<Response, Failure>
where
    S: Serialize + Send + 'static,
    F: Fn(&Handle) -> Result<Vec<v1::Object<S>>, Failure> + Clone + Send + Sync + 'static,
{
    let found = state.ask(look.clone()).await?;
    if watch {
        return stream::watch(state, look);
    }
    match found.into_iter().next() {
        Some(object) => Ok(Json(object).into_response()),
        None => {
            let sentence = "could not show it: it was declared just now; try again";
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, Code::TooSlow, sentence))
        }
    }
}

async fn services(Of(state): Of<State>, Asked(asked): Asked<Watch>) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, asked.watch, move |handle| resources::services(handle, &agent, None)).await
}

async fn service(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Watch>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, asked.watch, move |handle| resources::services(handle, &agent, Some(&name))).await
}

async fn autoscalers(Of(state): Of<State>, Asked(asked): Asked<Watch>) -> Result<Response, Failure> {
    list(&state, asked.watch, |handle| resources::autoscalers(handle, None)).await
}

async fn autoscaler(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Watch>,
) -> Result<Response, Failure> {
    one(&state, asked.watch, move |handle| resources::autoscalers(handle, Some(&name))).await
}

async fn shared_routes(Of(state): Of<State>, Asked(asked): Asked<Watch>) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, asked.watch, move |handle| route::routes(handle, &agent, None)).await
}

async fn shared_route(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Watch>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, asked.watch, move |handle| route::routes(handle, &agent, Some(&name))).await
}

async fn describe_route(
    Of(state): Of<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::RouteDescription>, Failure> {
    route::describe(&state, name).await.map(Json)
}

async fn metric_sources(Of(state): Of<State>, Asked(asked): Asked<Watch>) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, asked.watch, move |handle| metric_source::sources(handle, &agent, None)).await
}

async fn one_metric_source(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Watch>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, asked.watch, move |handle| metric_source::sources(handle, &agent, Some(&name))).await
}

async fn describe_metric_source(
    Of(state): Of<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::MetricSourceDescription>, Failure> {
    metric_source::describe(&state, name).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichReplicas {
    service: Option<String>,
    #[serde(default)]
    watch: bool,
}

async fn replicas(Of(state): Of<State>, Asked(asked): Asked<WhichReplicas>) -> Result<Response, Failure> {
    let meant = match asked.service {
        Some(service) => Meant::OfService(service_name(&service)?),
        None => Meant::All,
    };
    let agent = state.agent.clone();
    list(&state, asked.watch, move |handle| resources::replicas(handle, &agent, &meant)).await
}

async fn replica(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Watch>,
) -> Result<Response, Failure> {
    let meant = Meant::One(replica_id(&name)?);
    let agent = state.agent.clone();
    one(&state, asked.watch, move |handle| resources::replicas(handle, &agent, &meant)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichLines {
    #[serde(default = "tail_default")]
    tail: usize,
    #[serde(default)]
    follow: bool,
}

fn tail_default() -> usize {
    TAIL_DEFAULT
}

async fn replica_logs(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<WhichLines>,
) -> Result<Response, Failure> {
    let until = if asked.follow { Until::Stopped } else { Until::Present };
    logs::logs(&state, &replica_id(&name)?, asked.tail.min(TAIL_LINES_MAX), until).await
}

async fn all_scaling(Of(state): Of<State>, Asked(asked): Asked<Watch>) -> Result<Response, Failure> {
    list(&state, asked.watch, |handle| scaling::scaling(handle, None)).await
}

async fn one_scaling(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Watch>,
) -> Result<Response, Failure> {
    one(&state, asked.watch, move |handle| scaling::scaling(handle, Some(&name))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichForecast {
    #[serde(default = "past_default")]
    past: usize,
}

fn past_default() -> usize {
    120
}

async fn one_forecast(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<WhichForecast>,
) -> Result<Json<v1::Forecast>, Failure> {
    let name = service_name(&name)?;
    state.ask(move |handle| forecast::forecast(handle, &name, asked.past)).await.map(Json)
}

async fn one_learned(Of(state): Of<State>, Path(name): Path<String>) -> Result<Json<v1::Learned>, Failure> {
    let name = service_name(&name)?;
    state.ask(move |handle| learned::learned(handle, &name)).await.map(Json)
}

async fn nodes(Of(state): Of<State>, Asked(asked): Asked<Watch>) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, asked.watch, move |handle| resources::nodes(handle, &agent, None)).await
}

async fn node(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Watch>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, asked.watch, move |handle| resources::nodes(handle, &agent, Some(&name))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichEvents {
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

async fn events(Of(state): Of<State>, Asked(asked): Asked<WhichEvents>) -> Result<Response, Failure> {
    let service = asked.service.as_deref().map(service_name).transpose()?;
    let since = asked.since.as_deref().map(time).transpose()?;
    let limit = asked.limit.min(EVENTS_MAX);
    let (handle, meant) = (state.handle.clone(), service.clone());
    let earlier = move || {
        let mut events = handle.events().recent_events(meant.as_ref(), limit);
        events.retain(|event| since.is_none_or(|since| event.at > since));
        events
    };
    if asked.watch {
        return stream::events(&state, service, earlier);
    }
    if let Some(service) = service {
        return state
            .ask(move |handle| explain::events_of(handle, &service, &earlier()))
            .await
            .map(|list| Json(list).into_response());
    }
    let items = earlier().iter().map(|event| crate::view::event(event)).collect();
    Ok(Json(v1::List::<v1::Event> { items }).into_response())
}

async fn describe(Of(state): Of<State>, Path(name): Path<String>) -> Result<Json<v1::Description>, Failure> {
    explain::describe(&state, service_name(&name)?).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct When {
    at: Option<String>,
    why_not: Option<String>,
}

async fn explain(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<When>,
) -> Result<Json<v1::Explanation>, Failure> {
    let service = service_name(&name)?;
    let why_not = asked.why_not.as_deref().map(why_not).transpose()?;
    match asked.at.as_deref().map(time).transpose()? {
        Some(at) => explain::past(&state, service, at, why_not).await,
        None => explain::present(&state, service, why_not).await,
    }
    .map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Within {
    since: Option<String>,
    until: Option<String>,
    #[serde(default = "runs_default")]
    limit: usize,
}

fn runs_default() -> usize {
    history::RUNS_DEFAULT
}

/// How far a history looks back unless told otherwise, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

async fn history(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Within>,
) -> Result<Json<v1::History>, Failure> {
    let service = service_name(&name)?;
    let until = asked.until.as_deref().map(time).transpose()?.unwrap_or_else(|| state.handle.now().wall);
    let hour_before = Wall::from_millis(until.as_millis().saturating_sub(HOUR_MS));
    let since = asked.since.as_deref().map(time).transpose()?.unwrap_or(hour_before);
    history::history(&state, service, (since, until), asked.limit).await.map(Json)
}

fn why_not(text: &str) -> Result<model::decision::Asked, Failure> {
    decided::parse_asked(text).ok_or_else(|| {
        Failure::bad_request(format!(
            "could not tell what {text:?} asks about: whyNot is out, in, or a number of replicas"
        ))
    })
}

async fn ready(Of(state): Of<State>) -> Response {
    match state.handle.not_ready_reason() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

fn whole(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> Result<Bytes, Failure> {
    body.map_err(|error| {
        Failure::new(error.status(), Code::NotUnderstood, format!("could not read the body: {error}"))
    })
}

fn service_name(text: &str) -> Result<ServiceName, Failure> {
    ServiceName::parse(text).map_err(|_| Failure::not_found("service", text))
}

fn replica_id(text: &str) -> Result<ReplicaId, Failure> {
    ReplicaId::parse(text).ok_or_else(|| Failure::not_found("replica", text))
}

fn time(text: &str) -> Result<model::time::Wall, Failure> {
    parse_rfc3339(text).ok_or_else(|| {
        Failure::bad_request(format!("could not read the time {text:?}: write it as 2026-01-31T18:00:00Z"))
    })
}
