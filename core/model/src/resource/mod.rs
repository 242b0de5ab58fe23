//! Resources as users declare them: the kinds, their fields, and how they are validated.
//!
//! A resource consists of `apiVersion`, `kind`, `metadata` and `spec`. Every text is parsed into its type, unknown fields are errors, and a
//! round trip is lossless. Reading files, and locating errors in them, is up to crate `manifest`; this module does no I/O.
//!
//! ```
//! use model::resource::Resource;
//!
//! let written = serde_json::json!({
//!     "apiVersion": "homeostat/v1",
//!     "kind": "Service",
//!     "metadata": {"name": "shop"},
//!     "spec": {"run": {"command": ["./shop"]}, "scale": {"replicas": 3}},
//! });
//! let resource: Resource = serde_json::from_value(written).unwrap();
//! assert_eq!(resource.name(), "shop");
//! ```

mod access_log;
mod acme;
mod autoscaler;
pub mod check;
mod elsewhere;
mod external;
mod forecasting;
mod formula;
mod fraction;
pub mod hpa;
mod known_event;
mod learned;
mod metadata;
mod metric_source;
mod outliers;
mod policy;
mod port;
mod probe;
mod problem;
mod proxied;
mod quantity;
mod queue;
mod resilience;
pub mod route;
mod scale;
mod schedule;
pub mod schema;
mod service;
mod shadow;
mod sizes;
mod slo;
mod span;
mod tls;
mod vertical;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

pub use self::access_log::{AccessLog, AccessLogFormat};
pub use self::acme::{ACME_HOSTS_MAX, Acme, AcmeChallenge};
pub use self::autoscaler::{
    AutoscalerSpec, Behavior, CPU_UTILIZATION_DEFAULT, Fallback, MIN_REPLICAS_DEFAULT, MeteredResource,
    MetricIdentifier, MetricSpec, Percent, PolicyChange, REQUEST_RATE_METRIC, RESPONSE_TIME_METRIC,
    ResourceTarget, SCALE_IN_STABILIZATION_DEFAULT, ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
    is_of_proxy,
};
pub use self::elsewhere::{
    ENDPOINT_WEIGHT_MAX, ENDPOINTS_ELSEWHERE_MAX, ElsewhereEndpoint, EndpointAddress, EndpointAddressError,
    TrafficDistribution,
};
pub use self::external::{
    CANDIDATE, EXTERNALS_MAX, External, ExternalFormat, ExternalName, ExternalNameError,
};
pub use self::forecasting::{
    FORECAST_SHADOW, ForecastMode, Forecasting, Quantile, QuantileError, STEPS_AHEAD_MAX,
};
pub use self::formula::{
    FORMULA_LEN_MAX, FORMULA_NESTING_MAX, FORMULA_TOKENS_MAX, Formula, FormulaError, Undefined,
};
pub use self::fraction::{Fraction, FractionError};
pub use self::hpa::HorizontalPodAutoscaler;
pub use self::known_event::{
    ClockTime, ClockTimeError, EventEffect, EventStart, Factor, FactorError, KnownEvent,
};
pub use self::learned::{LEARNED_VERSION, LearnedPrice, PriceSensitivity};
pub use self::metadata::{
    Metadata, OBJECT_NAME_LEN_MAX, ObjectMeta, ObjectName, ResourceVersion, ResourceVersionError,
};
pub use self::metric_source::{
    CommandOrigin, HttpOrigin, HttpUrl, HttpUrlError, JsonPath, JsonPathError, MEASURE_EVERY_DEFAULT,
    MEASURE_TIMEOUT_DEFAULT, METRIC_SOURCES_MAX, MeasuredObject, MetricOrigin, MetricSource,
    MetricSourceSpec, PrometheusOrigin, ReplicasOrigin, SERIES_MAX, URL_LEN_MAX,
};
pub use self::outliers::{Outliers, SlowReplica};
pub use self::policy::{
    BurstPolicy, CompositePolicy, Cooldown, EVALUATIONS_MAX, Evaluation, FormulaPolicy, FormulaTarget,
    PANICS_PER_STABLE_MAX, READY_REPLICAS_NAME, REPLICAS_NAME, ScalePolicy, ScaleStep, StepChange,
    StepPolicy, TrackingPolicy, WatermarkPolicy,
};
pub use self::port::{
    ListenAddress, ListenAddressError, PORT_NAME_LEN_MAX, Port, PortName, PortNameError, Protocol,
};
pub use self::probe::{
    Check, EVERY_DEFAULT, FAILURES_DEFAULT, GRPC_SERVICE_BYTES_MAX, GrpcCheck, HttpCheck, Probe, Probes,
    STARTUP_FAILURES_DEFAULT, TIMEOUT_DEFAULT, TcpCheck,
};
pub use self::problem::{Problem, Problems};
pub use self::proxied::{ProxyProtocol, ProxyVersion};
pub use self::quantity::{QUANTITY_LEN_MAX, Quantity, QuantityError};
pub use self::queue::{
    POSTGRES_PORT_DEFAULT, PostgresOrigin, REDIS_PORT_DEFAULT, RedisOrigin, RedisQueue, RedisStream,
    SERVER_ADDRESS_LEN_MAX, Secret, ServerAddress, ServerAddressError,
};
pub use self::resilience::{Adaptive, HEDGE_PERCENTILE, Hedge, IN_FLIGHT_MAX, Limits, TOLERANCE_PERCENT_MAX};
pub use self::route::{Route, RouteSpec};
pub use self::scale::{AutoScale, Count, Flaps, REPLICAS_MAX, Remove, Scale, ScaleMode, ToZero};
pub use self::schedule::{Bounds, Cron, CronError, Schedule, Window, Zone, ZoneError};
pub use self::service::{
    Balance, Dependency, DependencyStage, Expose, HashKey, Recover, Resources, Run, SPARES_MAX, Service,
    ServiceSpec, Signal, Stop, Timeouts, Update,
};
pub use self::shadow::{SHADOWS_MAX, Shadow};
pub use self::sizes::{RoundedSize, SIZES_MAX, Sizes};
pub use self::slo::{LatencySlo, SLO_LATENCY_MAX, SLO_LATENCY_MIN, Slo};
pub use self::span::{Span, SpanError};
pub use self::tls::{CERTIFICATES_MAX, CertificateFiles, ClientTls, Tls};
pub use self::vertical::{AmountRange, Vertical, VerticalMode};

