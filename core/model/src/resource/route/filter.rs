//! Filters: changes of requests and answers.

use std::num::{NonZeroU16, NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackendRef, HeaderName, HeaderValue, Hostname, UrlPath};

/// A change of a request or its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "FilterFields", into = "FilterFields")]
pub enum RouteFilter {
    /// Changes the headers of the request.
    RequestHeaderModifier(HeaderModifier),
    /// Changes the headers of the answer.
    ResponseHeaderModifier(HeaderModifier),
    /// Sends a copy of the request to another service, whose answer is discarded.
    RequestMirror(RequestMirror),
    /// Answers with a redirect to another address.
    RequestRedirect(RequestRedirect),
    /// Changes the host and the path of the request.
    UrlRewrite(UrlRewrite),
}

impl RouteFilter {
    /// Its mirror, if it is one.
    pub const fn mirror(&self) -> Option<&RequestMirror> {
        match self {
            Self::RequestMirror(mirror) => Some(mirror),
            Self::RequestHeaderModifier(_)
            | Self::ResponseHeaderModifier(_)
            | Self::RequestRedirect(_)
            | Self::UrlRewrite(_) => None,
        }
    }
}

/// A change of a request or its answer: `type` is its kind, and the field of the same name its settings.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FilterFields {
    /// The kind, which defines the other field.
    #[serde(rename = "type")]
    kind: FilterType,
    /// Changes the headers of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_header_modifier: Option<HeaderModifier>,
    /// Changes the headers of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_header_modifier: Option<HeaderModifier>,
    /// Sends a copy of the request to another service, whose answer is discarded. Only requests with a body of at most 64 KiB are
    /// copied. A copy never delays the request or makes it fail, and none is sent while too many are in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_mirror: Option<RequestMirror>,
    /// Answers with a redirect to another address; not together with `backendRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_redirect: Option<RequestRedirect>,
    /// Changes the host and the path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url_rewrite: Option<UrlRewrite>,
}

/// The kind of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum FilterType {
    /// Changes the headers of the request.
    #[default]
    RequestHeaderModifier,
    /// Changes the headers of the answer.
    ResponseHeaderModifier,
    /// Sends a copy of the request to another service.
    RequestMirror,
    /// Answers with a redirect to another address.
    RequestRedirect,
    /// Changes the host and the path of the request.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
}

/// Why the fields of a filter are invalid.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    #[error("the field of a filter of type {kind:?} is missing")]
    Missing { kind: FilterType },
    #[error("a filter of type {kind:?} must have only the field of that type: remove the other")]
    Other { kind: FilterType },
}

impl TryFrom<FilterFields> for RouteFilter {
    type Error = FilterError;

    fn try_from(mut fields: FilterFields) -> Result<Self, FilterError> {
        let kind = fields.kind;
        let filter = match kind {
            FilterType::RequestHeaderModifier => {
                fields.request_header_modifier.take().map(Self::RequestHeaderModifier)
            }
            FilterType::ResponseHeaderModifier => {
                fields.response_header_modifier.take().map(Self::ResponseHeaderModifier)
            }
            FilterType::RequestMirror => fields.request_mirror.take().map(Self::RequestMirror),
            FilterType::RequestRedirect => fields.request_redirect.take().map(Self::RequestRedirect),
            FilterType::UrlRewrite => fields.url_rewrite.take().map(Self::UrlRewrite),
        };
        let filter = filter.ok_or(FilterError::Missing { kind })?;
        let is_alone = fields.request_header_modifier.is_none()
            && fields.response_header_modifier.is_none()
            && fields.request_mirror.is_none()
            && fields.request_redirect.is_none()
            && fields.url_rewrite.is_none();
        if is_alone { Ok(filter) } else { Err(FilterError::Other { kind }) }
    }
}

impl From<RouteFilter> for FilterFields {
    fn from(filter: RouteFilter) -> Self {
        let of = |kind| Self { kind, ..Self::default() };
        match filter {
            RouteFilter::RequestHeaderModifier(modifier) => {
                Self { request_header_modifier: Some(modifier), ..of(FilterType::RequestHeaderModifier) }
            }
            RouteFilter::ResponseHeaderModifier(modifier) => {
                Self { response_header_modifier: Some(modifier), ..of(FilterType::ResponseHeaderModifier) }
            }
            RouteFilter::RequestMirror(mirror) => {
                Self { request_mirror: Some(mirror), ..of(FilterType::RequestMirror) }
            }
            RouteFilter::RequestRedirect(redirect) => {
                Self { request_redirect: Some(redirect), ..of(FilterType::RequestRedirect) }
            }
            RouteFilter::UrlRewrite(rewrite) => {
                Self { url_rewrite: Some(rewrite), ..of(FilterType::UrlRewrite) }
            }
        }
    }
}

/// Changes of headers. A header must occur only once in all three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderModifier {
    /// Headers that replace those of the same name, up to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HeaderSetting>,
    /// Headers that are added to those of the same name, up to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HeaderSetting>,
    /// Names of headers that are removed, up to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<HeaderName>,
}

/// A header and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderSetting {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
}

