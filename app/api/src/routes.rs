//! The routes of the API: one table, from which both the router and its description are made.

mod explanations;
mod mutations;
mod recommendations;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query, State as Extract};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use model::identity::ReplicaId;
use model::name::ServiceName;
use orchestrator::Handle;
use platform::TAIL_LINES_MAX;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::explanations::{describe, events, explain, history};
use self::mutations::{
    apply, hold, pause, protect, release, remove, remove_autoscaler, remove_metric_source, remove_route,
    remove_service, resume, try_out, unprotect,
};
use crate::failure::{Code, Failure};
use crate::logs::{self, TAIL_DEFAULT, Until};
use crate::resources::{self, ReplicaSelector};
use crate::state::State;
use crate::timestamps::parse_rfc3339;
use crate::{forecast, learned, metric_source, metrics, openapi, route, scaling, stream, v1};

/// A method on a path.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [Parameter],
    pub(crate) request_body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(crate) response_body: ResponseBody,
    handler: fn() -> MethodRouter<State>,
}

/// A parameter in the query of a request.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// A type of JSON Schema.
    pub(crate) form: &'static str,
    pub(crate) summary: &'static str,
}

/// What a response body holds.
#[derive(Clone, Copy)]
pub(crate) enum ResponseBody {
    /// JSON of this schema; with `watch`, server-sent events of changes.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text of this media type.
    Text(&'static str),
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn any_resource(_: &mut SchemaGenerator) -> Schema {
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
    response_body: ResponseBody,
    handler: fn() -> MethodRouter<State>,
) -> Route {
    Route { method: "get", path, summary, query, request_body: None, response_body, handler }
}

const ONLY_WATCH: &[Parameter] = &[WATCH];

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = resource_routes();
    routes.extend(explanation_routes());
    routes.extend(recommendations::recommendation_routes());
    routes.extend(scaling_routes());
    routes.extend(gateway_routes());
    routes.extend(declaration_routes());
    routes.extend(order_routes());
    routes.extend(deletion_routes());
    routes.extend(server_routes());
    routes
}

fn resource_routes() -> Vec<Route> {
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
    use ResponseBody::{Json as J, Text};
    vec![
        read("/v1/services", "All services", ONLY_WATCH, J(schema_of::<v1::List<v1::Service>>), || {
            get(services)
        }),
        read("/v1/services/{name}", "One service", ONLY_WATCH, J(schema_of::<v1::Service>), || get(service)),
        read(
            "/v1/services/{name}/describe",
            "Everything about one service",
            &[],
            J(schema_of::<v1::Description>),
            || get(describe),
        ),
        read(
            "/v1/horizontalpodautoscalers",
            "All HorizontalPodAutoscalers",
            ONLY_WATCH,
            J(schema_of::<v1::List<v1::Autoscaler>>),
            || get(autoscalers),
        ),
        read(
            "/v1/horizontalpodautoscalers/{name}",
            "One HorizontalPodAutoscaler",
            ONLY_WATCH,
            J(schema_of::<v1::Autoscaler>),
            || get(autoscaler),
        ),
        read(
            "/v1/replicas",
            "All replicas",
            &[SERVICE, WATCH],
            J(schema_of::<v1::List<v1::Replica>>),
            || get(replicas),
        ),
        read("/v1/replicas/{name}", "One replica", ONLY_WATCH, J(schema_of::<v1::Replica>), || get(replica)),
        read("/v1/replicas/{name}/logs", "What a replica prints", LOGS, Text("text/plain"), || {
            get(replica_logs)
        }),
        read("/v1/nodes", "All nodes; there is one", ONLY_WATCH, J(schema_of::<v1::List<v1::Node>>), || {
            get(nodes)
        }),
        read("/v1/nodes/{name}", "One node", ONLY_WATCH, J(schema_of::<v1::Node>), || get(node)),
        read(
            "/v1/events",
            "What happened, oldest first",
            EVENTS,
            J(schema_of::<v1::List<v1::Event>>),
            || get(events),
        ),
    ]
}

/// Why a service has its size, now and earlier.
fn explanation_routes() -> Vec<Route> {
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
    use ResponseBody::Json as J;
    vec![
        read(
            "/v1/services/{name}/explain",
            "The last scaling decision, and why",
            EXPLAIN,
            J(schema_of::<v1::Explanation>),
            || get(explain),
        ),
        read(
            "/v1/services/{name}/history",
            "What was decided on a service, oldest first",
            HISTORY,
            J(schema_of::<v1::History>),
            || get(history),
        ),
        read(
            "/v1/services/{name}/forecast",
            "The load ahead of a service, where it is forecast",
            FORECAST,
            J(schema_of::<v1::Forecast>),
            || get(one_forecast),
        ),
        read(
            "/v1/services/{name}/learned",
            "What was learned of a service as it runs: what its replicas carry, how they start, its load",
            &[],
            J(schema_of::<v1::Learned>),
            || get(one_learned),
        ),
    ]
}

/// How autoscalers compare.
fn scaling_routes() -> Vec<Route> {
    use ResponseBody::Json as J;
    vec![
        read(
            "/v1/scaling",
            "How the autoscalers of each service compare that are tried beside the acting one",
            ONLY_WATCH,
            J(schema_of::<v1::List<v1::Scaling>>),
            || get(all_scaling),
        ),
        read(
            "/v1/scaling/{name}",
            "How the autoscalers of one service compare",
            ONLY_WATCH,
            J(schema_of::<v1::Scaling>),
            || get(one_scaling),
        ),
    ]
}

/// What goes around the loop: routes, and sources of metrics.
fn gateway_routes() -> Vec<Route> {
    use ResponseBody::Json as J;
    vec![
        read("/v1/routes", "All routes", ONLY_WATCH, J(schema_of::<v1::List<v1::Route>>), || {
            get(shared_routes)
        }),
        read("/v1/routes/{name}", "One route", ONLY_WATCH, J(schema_of::<v1::Route>), || get(shared_route)),
        read(
            "/v1/routes/{name}/describe",
            "Everything about one route",
            &[],
            J(schema_of::<v1::RouteDescription>),
            || get(describe_route),
        ),
        read(
            "/v1/metricsources",
            "All sources of metrics",
            ONLY_WATCH,
            J(schema_of::<v1::List<v1::MetricSource>>),
            || get(metric_sources),
        ),
        read(
            "/v1/metricsources/{name}",
            "One source of a metric",
            ONLY_WATCH,
            J(schema_of::<v1::MetricSource>),
            || get(one_metric_source),
        ),
        read(
            "/v1/metricsources/{name}/describe",
            "Everything about one source of a metric",
            &[],
            J(schema_of::<v1::MetricSourceDescription>),
            || get(describe_metric_source),
        ),
    ]
}

fn declaration_routes() -> Vec<Route> {
    const DRY_RUN: &[Parameter] = &[parameter("dryRun", "boolean", "Only say what would change.")];
    vec![
        Route {
            method: "post",
            path: "/v1/apply",
            summary: "Declares resources, all or nothing, from JSON or YAML",
            query: DRY_RUN,
            request_body: Some(any_resource),
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || post(apply),
        },
        Route {
            method: "post",
            path: "/v1/trial",
            summary: "What changed declarations would decide, now and over the last hour; keeps nothing",
            query: &[],
            request_body: Some(any_resource),
            response_body: ResponseBody::Json(schema_of::<v1::Trials>),
            handler: || post(try_out),
        },
        Route {
            method: "put",
            path: "/v1/services/{name}/scale",
            summary: "Holds a service at a size",
            query: &[],
            request_body: Some(schema_of::<v1::ScaleRequest>),
            response_body: ResponseBody::Json(schema_of::<v1::Scaled>),
            handler: || put(hold),
        },
        Route {
            method: "delete",
            path: "/v1/services/{name}/scale",
            summary: "Lets a service size itself again",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Scaled>),
            handler: || delete(release),
        },
    ]
}

