//! What people declare of a metric that Homeostat does not meter itself: where its numbers come from.
//!
//! A source is found by the name of its metric, as Kubernetes' metrics adapters are: a HorizontalPodAutoscaler says which metric it
//! scales by, and knows nothing of where that is measured.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientTls, Metadata, PortName, PostgresOrigin, RedisOrigin, Secret, Span};
use crate::measure::{MetricKey, Whose};
use crate::name::ServiceName;

/// From one measurement to the next when nothing is said.
pub const MEASURE_EVERY_DEFAULT: Span = Span::from_secs(5);

/// How long a measurement may take when nothing is said.
pub const MEASURE_TIMEOUT_DEFAULT: Span = Span::from_secs(5);

/// Sources at most: each has a task, and keeps up to [`SERIES_MAX`] series.
pub const METRIC_SOURCES_MAX: usize = 1000;

/// Series of one source at most. What scales a service is a handful; more is a query that forgot to sum.
pub const SERIES_MAX: usize = 1000;

/// Longest URL, in bytes: what the usual servers take in a request line (RFC 9112, section 3).
pub const URL_LEN_MAX: usize = 8000;

/// Where the numbers of one metric come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricSource {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: MetricSourceSpec,
}

/// Which metric is measured, from what, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricSourceSpec {
    /// The name that autoscalers use for the metric. 1 to 253 bytes without space. It is a metric of type Pods when it comes from
    /// `replicas`, of type Object when it has `of`, else of type External.
    pub metric: String,
    /// The object that the metric describes, as the `describedObject` of a metric of type Object names it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<MeasuredObject>,
    /// Where the numbers come from.
    pub from: MetricOrigin,
    /// The time from the start of one measurement to the start of the next, which waits until the one before has ended.
    /// 100ms to 1h.
    #[serde(default = "every_default")]
    pub every: Span,
    /// How long a measurement may take. 1ms to 1h.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// How long a measurement is used while later ones fail or do not come; at least `every`, at most 1d. Default: three times
    /// `every` plus `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after: Option<Span>,
}

/// An object that a metric is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MeasuredObject {
    /// Its kind, such as Ingress.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Where the numbers of a metric come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "OriginFields", into = "OriginFields")]
pub enum MetricOrigin {
    /// A server that answers PromQL.
    Prometheus(PrometheusOrigin),
    /// A page of JSON.
    Http(HttpOrigin),
    /// What a program prints.
    Command(CommandOrigin),
    /// A queue in Redis.
    Redis(RedisOrigin),
    /// A query to PostgreSQL.
    Postgres(PostgresOrigin),
    /// What each replica of a service reports, such as in its `/metrics`.
    Replicas(ReplicasOrigin),
}

/// A server that answers PromQL, such as Prometheus, Thanos, Mimir or VictoriaMetrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PrometheusOrigin {
    /// The base URL of the server; `/api/v1/query` is appended.
    pub url: HttpUrl,
    /// Which authorities to trust for an `https://` URL, and which certificate to show. Default: those that the system trusts,
    /// and none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The PromQL query: an expression whose value is a scalar or an instant vector. Its series keep their labels, by which the
    /// `selector` of a metric selects. 1 to 4096 bytes.
    pub query: String,
    /// The file with a bearer token for the server (RFC 6750), read anew each time; a relative path starts from the folder of the
    /// manifest. Default: no token is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
}

/// A page of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpOrigin {
    /// The URL of the page. It is fetched with GET, and redirects are not followed.
    pub url: HttpUrl,
    /// Which authorities to trust for an `https://` URL, and which certificate to show. Default: those that the system trusts,
    /// and none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The values to take from it, as a JSONPath (RFC 9535) such as `$.queue.length`. Each must be a number, or a text that holds
    /// one, and is a series without labels.
    pub value: JsonPath,
    /// The file with a bearer token for the server (RFC 6750), read anew each time; a relative path starts from the folder of the
    /// manifest. Default: no token is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
}

/// What a program prints: one number, or metrics as Prometheus or OpenMetrics text. Exit codes other than 0 are failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CommandOrigin {
    /// The program and its arguments, run without a shell, as the user and with the environment of Homeostat.
    #[schemars(length(min = 1))]
    pub argv: Vec<String>,
    /// The folder that it runs in; a relative path starts from the folder of the manifest. Default: that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// The name of the metric to take from what is printed. Default: `spec.metric`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
}

/// What each replica of a service says of itself, as Prometheus or OpenMetrics text. Counters become rates, and their resets are seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReplicasOrigin {
    /// The service whose replicas are asked.
    pub service: ServiceName,
    /// The name of the port. Default: the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// The path and query to ask for, beginning with `/`.
    #[serde(default = "metrics_path")]
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// The name of the metric to take from the page. Default: `spec.metric`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// The time over which the rate of a counter is taken; one to twenty times `every`. Default: three times `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
}

