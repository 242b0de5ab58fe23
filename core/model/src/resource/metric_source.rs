//! Sources of metrics that Homeostat does not measure itself.
//!
//! A source is looked up by the name of its metric, as Kubernetes' metrics adapters are: a HorizontalPodAutoscaler names its metric and
//! does not depend on where that is measured.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientTls, Metadata, PortName, PostgresOrigin, RedisOrigin, Secret, Span};
use crate::measure::{MetricKey, MetricSubject};
use crate::name::ServiceName;

/// The default interval of measurements.
pub const MEASURE_EVERY_DEFAULT: Span = Span::from_secs(5);

/// The default timeout of a measurement.
pub const MEASURE_TIMEOUT_DEFAULT: Span = Span::from_secs(5);

/// The most sources: each has a task, and keeps up to [`SERIES_MAX`] series.
pub const METRIC_SOURCES_MAX: usize = 1000;

/// The most series of one source. A service is scaled by a few; more indicate a query without an aggregation.
pub const SERIES_MAX: usize = 1000;

/// The longest URL in bytes: the common limit of a request line (RFC 9112, section 3).
pub const URL_LEN_MAX: usize = 8000;

/// The source of one metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricSource {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// The desired state.
    pub spec: MetricSourceSpec,
}

/// The metric, its source, and the interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricSourceSpec {
    /// The name that autoscalers use for the metric. 1 to 253 bytes without space. It is a metric of type Pods when it comes from
    /// `replicas`, of type Object when it has `of`, else of type External.
    pub metric: String,
    /// The object that the metric describes, as the `describedObject` of a metric of type Object names it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<MeasuredObject>,
    /// The source of the measurements.
    pub from: MetricOrigin,
    /// The time from the start of one measurement to the start of the next, which waits for the end of the
    /// previous one. 100ms to 1h.
    #[serde(default = "every_default")]
    pub every: Span,
    /// How long a measurement may take. 1ms to 1h.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// How long a measurement is used while later ones fail or are missing; at least `every`, at most 1d. Default: three times
    /// `every` plus `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after: Option<Span>,
}

/// The object of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MeasuredObject {
    /// Its kind, such as Ingress.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The source of the measurements of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "OriginFields", into = "OriginFields")]
pub enum MetricOrigin {
    /// A server with a PromQL API.
    Prometheus(PrometheusOrigin),
    /// A JSON document.
    Http(HttpOrigin),
    /// The output of a command.
    Command(CommandOrigin),
    /// A queue in Redis.
    Redis(RedisOrigin),
    /// A query to PostgreSQL.
    Postgres(PostgresOrigin),
    /// The metrics that each replica of a service exposes, such as at `/metrics`.
    Replicas(ReplicasOrigin),
}

/// A server with a PromQL API, such as Prometheus, Thanos, Mimir or VictoriaMetrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PrometheusOrigin {
    /// The base URL of the server; `/api/v1/query` is appended.
    pub url: HttpUrl,
    /// The trusted authorities for an `https://` URL, and the client certificate. Default: the authorities that the system trusts, and no
    /// certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The PromQL query: an expression whose value is a scalar or an instant vector. Its series keep their labels, by which the
    /// `selector` of a metric selects. 1 to 4096 bytes.
    pub query: String,
    /// The file with a bearer token for the server (RFC 6750), read for each request; a relative path starts from the folder of the
    /// manifest. Default: no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
}

/// A JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpOrigin {
    /// The URL of the document. It is fetched with GET; redirects are not followed.
    pub url: HttpUrl,
    /// The trusted authorities for an `https://` URL, and the client certificate. Default: the authorities that the system trusts, and no
    /// certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The values to take from it, as a JSONPath (RFC 9535) such as `$.queue.length`. Each must be a number or a string with a number, and
    /// is a series without labels.
    pub value: JsonPath,
    /// The file with a bearer token for the server (RFC 6750), read for each request; a relative path starts from the folder of the
    /// manifest. Default: no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
}

/// The output of a command: one number, or metrics as Prometheus or OpenMetrics text. Exit codes other than 0 are failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CommandOrigin {
    /// The program and its arguments, run without a shell, as the user and with the environment of Homeostat.
    #[schemars(length(min = 1))]
    pub argv: Vec<String>,
    /// The folder that it runs in; a relative path starts from the folder of the manifest. Default: that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// The name of the metric in the output. Default: `spec.metric`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
}

