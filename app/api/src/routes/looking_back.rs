//! What is asked about all that was.

use axum::Json;
use axum::extract::{Path, State as Of};
use axum::routing::get;
use serde::Deserialize;

use super::{Answer, Asked, Parameter, Route, of, parameter, read, service_name, time};
use crate::failure::Failure;
use crate::state::State;
use crate::{hindsight, v1};

pub(super) fn reads_of_the_past() -> Vec<Route> {
    const SINCE: &[Parameter] =
        &[parameter("since", "string", "From this time on, RFC 3339; 30 days unless given.")];
    use Answer::Json as J;
    vec![
        read(
            "/v1/recommendations",
            "Bottlenecks and waste of all services, and what their manifests would say instead",
            SINCE,
            J(of::<v1::Recommendations>),
            || get(of_all),
        ),
        read(
            "/v1/services/{name}/recommendations",
            "Bottlenecks and waste of one service, and what its manifest would say instead",
            SINCE,
            J(of::<v1::Recommendations>),
            || get(of_one),
        ),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    since: Option<String>,
}

async fn of_all(
    Of(state): Of<State>,
    Asked(asked): Asked<Since>,
) -> Result<Json<v1::Recommendations>, Failure> {
    let since = asked.since.as_deref().map(time).transpose()?;
    hindsight::recommendations(&state, None, since).await.map(Json)
}

async fn of_one(
    Of(state): Of<State>,
    Path(name): Path<String>,
    Asked(asked): Asked<Since>,
) -> Result<Json<v1::Recommendations>, Failure> {
    let since = asked.since.as_deref().map(time).transpose()?;
    hindsight::recommendations(&state, Some(service_name(&name)?), since).await.map(Json)
}
