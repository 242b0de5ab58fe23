//! Routes: a listener that several services share, with the rules by which requests are routed and changed.
//!
//! The fields are those of the Gateway API's HTTPRoute where it has them, with the same meaning. What it leaves to the implementation
//! is described at each field. Source: <https://gateway-api.sigs.k8s.io/reference/spec/>, HTTPRoute v1.

mod filter;
mod limits;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AccessLog, ListenAddress, Metadata, PortName, Span, Tls};
use crate::name::ServiceName;

pub use self::filter::{
    Fraction, HeaderModifier, HeaderSetting, PathModifier, RedirectStatus, RequestMirror, RequestRedirect,
    RouteFilter, Scheme, UrlRewrite,
};
pub use self::limits::{LimitBy, RequestLimit, RouteLimits};
pub use self::text::{HeaderName, HeaderValue, Hostname, RouteTextError, UrlPath};

/// A route: distributes the requests to an address to services, by host, path, method, headers and query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// The desired state.
    pub spec: RouteSpec,
}

impl Route {
    /// The name of the route.
    pub const fn name(&self) -> &ServiceName {
        &self.metadata.name
    }
}

/// The desired state of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteSpec {
    /// The address that the proxy listens on. Several routes may share one, but not with the `expose` of a service.
    pub listen: ListenAddress,
    /// The server certificates of the proxy; changed files are reloaded without a restart. If one of the routes of an address has
    /// certificates, all of them use TLS, with the certificates of all: the first one that covers the requested name is used. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The hosts of this route, up to 16; without any, all hosts. `*.example.com` matches every name below `example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<Hostname>,
    /// The rules, 1 to 16.
    pub rules: Vec<RouteRule>,
    /// The limits of requests from clients.
    #[serde(default, skip_serializing_if = "RouteLimits::is_none")]
    pub limits: RouteLimits,
    /// Compresses answers for clients that accept it: those of a text type with at least 256 bytes that the service has not compressed
    /// itself. Do not use it for answers with a secret beside text that an attacker controls: their length reveals it (BREACH). Default:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Logs each request of this route. Default: no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// The compression of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// By gzip (RFC 1952).
    Gzip,
}

impl RouteSpec {
    /// The services that it names, including mirrors, with repetitions.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.rules.iter().flat_map(|rule| {
            let mirrors = rule.filters.iter().filter_map(RouteFilter::mirror).map(|it| &it.backend_ref);
            rule.backend_refs.iter().chain(mirrors).map(|backend| &backend.name)
        })
    }
}

/// A rule for some of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteRule {
    /// The requests of the rule: those that match at least one of these, up to 64. Without any, all requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RouteMatch>,
    /// Changes of the request or its answer, up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RouteFilter>,
    /// The services that answer, up to 16. Without any, or if none exists, the answer is 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
    /// The timeouts.
    #[serde(default, skip_serializing_if = "RouteTimeouts::is_default")]
    pub timeouts: RouteTimeouts,
}

/// The conditions on a request; all of them must be met.
///
/// Among several matches the order is: an exact path, the longest prefix, a method, the most headers, the most query parameters, the
/// oldest route, the first name, the first rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteMatch {
    /// The condition on the path. Default: any.
    #[serde(default)]
    pub path: PathMatch,
    /// The conditions on headers, up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// The conditions on parameters of the query, up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<QueryParamMatch>,
    /// The method. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
}

/// A condition on a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PathMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// The value that it is compared with; `%61` and `a` are equal, but `%2F` is not `/`.
    pub value: UrlPath,
}

/// How a path is compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum PathMatchType {
    /// It equals the value.
    Exact,
    /// It begins with the path elements of the value: `/a` is a prefix of `/a`, `/a/` and `/a/b`, not of `/ab`.
    #[default]
    PathPrefix,
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderMatch {
    /// How it is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,
    /// The name of the header, case-insensitive.
    pub name: HeaderName,
    /// The value that it is compared with; of a repeated header, one must match. 1 to 4096 bytes.
    pub value: String,
}

/// A condition on a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct QueryParamMatch {
    /// How it is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,
    /// The name of the parameter as in the URL. 1 to 256 bytes.
    pub name: String,
    /// The value that its first value is compared with, as in the URL: `a%20b` is not decoded. 1 to 1024 bytes.
    pub value: String,
}

/// How a value is compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ValueMatchType {
    /// It equals the value.
    #[default]
    Exact,
    /// The whole value matches the regular expression, in the syntax of the Rust crate `regex`, whose time grows linearly with
    /// the length of the value.
    RegularExpression,
}

/// The method of a request. CONNECT is not supported: the proxy opens no tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads a resource.
    Get,
    /// Reads the headers of the answer to GET.
    Head,
    /// Sends data to be processed.
    Post,
    /// Replaces a resource.
    Put,
    /// Removes a resource.
    Delete,
    /// Requests the supported methods.
    Options,
    /// Requests the request as it was received.
    Trace,
    /// Changes a part of a resource.
    Patch,
}

impl Method {
    /// Its name in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

/// A service and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackendRef {
    /// The service.
    pub name: ServiceName,
    /// The name of the service's port for the requests, in the protocol of that port. Default: the port of its
    /// `expose`, or without one its first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// Its share of the requests: its weight divided by the sum of all weights. 0 to 1000000; with 0 it gets none. Default: 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(weight: &u32) -> bool {
    *weight == 1
}

/// The timeouts of an answer; after them the answer is 504.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteTimeouts {
    /// From the head of the request to the head of the answer, all attempts together; 0s for no limit. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Span>,
    /// The same for each attempt at a replica; at most `request`. Default: the service's `timeouts.response`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Span>,
}

impl RouteTimeouts {
    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The most bytes of a compiled expression, and of its cache: 256 KiB suffice in practice, and the 64 of a route need at most 32 MiB.
const EXPRESSION_BYTES_MAX: usize = 256 * 1024;

/// Compiles an expression that must match a whole value, as bytes.
pub fn expression(text: &str) -> Result<regex::bytes::Regex, regex::Error> {
    // Parsed alone first, so that an unbalanced parenthesis cannot close the added one.
    let build = |text: &str| {
        let mut builder = regex::bytes::RegexBuilder::new(text);
        builder.unicode(false).size_limit(EXPRESSION_BYTES_MAX).dfa_size_limit(EXPRESSION_BYTES_MAX);
        builder.build()
    };
    build(text)?;
    build(&format!("^(?:{text})$"))
}