/// Where the numbers of a metric come from: exactly one of `prometheus`, `http`, `command`, `redis`, `postgres` and `replicas`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [
    {"required": ["prometheus"]}, {"required": ["http"]}, {"required": ["command"]},
    {"required": ["redis"]}, {"required": ["postgres"]}, {"required": ["replicas"]}
]))]
struct OriginFields {
    /// A server that answers PromQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prometheus: Option<PrometheusOrigin>,
    /// A page of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpOrigin>,
    /// What a program prints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<CommandOrigin>,
    /// How many entries a queue in Redis has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<RedisOrigin>,
    /// The number that a query to PostgreSQL gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    postgres: Option<PostgresOrigin>,
    /// What each replica of a service reports, such as in its `/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<ReplicasOrigin>,
}

/// The fields of `from` name no origin, or several.
#[derive(Debug, thiserror::Error)]
#[error(
    "a metric comes from one place: give exactly one of prometheus, http, command, redis, postgres and replicas"
)]
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
    /// What autoscalers find it by.
    pub fn key(&self) -> MetricKey {
        let whose = match (self.from.replicas(), &self.of) {
            (Some(origin), _) => Whose::Replicas(origin.service.clone()),
            (None, Some(of)) => {
                Whose::Object { kind: of.kind.as_str().into(), name: of.name.as_str().into() }
            }
            (None, None) => Whose::Outside,
        };
        MetricKey { metric: self.metric.as_str().into(), whose }
    }

    /// The time over which a counter of a replica becomes a rate: four readings, when nothing is said, of which two may fail.
    pub fn rate_window(&self) -> Duration {
        let default = || Duration::from(self.every) * 3;
        self.from.replicas().and_then(|origin| origin.window).map_or_else(default, Duration::from)
    }

    /// For how long a measurement stands while no other one comes.
    pub fn stale_after(&self) -> Duration {
        let default = || Duration::from(self.every) * 3 + Duration::from(self.timeout);
        self.stale_after.map_or_else(default, Duration::from)
    }
}

impl MetricOrigin {
    /// The replicas that are asked; `None` when somebody else is.
    pub const fn replicas(&self) -> Option<&ReplicasOrigin> {
        match self {
            Self::Replicas(origin) => Some(origin),
            Self::Prometheus(_) | Self::Http(_) | Self::Command(_) | Self::Redis(_) | Self::Postgres(_) => {
                None
            }
        }
    }

    /// The file of the token that is shown to the server.
    pub fn bearer_token_file(&self) -> Option<&str> {
        match self {
            Self::Prometheus(PrometheusOrigin { bearer_token_file, .. })
            | Self::Http(HttpOrigin { bearer_token_file, .. }) => bearer_token_file.as_deref(),
            Self::Command(_) | Self::Redis(_) | Self::Postgres(_) | Self::Replicas(_) => None,
        }
    }

    /// The page that is asked for; `None` for what is asked otherwise.
    pub const fn page(&self) -> Option<&HttpUrl> {
        match self {
            Self::Prometheus(PrometheusOrigin { url, .. }) | Self::Http(HttpOrigin { url, .. }) => Some(url),
            Self::Command(_) | Self::Redis(_) | Self::Postgres(_) | Self::Replicas(_) => None,
        }
    }

    /// What is said of TLS to the server.
    pub const fn tls(&self) -> Option<&ClientTls> {
        match self {
            Self::Prometheus(PrometheusOrigin { tls, .. })
            | Self::Http(HttpOrigin { tls, .. })
            | Self::Redis(RedisOrigin { tls, .. })
            | Self::Postgres(PostgresOrigin { tls, .. }) => tls.as_ref(),
            Self::Command(_) | Self::Replicas(_) => None,
        }
    }

    /// Where the password for the server is.
    pub const fn password(&self) -> Option<&Secret> {
        match self {
            Self::Redis(RedisOrigin { password, .. }) | Self::Postgres(PostgresOrigin { password, .. }) => {
                password.as_ref()
            }
            Self::Prometheus(_) | Self::Http(_) | Self::Command(_) | Self::Replicas(_) => None,
        }
    }
}

/// The address of a page that is asked for by HTTP, with TLS or without, and without a name or password in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl(Arc<str>);

