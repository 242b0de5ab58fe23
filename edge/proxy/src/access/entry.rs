//! The content of a line of an access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HOST, HeaderMap, HeaderName, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use model::time::Wall;

use crate::endpoint::Endpoint;
use crate::headers::trace;
use crate::route::Origin;

/// Bytes kept of a request's target. Longer ones are truncated: lines are for people and tools, not for replaying requests.
const TARGET_MAX: usize = 4096;

/// The bytes kept of a header's value.
const VALUE_MAX: usize = 1024;

/// The header that commonly names a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request. The client's bytes are kept unchanged, and escaped when they are written.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(super) time: Wall,
    pub(super) client: Box<[u8]>,
    pub(super) method: Box<str>,
    pub(super) host: Box<[u8]>,
    pub(super) target: Box<[u8]>,
    pub(super) protocol: &'static str,
    pub(super) user_agent: Box<[u8]>,
    pub(super) referer: Box<[u8]>,
    pub(super) request_id: Box<[u8]>,
    pub(super) trace_id: Option<Box<str>>,
    pub(super) route: Option<Arc<str>>,
    pub(super) service: Option<Arc<str>>,
    /// The endpoint of the last attempt.
    pub(super) endpoint: Option<Destination>,
    pub(super) tries: u32,
    /// Why the proxy answered instead of an endpoint; empty if it did not.
    pub(super) reason: &'static str,
    /// 0 until the request is answered.
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) duration: Duration,
    pub(super) upstream: Option<Duration>,
}

/// Where a request was sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Destination {
    /// A replica of the service, by its ordinal.
    Replica(u32),
    /// An endpoint that others run.
    Elsewhere(SocketAddr),
}

impl Destination {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        match endpoint.origin {
            Origin::Replica => Self::Replica(endpoint.id.ordinal),
            Origin::Elsewhere => Self::Elsewhere(endpoint.address),
        }
    }
}

impl Entry {
    /// A request as it was received.
    pub(super) fn new(time: Wall, client: &[u8], protocol: &'static str, parts: &Parts) -> Self {
        let target = parts.uri.path_and_query().map_or("*", |target| target.as_str());
        let of = |name| truncated(value(&parts.headers, name), VALUE_MAX);
        Self {
            time,
            client: truncated(client, VALUE_MAX),
            method: parts.method.as_str().into(),
            host: match parts.uri.authority() {
                Some(authority) => truncated(authority.as_str().as_bytes(), VALUE_MAX),
                None => of(HOST),
            },
            target: truncated(target.as_bytes(), TARGET_MAX),
            protocol,
            user_agent: of(USER_AGENT),
            referer: of(REFERER),
            request_id: of(REQUEST_ID),
            trace_id: trace::trace_id(&parts.headers).map(Box::from),
            ..Self::default()
        }
    }

    /// A request whose head could not be parsed.
    pub(super) fn malformed(time: Wall, client: &[u8], protocol: &'static str, status: u16) -> Self {
        let reason = "The head is not valid HTTP/1.1, or too long.";
        Self { time, client: truncated(client, VALUE_MAX), protocol, status, reason, ..Self::default() }
    }
}

fn value(headers: &HeaderMap, name: HeaderName) -> &[u8] {
    headers.get(name).map_or(&[], |value| value.as_bytes())
}

fn truncated(bytes: &[u8], max: usize) -> Box<[u8]> {
    bytes.get(..max).unwrap_or(bytes).into()
}