/// The metrics that each replica of a service exposes, as Prometheus or OpenMetrics text. Counters are converted to rates, and their
/// resets are detected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReplicasOrigin {
    /// The service whose replicas are measured.
    pub service: ServiceName,
    /// The name of the port. Default: the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// The path and query of the request, beginning with `/`.
    #[serde(default = "metrics_path")]
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// The name of the metric in the response. Default: `spec.metric`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// The window of the rate of a counter; one to twenty times `every`. Default: three times `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
}

/// The source of the measurements of a metric: exactly one of `prometheus`, `http`, `command`, `redis`, `postgres` and `replicas`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [
    {"required": ["prometheus"]}, {"required": ["http"]}, {"required": ["command"]},
    {"required": ["redis"]}, {"required": ["postgres"]}, {"required": ["replicas"]}
]))]
struct OriginFields {
    /// A server with a PromQL API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prometheus: Option<PrometheusOrigin>,
    /// A JSON document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpOrigin>,
    /// The output of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<CommandOrigin>,
    /// The length of a queue in Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<RedisOrigin>,
    /// The result of a query to PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    postgres: Option<PostgresOrigin>,
    /// The metrics that each replica of a service exposes, such as at `/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<ReplicasOrigin>,
}

/// The fields of `from` name no source, or several.
#[derive(Debug, thiserror::Error)]
#[error("give exactly one of prometheus, http, command, redis, postgres and replicas")]
struct OriginError;

impl TryFrom<OriginFields> for MetricOrigin {
    type Error = OriginError;

    fn try_from(fields: OriginFields) -> Result<Self, OriginError> {
        let OriginFields { prometheus, http, command, redis, postgres, replicas } = fields;
        let given = [
            prometheus.map(Self::Prometheus),
            http.map(Self::Http),
            command.map(Self::Command),
            redis.map(Self::Redis),
            postgres.map(Self::Postgres),
            replicas.map(Self::Replicas),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(origin), None) => Ok(origin),
            (None, _) | (Some(_), Some(_)) => Err(OriginError),
        }
    }
}

impl From<MetricOrigin> for OriginFields {
    fn from(origin: MetricOrigin) -> Self {
        let mut fields =
            Self { prometheus: None, http: None, command: None, redis: None, postgres: None, replicas: None };
        match origin {
            MetricOrigin::Prometheus(origin) => fields.prometheus = Some(origin),
            MetricOrigin::Http(origin) => fields.http = Some(origin),
            MetricOrigin::Command(origin) => fields.command = Some(origin),
            MetricOrigin::Redis(origin) => fields.redis = Some(origin),
            MetricOrigin::Postgres(origin) => fields.postgres = Some(origin),
            MetricOrigin::Replicas(origin) => fields.replicas = Some(origin),
        }
        fields
    }
}

const fn every_default() -> Span {
    MEASURE_EVERY_DEFAULT
}

const fn timeout_default() -> Span {
    MEASURE_TIMEOUT_DEFAULT
}

fn metrics_path() -> String {
    "/metrics".to_owned()
}

impl MetricSource {
    /// The name of the source.
    pub const fn name(&self) -> &ServiceName {
        &self.metadata.name
    }
}

impl MetricSourceSpec {
    /// The key by which autoscalers look it up.
    pub fn key(&self) -> MetricKey {
        let subject = match (self.from.replicas(), &self.of) {
            (Some(origin), _) => MetricSubject::Replicas(origin.service.clone()),
            (None, Some(of)) => {
                MetricSubject::Object { kind: of.kind.as_str().into(), name: of.name.as_str().into() }
            }
            (None, None) => MetricSubject::External,
        };
        MetricKey { metric: self.metric.as_str().into(), subject }
    }

    /// The window of the rate of a counter: by default four measurements, of which two may fail.
    pub fn rate_window(&self) -> Duration {
        let default = || Duration::from(self.every) * 3;
        self.from.replicas().and_then(|origin| origin.window).map_or_else(default, Duration::from)
    }