/// A mirror and the share of the requests that it gets. Not both `percent` and `fraction`; without them it gets all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestMirror {
    /// The service that gets the copies; its weight has no effect.
    pub backend_ref: BackendRef,
    /// The percentage of the requests that is copied. 0 to 100; not together with `fraction`. Without both, all are copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// The share of the requests that is copied, as a fraction; not together with `percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fraction {
    /// The numerator of the share, at most `denominator`.
    pub numerator: u32,
    /// The denominator of the share, at least 1.
    #[serde(default = "hundred")]
    pub denominator: NonZeroU32,
}

const fn hundred() -> NonZeroU32 {
    NonZeroU32::new(100).expect("100 is not 0")
}

impl RequestMirror {
    /// The share of the requests that is copied.
    pub const fn share(&self) -> Fraction {
        match (self.fraction, self.percent) {
            (Some(fraction), _) => fraction,
            (None, Some(percent)) => Fraction { numerator: percent, denominator: hundred() },
            (None, None) => Fraction { numerator: 1, denominator: NonZeroU32::MIN },
        }
    }
}

/// The redirect; parts that are not given are as requested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestRedirect {
    /// The scheme to redirect to. Default: as requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The host to redirect to, without `*`. Default: as requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// The port to redirect to. Default: that of `scheme` if it is given, otherwise the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// The status of the answer: 301, 302, 303, 307 or 308.
    pub status_code: RedirectStatus,
}

/// A scheme of URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// The status of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectStatus {
    /// 301, permanent; clients may replace POST with GET.
    MovedPermanently,
    /// 302, temporary; clients may replace POST with GET.
    #[default]
    Found,
    /// 303, to be read with GET.
    SeeOther,
    /// 307, temporary, with the same method.
    TemporaryRedirect,
    /// 308, permanent, with the same method.
    PermanentRedirect,
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        match status {
            RedirectStatus::MovedPermanently => 301,
            RedirectStatus::Found => 302,
            RedirectStatus::SeeOther => 303,
            RedirectStatus::TemporaryRedirect => 307,
            RedirectStatus::PermanentRedirect => 308,
        }
    }
}

/// Why a number is not a status of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the status of a redirect must be 301, 302, 303, 307 or 308, not {0}")]
pub struct RedirectStatusError(u16);

impl TryFrom<u16> for RedirectStatus {
    type Error = RedirectStatusError;

    fn try_from(status: u16) -> Result<Self, RedirectStatusError> {
        let all = [
            Self::MovedPermanently,
            Self::Found,
            Self::SeeOther,
            Self::TemporaryRedirect,
            Self::PermanentRedirect,
        ];
        all.into_iter().find(|it| u16::from(*it) == status).ok_or(RedirectStatusError(status))
    }
}

impl JsonSchema for RedirectStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RedirectStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The status of a redirect: 301, 302, 303, 307 or 308.",
            "type": "integer",
            "enum": [301, 302, 303, 307, 308],
        })
    }
}

/// The changes of the request; parts that are not given are as requested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct UrlRewrite {
    /// The new host, without `*`. `X-Forwarded-Host` has the requested one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// Replaces the path; the query is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PathModifierFields", into = "PathModifierFields")]
pub enum PathModifier {
    /// The new path.
    ReplaceFullPath(UrlPath),
    /// The replacement of the prefix of the rule's only match.
    ReplacePrefixMatch(UrlPath),
}

/// Replaces the path: `type` is the replaced part, and the field of the same name the replacement.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PathModifierFields {
    /// The part of the path that is replaced.
    #[serde(rename = "type")]
    kind: PathModifierType,
    /// The new path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_full_path: Option<UrlPath>,
    /// The replacement of the matched prefix; the rule must have exactly one match, by PathPrefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_prefix_match: Option<UrlPath>,
}

/// The part of a path that is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum PathModifierType {
    /// The whole path.
    #[default]
    ReplaceFullPath,
    /// The matched prefix.
    ReplacePrefixMatch,
}

/// Why the fields of a path are invalid.
#[derive(Debug, thiserror::Error)]
#[error("give the field of the `type`, replaceFullPath or replacePrefixMatch, and no other")]
struct PathModifierError;

impl TryFrom<PathModifierFields> for PathModifier {
    type Error = PathModifierError;

    fn try_from(fields: PathModifierFields) -> Result<Self, PathModifierError> {
        match (fields.kind, fields.replace_full_path, fields.replace_prefix_match) {
            (PathModifierType::ReplaceFullPath, Some(path), None) => Ok(Self::ReplaceFullPath(path)),
            (PathModifierType::ReplacePrefixMatch, None, Some(path)) => Ok(Self::ReplacePrefixMatch(path)),
            (PathModifierType::ReplaceFullPath | PathModifierType::ReplacePrefixMatch, _, _) => {
                Err(PathModifierError)
            }
        }
    }
}

impl From<PathModifier> for PathModifierFields {
    fn from(modifier: PathModifier) -> Self {
        match modifier {
            PathModifier::ReplaceFullPath(path) => Self {
                kind: PathModifierType::ReplaceFullPath,
                replace_full_path: Some(path),
                replace_prefix_match: None,
            },
            PathModifier::ReplacePrefixMatch(path) => Self {
                kind: PathModifierType::ReplacePrefixMatch,
                replace_full_path: None,
                replace_prefix_match: Some(path),
            },
        }
    }
}
