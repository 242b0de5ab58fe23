//! Operations that recommend changes of declarations.

use axum::Json;
use axum::extract::{Path, State as Extract};
use axum::routing::get;
use serde::Deserialize;

use crate::failure::Failure;
use crate::operation::ResponseBody::Json as J;
use crate::operation::{Operation, Parameter, parameter, read, schema_of};
use crate::request::{Params, service_name, time};
use crate::state::State;
use crate::{recommendations, v1};

pub(super) fn operations() -> Vec<Operation> {
    const SINCE: &[Parameter] = &[parameter(
        "since",
        "string",
        "The begin of the analyzed period, RFC 3339; 30 days ago by default.",
    )];
    vec![
        read(
            "/v1/recommendations",
            "Bottlenecks and waste of all services, with recommended changes of their manifests",
            SINCE,
            J(schema_of::<v1::Recommendations>),
            || get(of_all),
        ),
        read(
            "/v1/services/{name}/recommendations",
            "Bottlenecks and waste of one service, with recommended changes of its manifest",
            SINCE,
            J(schema_of::<v1::Recommendations>),
            || get(of_one),
        ),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinceParams {
    since: Option<String>,
}

async fn of_all(
    Extract(state): Extract<State>,
    Params(params): Params<SinceParams>,
) -> Result<Json<v1::Recommendations>, Failure> {
    let since = params.since.as_deref().map(time).transpose()?;
    recommendations::recommendations(&state, None, since).await.map(Json)
}

async fn of_one(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Params(params): Params<SinceParams>,
) -> Result<Json<v1::Recommendations>, Failure> {
    let since = params.since.as_deref().map(time).transpose()?;
    recommendations::recommendations(&state, Some(service_name(&name)?), since).await.map(Json)
}
