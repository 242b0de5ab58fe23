//! What is asked about all that was.

use axum::Json;
use axum::extract::{Path, State as Extract};
use axum::routing::get;
use serde::Deserialize;

use super::{Parameter, Params, ResponseBody, Route, parameter, read, schema_of, service_name, time};
use crate::failure::Failure;
use crate::state::State;
use crate::{recommendations, v1};

pub(super) fn recommendation_routes() -> Vec<Route> {
    const SINCE: &[Parameter] =
        &[parameter("since", "string", "From this time on, RFC 3339; 30 days unless given.")];
    use ResponseBody::Json as J;
    vec![
        read(
            "/v1/recommendations",
            "Bottlenecks and waste of all services, and what their manifests would say instead",
            SINCE,
            J(schema_of::<v1::Recommendations>),
            || get(of_all),
        ),
        read(
            "/v1/services/{name}/recommendations",
            "Bottlenecks and waste of one service, and what its manifest would say instead",
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