fn order_routes() -> Vec<Route> {
    vec![
        Route {
            method: "put",
            path: "/v1/services/{name}/pause",
            summary: "Lets the autoscaler of a service decide nothing",
            query: &[],
            request_body: Some(schema_of::<v1::DurationRequest>),
            response_body: ResponseBody::Json(schema_of::<v1::Paused>),
            handler: || put(pause),
        },
        Route {
            method: "delete",
            path: "/v1/services/{name}/pause",
            summary: "Lets the autoscaler of a service decide again",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Paused>),
            handler: || delete(resume),
        },
        Route {
            method: "put",
            path: "/v1/replicas/{name}/protection",
            summary: "Protects a replica from being removed when its service shrinks",
            query: &[],
            request_body: Some(schema_of::<v1::DurationRequest>),
            response_body: ResponseBody::Json(schema_of::<v1::Protected>),
            handler: || put(protect),
        },
        Route {
            method: "delete",
            path: "/v1/replicas/{name}/protection",
            summary: "Lets a replica be removed again",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Protected>),
            handler: || delete(unprotect),
        },
    ]
}

fn deletion_routes() -> Vec<Route> {
    vec![
        Route {
            method: "delete",
            path: "/v1/services/{name}",
            summary: "Deletes a service: its replicas finish what they do, then stop",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_service),
        },
        Route {
            method: "delete",
            path: "/v1/horizontalpodautoscalers/{name}",
            summary: "Deletes a HorizontalPodAutoscaler; its service keeps its size",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_autoscaler),
        },
        Route {
            method: "delete",
            path: "/v1/routes/{name}",
            summary: "Deletes a route: its requests are for the other routes of its listener, if there are any",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_route),
        },
        Route {
            method: "delete",
            path: "/v1/metricsources/{name}",
            summary: "Deletes a source of a metric: what is scaled by it keeps its size",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove_metric_source),
        },
        Route {
            method: "delete",
            path: "/v1/{kind}/{name}",
            summary: "Deletes by any name of a kind, such as svc or hpa",
            query: &[],
            request_body: None,
            response_body: ResponseBody::Json(schema_of::<v1::Applied>),
            handler: || delete(remove),
        },
    ]
}

