//! JSON Schemas of the kinds, generated from the types.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::hpa::{VersionedManifest, v1, v2, v2beta1, v2beta2};
use super::route::{HeaderName, HeaderValue, Hostname, PathModifier, RouteFilter, UrlPath};
use super::{
    ClockTime, Cron, EndpointAddress, ExternalName, Factor, Formula, Fraction, HashKey, HttpUrl, JsonPath,
    Kind, KnownEvent, ListenAddress, MetricOrigin, MetricSource, ObjectName, PortName, Quantile, Quantity,
    Recover, ResourceVersion, Route, Scale, ScaleStep, ServerAddress, Service, Sizes, Span, Tls, Zone,
};
use crate::name::{ServiceName, ZoneName};

/// The JSON Schema (draft 2020-12) of `kind` in its newest version.
pub fn schema(kind: Kind) -> Value {
    let newest = kind.api_versions()[0];
    schema_of(newest, kind).expect("the newest version of a kind has a schema, as the tests show for each")
}

/// The JSON Schema (draft 2020-12) of `kind` in `api_version`; `None` for an unknown version.
pub fn schema_of(api_version: &str, kind: Kind) -> Option<Value> {
    let form = match (kind, api_version) {
        (Kind::Service, "homeostat/v1") => form::<Service>(),
        (Kind::HorizontalPodAutoscaler, "autoscaling/v1") => {
            form::<VersionedManifest<v1::HorizontalPodAutoscalerSpec>>()
        }
        (Kind::HorizontalPodAutoscaler, "autoscaling/v2beta1") => {
            form::<VersionedManifest<v2beta1::HorizontalPodAutoscalerSpec>>()
        }
        (Kind::HorizontalPodAutoscaler, "autoscaling/v2beta2") => {
            form::<VersionedManifest<v2beta2::HorizontalPodAutoscalerSpec>>()
        }
        (Kind::HorizontalPodAutoscaler, "autoscaling/v2") => {
            form::<VersionedManifest<v2::HorizontalPodAutoscalerSpec>>()
        }
        (Kind::Route, "homeostat/v1") => form::<Route>(),
        (Kind::MetricSource, "homeostat/v1") => form::<MetricSource>(),
        (Kind::Service | Kind::HorizontalPodAutoscaler | Kind::Route | Kind::MetricSource, _) => return None,
    };
    Some(with_status(with_envelope(form, api_version, kind)))
}

fn form<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value()
}

/// Adds `apiVersion` and `kind`.
fn with_envelope(mut form: Value, api_version: &str, kind: Kind) -> Value {
    form["title"] = kind.as_str().into();
    form["properties"]["apiVersion"] =
        json!({"type": "string", "const": api_version, "description": "The version of the API."});
    form["properties"]["kind"] =
        json!({"type": "string", "const": kind.as_str(), "description": "The kind of the resource."});
    if let Some(required) = form["required"].as_array_mut() {
        required.splice(0..0, ["apiVersion".into(), "kind".into()]);
    }
    form
}

/// Adds `status`, so that the output of `get` can be edited and applied again.
fn with_status(mut form: Value) -> Value {
    let status = "The observed state, which answers have; it has no effect in a manifest.";
    form["properties"]["status"] = json!({"type": "object", "description": status});
    form
}

/// Checks that `value` can be read as the type that a schema defines under `$defs/definition`; returns why not.
///
/// `None` for definitions that the schema describes completely. The others are texts and structures with additional rules, which a schema
/// cannot express.
pub fn read_as(definition: &str, value: &Value) -> Option<Result<(), String>> {
    let read: fn(&Value) -> Result<(), String> = match definition {
        "ServiceName" => read::<ServiceName>,
        "ObjectName" => read::<ObjectName>,
        "ResourceVersion" => read::<ResourceVersion>,
        "PortName" => read::<PortName>,
        "ListenAddress" => read::<ListenAddress>,
        "EndpointAddress" => read::<EndpointAddress>,
        "ZoneName" => read::<ZoneName>,
        "Quantity" => read::<Quantity>,
        "Span" => read::<Span>,
        "Cron" => read::<Cron>,
        "ClockTime" => read::<ClockTime>,
        "Factor" => read::<Factor>,
        "KnownEvent" => read::<KnownEvent>,
        "Formula" => read::<Formula>,
        "Quantile" => read::<Quantile>,
        "DecimalFraction" => read::<Fraction>,
        "Zone" => read::<Zone>,
        "Scale" => read::<Scale>,
        "ScaleStep" => read::<ScaleStep>,
        "Sizes" => read::<Sizes>,
        "Recover" => read::<Recover>,
        "HashKey" => read::<HashKey>,
        "ExternalName" => read::<ExternalName>,
        "Tls" => read::<Tls>,
        "Hostname" => read::<Hostname>,
        "UrlPath" => read::<UrlPath>,
        "HeaderName" => read::<HeaderName>,
        "HeaderValue" => read::<HeaderValue>,
        "RouteFilter" => read::<RouteFilter>,
        "PathModifier" => read::<PathModifier>,
        "HttpUrl" => read::<HttpUrl>,
        "JsonPath" => read::<JsonPath>,
        "ServerAddress" => read::<ServerAddress>,
        "MetricOrigin" => read::<MetricOrigin>,
        "Probe" => super::probe::read,
        _ => return None,
    };
    Some(read(value))
}

pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
    T::deserialize(value).map(drop).map_err(|error| error.to_string())
}
