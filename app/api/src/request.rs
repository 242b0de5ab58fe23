//! Reads the parts of a request: query parameters, names, times and bodies.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use model::identity::ReplicaId;
use model::name::ServiceName;
use model::resource::ResourceVersion;
use model::time::Wall;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::{Code, Failure};
use crate::origin::{Media, media};
use crate::state::State;
use crate::timestamps::parse_rfc3339;

/// The parsed query of a request. Unknown and malformed parameters are refused.
pub(crate) struct Params<T>(pub(crate) T);

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

/// The query of an operation that can be watched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchParams {
    #[serde(default)]
    pub(crate) watch: bool,
}

/// The longest body: a thousand services of 1 KiB.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The body of a request, or why it could not be received.
pub(crate) type Body = Result<Bytes, BytesRejection>;

/// The bytes of a body.
pub(crate) fn body_bytes(body: Body) -> Result<Bytes, Failure> {
    body.map_err(|error| {
        let status = error.status();
        let sentence = if status == StatusCode::PAYLOAD_TOO_LARGE {
            format!("could not read the body: it has more than {BODY_BYTES_MAX} bytes; send the resources in several parts")
        } else {
            format!("could not read the body: {error}")
        };
        Failure::new(status, Code::NotUnderstood, sentence)
    })
}

/// The text of a body, and its format.
pub(crate) fn body_text<'b>(body: &'b [u8], headers: &HeaderMap) -> Result<(&'b str, Media), Failure> {
    let text = str::from_utf8(body)
        .map_err(|_| Failure::bad_request("could not read the body: it is not UTF-8 text"))?;
    let media = media(headers)
        .ok_or_else(|| Failure::bad_request("could not read the body: it has no Content-Type"))?;
    Ok((text, media))
}

/// The version in `If-Match`; `None` without this header.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<ResourceVersion>, Failure> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let quoted = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match quoted.and_then(|text| ResourceVersion::parse(text).ok()).filter(|_| values.next().is_none()) {
        Some(version) => Ok(Some(version)),
        None => Err(Failure::bad_request(format!(
            "could not read If-Match {text:?}: give one metadata.resourceVersion in quotes, such as \"r12\""
        ))),
    }
}

pub(crate) fn service_name(text: &str) -> Result<ServiceName, Failure> {
    ServiceName::parse(text).map_err(|_| Failure::not_found("service", text))
}

pub(crate) fn replica_id(text: &str) -> Result<ReplicaId, Failure> {
    ReplicaId::parse(text).ok_or_else(|| Failure::not_found("replica", text))
}

pub(crate) fn time(text: &str) -> Result<Wall, Failure> {
    parse_rfc3339(text).ok_or_else(|| {
        Failure::bad_request(format!("could not read the time {text:?}: write it as 2026-01-31T18:00:00Z"))
    })
}