fn server_routes() -> Vec<Route> {
    use ResponseBody::{Json as J, Text};
    let any: fn(&mut SchemaGenerator) -> Schema = |_| schemars::json_schema!({"type": "object"});
    vec![
        read("/openapi.json", "This description", &[], J(any), || {
            get(|| async { openapi::document() })
        }),
        read("/metrics", "Measurements as OpenMetrics", &[], Text("application/openmetrics-text"), || {
            get(|Extract(state): Extract<State>| async move { metrics::metrics(&state).await })
        }),
        read("/healthz", "Whether the process answers", &[], Text("text/plain"), || get(|| async { "ok\n" })),
        read("/readyz", "Whether the loop steers", &[], Text("text/plain"), || get(ready)),
    ]
}

/// The router of all routes.
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

/// The parsed query of a request. Unknown or malformed parameters are refused with a message.
struct Params<T>(T);

impl<T: DeserializeOwned> FromRequestParts<State> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => {
                Err(Failure::bad_request(format!("could not read the query: {}", error.body_text())))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchParams {
    #[serde(default)]
    watch: bool,
}

/// All that `fetch` returns, once or with each change.
async fn list<S, F>(state: &State, watch: bool, fetch: F) -> Result<Response, Failure>
where
    S: Serialize + Send + 'static,
    F: Fn(&Handle) -> Result<Vec<v1::Object<S>>, Failure> + Clone + Send + Sync + 'static,
{
    if watch {
        return stream::watch(state, fetch);
    }
    let items = state.query(fetch).await?;
    Ok(Json(v1::List { items }).into_response())
}

/// The one object that `fetch` returns, once or with each change. What does not exist cannot be watched.
async fn one<S, F>(state: &State, watch: bool, fetch: F) -> Result<Response, Failure>
where
    S: Serialize + Send + 'static,
    F: Fn(&Handle) -> Result<Vec<v1::Object<S>>, Failure> + Clone + Send + Sync + 'static,
{
    let found = state.query(fetch.clone()).await?;
    if watch {
        return stream::watch(state, fetch);
    }
    match found.into_iter().next() {
        Some(object) => Ok(Json(object).into_response()),
        None => {
            let sentence = "could not show it: it was declared just now; try again";
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, Code::TooSlow, sentence))
        }
    }
}