/// Why a text is no URL that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// It is no URL.
    #[error("{url:?} is no URL: {why}; write http://HOST:PORT/PATH or https://HOST:PORT/PATH")]
    Malformed {
        /// What was written.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// It names no host, or another scheme.
    #[error("the URL begins with http:// or https:// and a host")]
    Scheme,
    /// It names a user.
    #[error(
        "a name or password in a URL would be seen by all who may read it; name a file with a token under bearerTokenFile"
    )]
    User,
    /// Longer than [`URL_LEN_MAX`].
    #[error("a URL has at most {URL_LEN_MAX} bytes, this one {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl HttpUrl {
    /// Checks `text` and takes it as a URL.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        if text.len() > URL_LEN_MAX {
            return Err(HttpUrlError::TooLong { len: text.len() });
        }
        let malformed = |why: String| HttpUrlError::Malformed { url: text.to_owned(), why };
        let uri: http::Uri =
            text.parse().map_err(|error: http::uri::InvalidUri| malformed(error.to_string()))?;
        if text.contains('#') {
            return Err(malformed("a fragment is not sent to a server".to_owned()));
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

    /// Whether what is said there is said over TLS.
    pub fn is_https(&self) -> bool {
        // Schemes are read without regard to their case (RFC 3986, section 3.1).
        self.0.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A query in JSON (RFC 9535).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JsonPath(Arc<str>);

/// Why a text is no query in JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no JSONPath: {why}; write such as $.queue.length (RFC 9535)")]
pub struct JsonPathError {
    path: String,
    why: String,
}

/// Longest query, in bytes: far beyond what names a number.
const JSON_PATH_LEN_MAX: usize = 1024;

impl JsonPath {
    /// Checks `text` and takes it as a query.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        let wrong = |why: String| JsonPathError { path: text.chars().take(80).collect(), why };
        if text.len() > JSON_PATH_LEN_MAX {
            return Err(wrong(format!("it has more than {JSON_PATH_LEN_MAX} bytes")));
        }
        serde_json_path::JsonPath::parse(text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self(text.into()))
    }

    /// The query as text.
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
        "description": "The address of a page: http://HOST:PORT/PATH, or https://HOST:PORT/PATH.",
        "type": "string",
        "pattern": "^https?://",
        "maxLength": URL_LEN_MAX,
    })
);
text!(
    JsonPath,
    JsonPathError,
    schemars::json_schema!({
        "description": "A query in JSON (RFC 9535), such as $.queue.length.",
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
    fn a_metric_comes_from_exactly_one_place() {
        let command = json!({"argv": ["./length"]});
        let http = json!({"url": "http://127.0.0.1:1/", "value": "$.length"});
        assert!(read(&json!({"command": command})).is_ok());
        for wrong in [json!({}), json!({"command": command, "http": http})] {
            assert!(read(&wrong).unwrap_err().contains("exactly one of"));
        }
    }

    #[test]
    fn what_autoscalers_find_it_by_follows_from_where_it_is_measured() {
        let command = read(&json!({"command": {"argv": ["x"]}})).unwrap();
        assert_eq!(command.key().whose, Whose::Outside);
        let of = MeasuredObject { kind: "Ingress".into(), name: "web".into() };
        let object = MetricSourceSpec { of: Some(of), ..command };
        assert_eq!(object.key().whose, Whose::Object { kind: "Ingress".into(), name: "web".into() });
        let replicas = read(&json!({"replicas": {"service": "shop"}})).unwrap();
        assert_eq!(replicas.key().whose, Whose::Replicas(ServiceName::parse("shop").unwrap()));
    }

    #[test]
    fn a_measurement_stands_for_three_beats_and_a_timeout_unless_said_otherwise() {
        let spec = read(&json!({"command": {"argv": ["x"]}})).unwrap();
        assert_eq!(spec.stale_after(), Duration::from_secs(20));
        let spec = MetricSourceSpec { stale_after: Some(Span::from_secs(7)), ..spec };
        assert_eq!(spec.stale_after(), Duration::from_secs(7));
    }

    #[test]
    fn a_url_names_a_host_and_holds_no_secret() {
        for good in ["http://localhost:9090", "https://[::1]:9090/prometheus", "http://a/b?c=d"] {
            assert_eq!(HttpUrl::parse(good).map(|url| url.to_string()), Ok(good.to_owned()));
        }
        for (wrong, why) in [
            ("ftp://a/", "begins with http://"),
            ("/metrics", "begins with http://"),
            ("http://me:secret@a/", "bearerTokenFile"),
            ("http://a/#b", "fragment"),
            ("http://a b/", "is no URL"),
            ("", "is no URL"),
        ] {
            let error = HttpUrl::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        let long = format!("http://a/{}", "b".repeat(URL_LEN_MAX));
        assert!(matches!(HttpUrl::parse(&long), Err(HttpUrlError::TooLong { .. })));
    }

    #[test]
    fn a_query_in_json_is_checked_when_it_is_written() {
        assert!(JsonPath::parse("$.queues[?@.name == 'mail'].length").is_ok());
        for wrong in ["", "length", "$.", "$[", &format!("$.{}", "a".repeat(JSON_PATH_LEN_MAX))] {
            let error = JsonPath::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("is no JSONPath"), "{error}");
        }
    }
}
