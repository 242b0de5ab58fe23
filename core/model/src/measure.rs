//! Measurements of metric sources: labelled series of numbers, or why there are none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{Incarnation, Ordinal};
use crate::name::ServiceName;
use crate::quantity::Milli;
use crate::resource::MetricSpec;

/// Identifies a metric for autoscalers: its name, and what it describes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricKey {
    /// Its name.
    pub metric: Arc<str>,
    /// What it describes.
    pub subject: MetricSubject,
}

/// What a metric describes; the metric types of `autoscaling/v2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricSubject {
    /// Nothing that Homeostat knows: an external metric.
    External,
    /// One object; Homeostat need not know it.
    Object {
        /// Its kind.
        kind: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// Each replica of a service.
    Replicas(ServiceName),
}

/// The report of one source on its metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The source.
    pub source: ServiceName,
    /// What it measures.
    pub key: MetricKey,
    /// How long the measurement is valid while no newer one comes.
    pub stale_after: Duration,
    /// Its result.
    pub result: MeasurementResult,
}

/// The result of a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasurementResult {
    /// The source was declared, and has not measured yet.
    Pending,
    /// The series of the metric. An empty list is a valid result, which is not the same as zero.
    Series(Vec<Series>),
    /// The measurement of each replica; a replica that is not listed could not be asked.
    Replicas(Vec<ReplicaMeasurement>),
    /// The measurement failed; the reason in one sentence.
    Failed(Arc<str>),
    /// Its declaration was withdrawn.
    Withdrawn,
}

/// The measurement of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaMeasurement {
    /// Its place.
    pub ordinal: Ordinal,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its series, or why it could not be measured, in one sentence.
    pub result: Result<Vec<Series>, Arc<str>>,
}

/// Labels by name.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// One series of a metric, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The labels that identify it.
    pub labels: Labels,
    /// Its value.
    pub value: Milli,
}

impl MetricKey {
    /// The key by which `metric`, of an autoscaler of `service`, is looked up among measurements; `None` for a metric that
    /// Homeostat measures itself.
    pub fn of(metric: &MetricSpec, service: &ServiceName) -> Option<Self> {
        let key = |name: &str, subject| Some(Self { metric: name.into(), subject });
        match metric {
            MetricSpec::Resource { .. } | MetricSpec::ContainerResource { .. } => None,
            MetricSpec::Pods { metric, .. } if crate::resource::is_of_proxy(&metric.name) => None,
            MetricSpec::Pods { metric, .. } => key(&metric.name, MetricSubject::Replicas(service.clone())),
            MetricSpec::Object { object, metric, .. } => {
                let subject = MetricSubject::Object {
                    kind: object.kind.as_str().into(),
                    name: object.name.as_str().into(),
                };
                key(&metric.name, subject)
            }
            MetricSpec::External { metric, .. } => key(&metric.name, MetricSubject::External),
        }
    }
}

/// Such as `queue_length`, `queue_length of Ingress web`, `queue_length of each replica of shop`.
impl fmt::Display for MetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, subject } = self;
        match subject {
            MetricSubject::External => f.write_str(metric),
            MetricSubject::Object { kind, name } => write!(f, "{metric} of {kind} {name}"),
            MetricSubject::Replicas(service) => write!(f, "{metric} of each replica of {service}"),
        }
    }
}