    /// How long a measurement is used while there is no newer one.
    pub fn stale_after(&self) -> Duration {
        let default = || Duration::from(self.every) * 3 + Duration::from(self.timeout);
        self.stale_after.map_or_else(default, Duration::from)
    }
}

impl MetricOrigin {
    /// The replicas that are measured; `None` for other sources.
    pub const fn replicas(&self) -> Option<&ReplicasOrigin> {
        match self {
            Self::Replicas(origin) => Some(origin),
            Self::Prometheus(_) | Self::Http(_) | Self::Command(_) | Self::Redis(_) | Self::Postgres(_) => {
                None
            }
        }
    }

    /// The file of the token for the server.
    pub fn bearer_token_file(&self) -> Option<&str> {
        match self {
            Self::Prometheus(PrometheusOrigin { bearer_token_file, .. })
            | Self::Http(HttpOrigin { bearer_token_file, .. }) => bearer_token_file.as_deref(),
            Self::Command(_) | Self::Redis(_) | Self::Postgres(_) | Self::Replicas(_) => None,
        }
    }

    /// The URL that is requested; `None` for sources without one.
    pub const fn page(&self) -> Option<&HttpUrl> {
        match self {
            Self::Prometheus(PrometheusOrigin { url, .. }) | Self::Http(HttpOrigin { url, .. }) => Some(url),
            Self::Command(_) | Self::Redis(_) | Self::Postgres(_) | Self::Replicas(_) => None,
        }
    }

    /// The TLS settings for the server.
    pub const fn tls(&self) -> Option<&ClientTls> {
        match self {
            Self::Prometheus(PrometheusOrigin { tls, .. })
            | Self::Http(HttpOrigin { tls, .. })
            | Self::Redis(RedisOrigin { tls, .. })
            | Self::Postgres(PostgresOrigin { tls, .. }) => tls.as_ref(),
            Self::Command(_) | Self::Replicas(_) => None,
        }
    }

    /// The file of the password for the server.
    pub const fn password(&self) -> Option<&Secret> {
        match self {
            Self::Redis(RedisOrigin { password, .. }) | Self::Postgres(PostgresOrigin { password, .. }) => {
                password.as_ref()
            }
            Self::Prometheus(_) | Self::Http(_) | Self::Command(_) | Self::Replicas(_) => None,
        }
    }
}

/// The URL of an HTTP or HTTPS request, without a user name or password.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl(Arc<str>);

