//! What people declare of a listener that several services share: which request goes where, and what is changed on the way.
//!
//! The fields are those of the Gateway API's HTTPRoute where it has them, and mean what it says. What it leaves to the
//! implementation is said at each field. Source: <https://gateway-api.sigs.k8s.io/reference/spec/>, HTTPRoute v1.

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

/// A route: requests that come to an address, told apart by host, path, method, headers and query, each to its services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: RouteSpec,
}

impl Route {
    /// The name of the route.
    pub const fn name(&self) -> &ServiceName {
        &self.metadata.name
    }
}

/// What is asked for of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteSpec {
    /// The address that the proxy listens on. Several routes may share one; the `expose` of a service may not have the same.
    pub listen: ListenAddress,
    /// The certificates with which the proxy speaks TLS to clients; changed files are taken over without a restart. As soon as
    /// one of the routes of an address has certificates, all of them are reached over TLS, with the certificates of all: a client
    /// that asks for a name gets the first one that holds it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The hosts that this route is for, up to 16; without any, all hosts. `*.example.com` stands for every name below
    /// `example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<Hostname>,
    /// Which requests go where, 1 to 16 rules.
    pub rules: Vec<RouteRule>,
    /// Limits of what clients may send.
    #[serde(default, skip_serializing_if = "RouteLimits::is_none")]
    pub limits: RouteLimits,
    /// Compresses answers for clients that accept it: those of a textual type, from 256 bytes on, that the service has not
    /// compressed itself. Do not use it for answers that hold a secret beside text that an attacker can choose: their length
    /// gives it away (BREACH). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Writes a line for each request that this route is for. Default: none is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// How answers are made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// By gzip (RFC 1952).
    Gzip,
}

impl RouteSpec {
    /// The services that it names, those that get copies included, as often as it names them.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.rules.iter().flat_map(|rule| {
            let mirrors = rule.filters.iter().filter_map(RouteFilter::mirror).map(|it| &it.backend_ref);
            rule.backend_refs.iter().chain(mirrors).map(|backend| &backend.name)
        })
    }
}

/// What to do with some of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteRule {
    /// Which requests the rule is for: those that fit at least one of these, up to 64. Without any, all requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RouteMatch>,
    /// What is done with the request or its answer on the way, up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RouteFilter>,
    /// The services that answer, up to 16. Without any, or if none of them exists, the answer is 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
    /// How long an answer may take.
    #[serde(default, skip_serializing_if = "RouteTimeouts::is_default")]
    pub timeouts: RouteTimeouts,
}

/// What a request must be like; all that is given must hold.
///
/// Of several that hold, one goes first by, in this order: an exact path, the longest prefix, a method, the most headers, the
/// most query parameters, the oldest route, the first name, the first rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteMatch {
    /// What the path must be. Default: any.
    #[serde(default)]
    pub path: PathMatch,
    /// What headers must be, up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// What parameters of the query must be, up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<QueryParamMatch>,
    /// What the method must be. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
}

/// What a path must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PathMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// What it is compared with; `%61` and `a` are the same, but `%2F` is not `/`.
    pub value: UrlPath,
}

/// How a path is compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum PathMatchType {
    /// It equals the value.
    Exact,
    /// Its first elements are those of the value: `/a` is the prefix of `/a`, `/a/` and `/a/b`, not of `/ab`.
    #[default]
    PathPrefix,
}

/// What a header must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderMatch {
    /// How it is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,
    /// The name of the header; upper and lower case are the same.
    pub name: HeaderName,
    /// What its value is compared with; of a header that comes several times, one has to match. 1 to 4096 bytes.
    pub value: String,
}

/// What a parameter in the query must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct QueryParamMatch {
    /// How it is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,
    /// The name of the parameter, as it is written in the URL. 1 to 256 bytes.
    pub name: String,
    /// What its first value is compared with, as it is written in the URL: `a%20b` is not decoded. 1 to 1024 bytes.
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

/// The method of a request. CONNECT is not among them: the proxy opens no tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads a resource.
    Get,
    /// Reads the headers that GET would answer with.
    Head,
    /// Hands data over to be processed.
    Post,
    /// Replaces a resource.
    Put,
    /// Removes a resource.
    Delete,
    /// Asks which methods there are.
    Options,
    /// Asks for the request as it arrived.
    Trace,
    /// Changes a part of a resource.
    Patch,
}

impl Method {
    /// As it is written in a request.
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

/// A service, and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackendRef {
    /// The service.
    pub name: ServiceName,
    /// The name of the port of the service that gets the requests, in the protocol of that port. Default: the port of its
    /// `expose`, or without one its first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// Its share of the requests: its weight divided by the sum of all weights. 0 to 1000000; 0 gets nothing. Default: 1.
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

/// How long an answer may take; past it the client is answered 504.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteTimeouts {
    /// From the head of the request to the head of the answer, all tries together; 0s for no limit. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Span>,
    /// The same for each single try at a replica; at most `request`. Default: the service's `timeouts.response`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Span>,
}

impl RouteTimeouts {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Bytes of a compiled expression at most, and of what it may keep to be quick: 256 KiB hold any that a person would write, and the
/// 64 that a route may have hold 32 MiB at the very worst.
const EXPRESSION_BYTES_MAX: usize = 256 * 1024;

/// Compiles an expression that has to describe a whole value, as bytes.
pub fn expression(text: &str) -> Result<regex::bytes::Regex, regex::Error> {
    // Parsed alone first, so that a parenthesis too many cannot close ours.
    let build = |text: &str| {
        let mut builder = regex::bytes::RegexBuilder::new(text);
        builder.unicode(false).size_limit(EXPRESSION_BYTES_MAX).dfa_size_limit(EXPRESSION_BYTES_MAX);
        builder.build()
    };
    build(text)?;
    build(&format!("^(?:{text})$"))
}
