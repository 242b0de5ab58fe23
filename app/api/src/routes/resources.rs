//! Operations that read resources: services, autoscalers, replicas, nodes, routes and metric sources.

use axum::Json;
use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use orchestrator::Handle;
use platform::TAIL_LINES_MAX;
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};
use crate::logs::{self, TAIL_DEFAULT, Until};
use crate::operation::ResponseBody::{Json as J, Text};
use crate::operation::{Operation, Parameter, SERVICE, WATCH, parameter, read, schema_of};
use crate::request::{Params, WatchParams, replica_id, service_name};
use crate::resources::{self, ReplicaSelector};
use crate::state::State;
use crate::{metric_source, route, scaling, stream, v1};

const ONLY_WATCH: &[Parameter] = &[WATCH];

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = workload_operations();
    operations.extend(traffic_operations());
    operations
}

/// Services, autoscalers, replicas and nodes.
fn workload_operations() -> Vec<Operation> {
    const LOGS: &[Parameter] = &[
        parameter("tail", "integer", "Number of lines from the end; 100 by default."),
        parameter("follow", "boolean", "Keep the response open and send new lines."),
    ];
    vec![
        read("/v1/services", "All services", ONLY_WATCH, J(schema_of::<v1::List<v1::Service>>), || {
            get(services)
        }),
        read("/v1/services/{name}", "One service", ONLY_WATCH, J(schema_of::<v1::Service>), || get(service)),
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
        read("/v1/replicas/{name}/logs", "The output of a replica", LOGS, Text("text/plain"), || {
            get(replica_logs)
        }),
        read("/v1/nodes", "All nodes; currently one", ONLY_WATCH, J(schema_of::<v1::List<v1::Node>>), || {
            get(nodes)
        }),
        read("/v1/nodes/{name}", "One node", ONLY_WATCH, J(schema_of::<v1::Node>), || get(node)),
    ]
}

/// Routes, metric sources, and the comparison of autoscalers.
fn traffic_operations() -> Vec<Operation> {
    vec![
        read(
            "/v1/scaling",
            "The comparison of the acting and the shadow autoscalers, for each service with shadows",
            ONLY_WATCH,
            J(schema_of::<v1::List<v1::Scaling>>),
            || get(all_scaling),
        ),
        read(
            "/v1/scaling/{name}",
            "The comparison of the autoscalers of one service",
            ONLY_WATCH,
            J(schema_of::<v1::Scaling>),
            || get(one_scaling),
        ),
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
            "All metric sources",
            ONLY_WATCH,
            J(schema_of::<v1::List<v1::MetricSource>>),
            || get(metric_sources),
        ),
        read(
            "/v1/metricsources/{name}",
            "One metric source",
            ONLY_WATCH,
            J(schema_of::<v1::MetricSource>),
            || get(one_metric_source),
        ),
        read(
            "/v1/metricsources/{name}/describe",
            "Everything about one metric source",
            &[],
            J(schema_of::<v1::MetricSourceDescription>),
            || get(describe_metric_source),
        ),
    ]
}

/// The objects that `fetch` returns, once or as a stream of changes.
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

/// The one object that `fetch` returns, once or as a stream of changes. An object that does not exist cannot be watched.
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
            let sentence = "could not show the resource: the control loop has not processed its declaration yet; try again";
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