/// A resource of any kind.
///
/// In JSON and YAML it is one object with `apiVersion` and `kind`; only formats that describe themselves can hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most resources are services, and there are few of them")]
pub enum Resource {
    /// Replicas of one program.
    Service(Service),
    /// An autoscaler of a service, as in Kubernetes.
    HorizontalPodAutoscaler(HorizontalPodAutoscaler),
    /// A listener that routes requests to services.
    Route(Route),
    /// Where a metric is measured.
    MetricSource(MetricSource),
}

/// Which kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Replicas of one program.
    Service,
    /// An autoscaler of a service.
    HorizontalPodAutoscaler,
    /// A listener that routes requests to services.
    Route,
    /// Where a metric is measured.
    MetricSource,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::Service, Self::HorizontalPodAutoscaler, Self::Route, Self::MetricSource];

    /// The `kind` in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Route => "Route",
            Self::MetricSource => "MetricSource",
        }
    }

    /// The versions of the API in which this kind is read, newest first.
    pub const fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Service | Self::Route | Self::MetricSource => &["homeostat/v1"],
            Self::HorizontalPodAutoscaler => {
                &["autoscaling/v2", "autoscaling/v2beta2", "autoscaling/v2beta1", "autoscaling/v1"]
            }
        }
    }

    /// Parses the name of a kind in any case, its plural, or its short name (`svc`, `hpa`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "service" | "services" | "svc" => Some(Self::Service),
            "horizontalpodautoscaler" | "horizontalpodautoscalers" | "hpa" => {
                Some(Self::HorizontalPodAutoscaler)
            }
            "route" | "routes" => Some(Self::Route),
            "metricsource" | "metricsources" => Some(Self::MetricSource),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Resource {
    /// Which kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::HorizontalPodAutoscaler(_) => Kind::HorizontalPodAutoscaler,
            Self::Route(_) => Kind::Route,
            Self::MetricSource(_) => Kind::MetricSource,
        }
    }

    /// The `apiVersion` that it is written under.
    pub const fn api_version(&self) -> &'static str {
        match self {
            Self::Service(_) | Self::Route(_) | Self::MetricSource(_) => "homeostat/v1",
            Self::HorizontalPodAutoscaler(hpa) => hpa.api_version(),
        }
    }

    /// The name of the resource, which is unique within its kind.
    pub fn name(&self) -> &str {
        match self {
            Self::Service(service) => service.metadata.name.as_str(),
            Self::HorizontalPodAutoscaler(hpa) => hpa.name().as_str(),
            Self::Route(route) => route.name().as_str(),
            Self::MetricSource(source) => source.name().as_str(),
        }
    }

    /// Removes `metadata.resourceVersion`, which is not part of the declaration, and returns it; `None` for one of a Kubernetes API server.
    pub fn take_version(&mut self) -> Option<ResourceVersion> {
        match self {
            Self::Service(service) => service.metadata.resource_version.take(),
            Self::HorizontalPodAutoscaler(hpa) => {
                hpa.metadata_mut().resource_version.take().and_then(|text| ResourceVersion::parse(&text).ok())
            }
            Self::Route(route) => route.metadata.resource_version.take(),
            Self::MetricSource(source) => source.metadata.resource_version.take(),
        }
    }

    /// The resource with this `metadata.resourceVersion`.
    #[must_use]
    pub fn with_version(mut self, version: ResourceVersion) -> Self {
        match &mut self {
            Self::Service(service) => service.metadata.resource_version = Some(version),
            Self::HorizontalPodAutoscaler(hpa) => {
                hpa.metadata_mut().resource_version = Some(version.to_string());
            }
            Self::Route(route) => route.metadata.resource_version = Some(version),
            Self::MetricSource(source) => source.metadata.resource_version = Some(version),
        }
        self
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'r, T> {
            api_version: &'static str,
            kind: &'static str,
            #[serde(flatten)]
            rest: &'r T,
        }

        fn write<T: Serialize, S: Serializer>(
            r: &Resource,
            rest: &T,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            Written { api_version: r.api_version(), kind: r.kind().as_str(), rest }.serialize(serializer)
        }

        match self {
            Self::Service(service) => write(self, service, serializer),
            Self::HorizontalPodAutoscaler(HorizontalPodAutoscaler::V1(form)) => write(self, form, serializer),
            Self::HorizontalPodAutoscaler(HorizontalPodAutoscaler::V2beta1(form)) => {
                write(self, form, serializer)
            }
            Self::HorizontalPodAutoscaler(HorizontalPodAutoscaler::V2beta2(form)) => {
                write(self, form, serializer)
            }
            Self::HorizontalPodAutoscaler(HorizontalPodAutoscaler::V2(form)) => write(self, form, serializer),
            Self::Route(route) => write(self, route, serializer),
            Self::MetricSource(source) => write(self, source, serializer),
        }
    }
}