async fn services(
    Extract(state): Extract<State>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, params.watch, move |handle| resources::services(handle, &agent, None)).await
}

async fn service(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, params.watch, move |handle| resources::services(handle, &agent, Some(&name))).await
}

async fn autoscalers(
    Extract(state): Extract<State>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    list(&state, params.watch, |handle| resources::autoscalers(handle, None)).await
}

async fn autoscaler(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    one(&state, params.watch, move |handle| resources::autoscalers(handle, Some(&name))).await
}

async fn shared_routes(
    Extract(state): Extract<State>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, params.watch, move |handle| route::routes(handle, &agent, None)).await
}

async fn shared_route(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, params.watch, move |handle| route::routes(handle, &agent, Some(&name))).await
}

async fn describe_route(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::RouteDescription>, Failure> {
    route::describe(&state, name).await.map(Json)
}

async fn metric_sources(
    Extract(state): Extract<State>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, params.watch, move |handle| metric_source::sources(handle, &agent, None)).await
}

async fn one_metric_source(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, params.watch, move |handle| metric_source::sources(handle, &agent, Some(&name))).await
}

async fn describe_metric_source(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<v1::MetricSourceDescription>, Failure> {
    metric_source::describe(&state, name).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicasParams {
    service: Option<String>,
    #[serde(default)]
    watch: bool,
}

async fn replicas(
    Extract(state): Extract<State>,
    Params(params): Params<ReplicasParams>,
) -> Result<Response, Failure> {
    let selector = match params.service {
        Some(service) => ReplicaSelector::OfService(service_name(&service)?),
        None => ReplicaSelector::All,
    };
    let agent = state.agent.clone();
    list(&state, params.watch, move |handle| resources::replicas(handle, &agent, &selector)).await
}

async fn replica(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let selector = ReplicaSelector::One(replica_id(&name)?);
    let agent = state.agent.clone();
    one(&state, params.watch, move |handle| resources::replicas(handle, &agent, &selector)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogsParams {
    #[serde(default = "tail_default")]
    tail: usize,
    #[serde(default)]
    follow: bool,
}

fn tail_default() -> usize {
    TAIL_DEFAULT
}

async fn replica_logs(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<LogsParams>,
) -> Result<Response, Failure> {
    let until = if params.follow { Until::Stopped } else { Until::Present };
    logs::logs(&state, &replica_id(&name)?, params.tail.min(TAIL_LINES_MAX), until).await
}

async fn all_scaling(
    Extract(state): Extract<State>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    list(&state, params.watch, |handle| scaling::scaling(handle, None)).await
}

async fn one_scaling(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    one(&state, params.watch, move |handle| scaling::scaling(handle, Some(&name))).await
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

async fn nodes(
    Extract(state): Extract<State>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    list(&state, params.watch, move |handle| resources::nodes(handle, &agent, None)).await
}

async fn node(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<WatchParams>,
) -> Result<Response, Failure> {
    let agent = state.agent.clone();
    one(&state, params.watch, move |handle| resources::nodes(handle, &agent, Some(&name))).await
}

async fn ready(Extract(state): Extract<State>) -> Response {
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
