//! The plan of a run: where to send requests, which, when, and within which limits.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, InvalidUri, PathAndQuery};
use hyper::{Method, Request, Uri};
use thiserror::Error;

use crate::profile::Profile;
use crate::rate::excerpt;
use crate::schedule::Arrivals;

/// Everything that a run needs.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The server.
    pub target: Target,
    /// The requests, sent in turn; never empty.
    pub requests: Vec<RequestTemplate>,
    /// The rate over time.
    pub profile: Profile,
    /// How requests are spread over time.
    pub arrivals: Arrivals,
    /// The most connections, and so requests in flight. Requests that are due while all are busy are skipped and counted.
    pub connections: NonZeroU16,
    /// How long to wait for an answer, from the moment of sending and including the connect; more than zero.
    pub timeout: Duration,
}

impl LoadPlan {
    /// The default number of connections.
    ///
    /// 512 = 250 requests/s × 2 s of a service that has stalled, and half of the 1,024 files that a
    /// process may open by default on Debian.
    pub const CONNECTIONS_DEFAULT: NonZeroU16 = NonZeroU16::new(512).expect("512 is not zero");

    /// The default timeout of an answer: how long a person waits before pressing reload.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

    /// Returns the plan to GET the path of `target` by `profile`, evenly spread, with the default limits.
    #[must_use]
    pub fn new(target: Target, profile: Profile) -> Self {
        let request = RequestTemplate::get(target.path.clone());
        Self {
            target,
            requests: vec![request],
            profile,
            arrivals: Arrivals::default(),
            connections: Self::CONNECTIONS_DEFAULT,
            timeout: Self::TIMEOUT_DEFAULT,
        }
    }
}

/// Where to send requests: host, port and path of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    authority: Authority,
    path: PathAndQuery,
}

/// Why a text is not a [`Target`]. Nothing has changed.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The text is not a URL.
    #[error("could not read the URL {text:?}; write it like http://127.0.0.1:8080/path")]
    Url {
        /// The beginning of the text.
        text: String,
        /// What the parser answered.
        source: InvalidUri,
    },
    /// A URL of another scheme.
    #[error(
        "the URL {text:?} is not for plain HTTP; load speaks only http://, so send to the port behind TLS"
    )]
    Scheme {
        /// The beginning of the text.
        text: String,
    },
    /// A URL without a host, or with an invalid port.
    #[error(
        "the URL {text:?} names no host and port to connect to; write it like http://127.0.0.1:8080/path"
    )]
    Host {
        /// The beginning of the text.
        text: String,
    },
}

impl Target {
    /// Returns the target that a URL names. `http://` and the path may be left out.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let text = || excerpt(url);
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let parts =
            whole.parse::<Uri>().map_err(|source| TargetError::Url { text: text(), source })?.into_parts();
        if parts.scheme.is_none_or(|scheme| scheme != hyper::http::uri::Scheme::HTTP) {
            return Err(TargetError::Scheme { text: text() });
        }
        let authority = parts.authority.filter(|authority| {
            let has_port =
                !matches!(authority.as_str().rsplit(['@', ']']).next(), Some(end) if !end.contains(':'));
            !authority.host().is_empty() && has_port == authority.port_u16().is_some()
        });
        Ok(Self {
            authority: authority.ok_or_else(|| TargetError::Host { text: text() })?,
            path: parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }

    /// Returns the name or address to connect to, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port to connect to, 80 when the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(80)
    }

    /// Returns the path and query of the URL, `/` when it has none.
    #[must_use]
    pub fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// Returns the value of the `Host` header.
    fn host_header(&self) -> HeaderValue {
        let host = self.authority.as_str().rsplit('@').next().unwrap_or_default();
        HeaderValue::from_str(host).expect("an authority has only visible ASCII characters")
    }
}

/// A request that is sent repeatedly.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    /// GET, POST and so on.
    pub method: Method,
    /// The path and query.
    pub path: PathAndQuery,
    /// Headers; `Host`, `Content-Length` and `User-Agent` are added if they are missing.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
}

/// Why a header cannot be sent. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an HTTP header; write it like `Accept: text/html`")]
pub struct HeaderError {
    text: String,
}

impl RequestTemplate {
    /// Returns a GET of `path`.
    #[must_use]
    pub fn get(path: PathAndQuery) -> Self {
        Self { method: Method::GET, path, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds a header written as `Name: value`.
    pub fn add_header(&mut self, line: &str) -> Result<(), HeaderError> {
        let refused = || HeaderError { text: excerpt(line) };
        let (name, value) = line.split_once(':').ok_or_else(refused)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| refused())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| refused())?;
        self.headers.append(name, value);
        Ok(())
    }

    /// Returns the request for `target`.
    pub(crate) fn for_target(&self, target: &Target) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.entry(header::HOST).or_insert_with(|| target.host_header());
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        request
    }
}

/// The user agent in the logs of servers.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("homeostat-load/", env!("CARGO_PKG_VERSION")));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_leave_out_scheme_port_and_path() {
        let target = Target::parse("shop.local").unwrap();
        assert_eq!((target.host(), target.port(), target.path().as_str()), ("shop.local", 80, "/"));
        let target = Target::parse("http://[::1]:8080/search?q=tea").unwrap();
        assert_eq!((target.host(), target.port(), target.path().as_str()), ("::1", 8080, "/search?q=tea"));
    }

    #[test]
    fn invalid_urls_are_refused() {
        assert!(matches!(Target::parse("https://shop.local/"), Err(TargetError::Scheme { .. })));
        for bad in ["", "http://", "http:///path", "127.0.0.1:notaport/", "a b"] {
            assert!(Target::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_request_names_its_host_without_credentials_and_keeps_given_headers() {
        let target = Target::parse("http://me:secret@shop.local:8080/").unwrap();
        let mut template = RequestTemplate::get(target.path().clone());
        template.add_header("User-Agent: a browser").unwrap();
        template.add_header("X-Trace: 1").unwrap();
        let request = template.for_target(&target);
        assert_eq!(request.headers()["host"], "shop.local:8080");
        assert_eq!(request.headers()["user-agent"], "a browser");
        assert_eq!(request.headers()["x-trace"], "1");
    }

    #[test]
    fn a_header_that_could_smuggle_is_refused() {
        let mut template = RequestTemplate::get(PathAndQuery::from_static("/"));
        for bad in ["no colon", "Bad Name: 1", "X: 1\r\nY: 2", ": 1"] {
            assert!(template.add_header(bad).is_err(), "{bad:?}");
        }
        assert!(template.headers.is_empty());
    }
}