/// Reads `apiVersion` and `kind`, then the rest accordingly. A `status` is ignored, so that output of the API can be read.
impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Map::deserialize(deserializer)?;
        Self::of(object).map_err(serde::de::Error::custom)
    }
}

impl Resource {
    /// Reads a resource from a JSON object.
    ///
    /// Separate from [`Deserialize`], which is generic and compiled in every crate that uses it: the code for all kinds takes hundreds of
    /// kilobytes, and is compiled only here.
    fn of(mut object: Map<String, Value>) -> Result<Self, serde_json::Error> {
        use serde::de::Error;

        let mut take = |key: &'static str| match object.remove(key) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(serde_json::Error::custom(format!("{key} must be a string"))),
            None => Err(serde_json::Error::missing_field(key)),
        };
        let (api_version, kind) = (take("apiVersion")?, take("kind")?);
        object.remove("status");
        let rest = Value::Object(object);
        match (kind.as_str(), api_version.as_str()) {
            ("Service", "homeostat/v1") => serde_json::from_value(rest).map(Self::Service),
            ("Route", "homeostat/v1") => serde_json::from_value(rest).map(Self::Route),
            ("MetricSource", "homeostat/v1") => serde_json::from_value(rest).map(Self::MetricSource),
            ("HorizontalPodAutoscaler", "autoscaling/v1") => {
                serde_json::from_value(rest).map(|form| HorizontalPodAutoscaler::V1(form).into())
            }
            ("HorizontalPodAutoscaler", "autoscaling/v2beta1") => {
                serde_json::from_value(rest).map(|form| HorizontalPodAutoscaler::V2beta1(form).into())
            }
            ("HorizontalPodAutoscaler", "autoscaling/v2beta2") => {
                serde_json::from_value(rest).map(|form| HorizontalPodAutoscaler::V2beta2(form).into())
            }
            ("HorizontalPodAutoscaler", "autoscaling/v2") => {
                serde_json::from_value(rest).map(|form| HorizontalPodAutoscaler::V2(form).into())
            }
            _ => Err(serde_json::Error::custom(format!(
                "there is no kind {kind:?} in apiVersion {api_version:?}"
            ))),
        }
    }
}

impl From<Service> for Resource {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

impl From<Route> for Resource {
    fn from(route: Route) -> Self {
        Self::Route(route)
    }
}

impl From<MetricSource> for Resource {
    fn from(source: MetricSource) -> Self {
        Self::MetricSource(source)
    }
}

impl From<HorizontalPodAutoscaler> for Resource {
    fn from(hpa: HorizontalPodAutoscaler) -> Self {
        Self::HorizontalPodAutoscaler(hpa)
    }
}