/// Why a text is not a valid URL of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// It is not a URL.
    #[error("{url:?} is not a URL: {why}; write http://HOST:PORT/PATH or https://HOST:PORT/PATH")]
    Malformed {
        /// The text.
        url: String,
        /// Why.
        why: String,
    },
    /// It has no host, or another scheme.
    #[error("a URL must begin with http:// or https:// and a host")]
    Scheme,
    /// It has a user name.
    #[error(
        "a URL must not contain a user name or password, since everyone who can read it would see them; name a file with a token in \
         bearerTokenFile"
    )]
    User,
    /// Longer than [`URL_LEN_MAX`].
    #[error("a URL must have at most {URL_LEN_MAX} bytes, not {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl HttpUrl {
    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        if text.len() > URL_LEN_MAX {
            return Err(HttpUrlError::TooLong { len: text.len() });
        }
        let malformed = |why: String| HttpUrlError::Malformed { url: text.to_owned(), why };
        let uri: http::Uri =
            text.parse().map_err(|error: http::uri::InvalidUri| malformed(error.to_string()))?;
        if text.contains('#') {
            return Err(malformed("fragments are not sent to servers".to_owned()));
        }
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(HttpUrlError::Scheme);
        };
        if authority.as_str().contains('@') {
            return Err(HttpUrlError::User);
        }
        if authority.host().is_empty() {
            return Err(HttpUrlError::Scheme);
        }
        Ok(Self(text.into()))
    }

    /// Whether the connection uses TLS.
    pub fn is_https(&self) -> bool {
        // Schemes are read without regard to their case (RFC 3986, section 3.1).
        self.0.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A JSONPath (RFC 9535).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JsonPath(Arc<str>);

/// Why a text is not a JSONPath.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a JSONPath: {why}; write one such as $.queue.length (RFC 9535)")]
pub struct JsonPathError {
    path: String,
    why: String,
}

/// The longest JSONPath in bytes: far more than needed.
const JSON_PATH_LEN_MAX: usize = 1024;

impl JsonPath {
    /// Parses a JSONPath.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        let wrong = |why: String| JsonPathError { path: text.chars().take(80).collect(), why };
        if text.len() > JSON_PATH_LEN_MAX {
            return Err(wrong(format!("it has more than {JSON_PATH_LEN_MAX} bytes")));
        }
        serde_json_path::JsonPath::parse(text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self(text.into()))
    }

    /// The JSONPath as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text {
    ($name:ident, $error:ident, $schema:expr) => {
        crate::text::as_text!($name);

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::parse(text)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}

text!(
    HttpUrl,
    HttpUrlError,
    schemars::json_schema!({
        "description": "A URL: http://HOST:PORT/PATH or https://HOST:PORT/PATH.",
        "type": "string",
        "pattern": "^https?://",
        "maxLength": URL_LEN_MAX,
    })
);
text!(
    JsonPath,
    JsonPathError,
    schemars::json_schema!({
        "description": "A JSONPath (RFC 9535), such as $.queue.length.",
        "type": "string",
        "pattern": "^\\$",
        "maxLength": JSON_PATH_LEN_MAX,
    })
);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(from: &Value) -> Result<MetricSourceSpec, String> {
        serde_json::from_value(json!({"metric": "queue_length", "from": from}))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_metric_has_exactly_one_origin() {
        let command = json!({"argv": ["./length"]});
        let http = json!({"url": "http://127.0.0.1:1/", "value": "$.length"});
        assert!(read(&json!({"command": command})).is_ok());
        for wrong in [json!({}), json!({"command": command, "http": http})] {
            assert!(read(&wrong).unwrap_err().contains("exactly one of"));
        }
    }

    #[test]
    fn the_key_follows_from_the_origin() {
        let command = read(&json!({"command": {"argv": ["x"]}})).unwrap();
        assert_eq!(command.key().subject, MetricSubject::External);
        let of = MeasuredObject { kind: "Ingress".into(), name: "web".into() };
        let object = MetricSourceSpec { of: Some(of), ..command };
        assert_eq!(
            object.key().subject,
            MetricSubject::Object { kind: "Ingress".into(), name: "web".into() }
        );
        let replicas = read(&json!({"replicas": {"service": "shop"}})).unwrap();
        assert_eq!(replicas.key().subject, MetricSubject::Replicas(ServiceName::parse("shop").unwrap()));
    }

    #[test]
    fn by_default_a_measurement_is_valid_for_three_intervals_and_a_timeout() {
        let spec = read(&json!({"command": {"argv": ["x"]}})).unwrap();
        assert_eq!(spec.stale_after(), Duration::from_secs(20));
        let spec = MetricSourceSpec { stale_after: Some(Span::from_secs(7)), ..spec };
        assert_eq!(spec.stale_after(), Duration::from_secs(7));
    }

    #[test]
    fn a_url_has_a_host_and_no_credentials() {
        for good in ["http://localhost:9090", "https://[::1]:9090/prometheus", "http://a/b?c=d"] {
            assert_eq!(HttpUrl::parse(good).map(|url| url.to_string()), Ok(good.to_owned()));
        }
        for (wrong, why) in [
            ("ftp://a/", "begin with http://"),
            ("/metrics", "begin with http://"),
            ("http://me:secret@a/", "bearerTokenFile"),
            ("http://a/#b", "fragment"),
            ("http://a b/", "is not a URL"),
            ("", "is not a URL"),
        ] {
            let error = HttpUrl::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        let long = format!("http://a/{}", "b".repeat(URL_LEN_MAX));
        assert!(matches!(HttpUrl::parse(&long), Err(HttpUrlError::TooLong { .. })));
    }

    #[test]
    fn a_json_path_is_validated() {
        assert!(JsonPath::parse("$.queues[?@.name == 'mail'].length").is_ok());
        for wrong in ["", "length", "$.", "$[", &format!("$.{}", "a".repeat(JSON_PATH_LEN_MAX))] {
            let error = JsonPath::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("is not a JSONPath"), "{error}");
        }
    }
}
