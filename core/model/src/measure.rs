//! What sources of metrics measure: series of numbers, each with its labels.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{Incarnation, Ordinal};
use crate::name::ServiceName;
use crate::quantity::Milli;
use crate::resource::MetricSpec;

/// What identifies a metric for autoscalers: its name, and what it is a metric of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricKey {
    /// Its name.
    pub metric: Arc<str>,
    /// What it is a metric of.
    pub whose: Whose,
}

/// What a metric is a metric of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// Of nothing that Homeostat knows: an external metric.
    Outside,
    /// That of one object, whatever Homeostat knows of it.
    Object {
        /// Its kind.
        kind: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// Each replica of a service.
    Replicas(ServiceName),
}

/// The report of one source on one measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The source.
    pub source: ServiceName,
    /// What it measures.
    pub key: MetricKey,
    /// How long the measurement is valid while no newer one comes.
    pub stale_after: Duration,
    /// Its result.
    pub said: Said,
}

/// The result of a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It was declared, and has not measured yet.
    Begun,
    /// The series of the metric. No series at all is an answer too, and not zero.
    Series(Vec<Series>),
    /// The answer of each replica that was asked; a missing replica could not be asked.
    Replicas(Vec<ReplicaSaid>),
    /// It could not measure, and why: one sentence.
    Failed(Arc<str>),
    /// Its declaration was withdrawn.
    Withdrawn,
}

/// The answer of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSaid {
    /// Its place.
    pub ordinal: Ordinal,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its series; or why it could not be asked, as one sentence.
    pub said: Result<Vec<Series>, Arc<str>>,
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
    /// What `metric` of an autoscaler of `service` is measured as; `None` for what Homeostat meters itself.
    pub fn of(metric: &MetricSpec, service: &ServiceName) -> Option<Self> {
        let key = |name: &str, whose| Some(Self { metric: name.into(), whose });
        match metric {
            MetricSpec::Resource { .. } | MetricSpec::ContainerResource { .. } => None,
            MetricSpec::Pods { metric, .. } if crate::resource::is_of_proxy(&metric.name) => None,
            MetricSpec::Pods { metric, .. } => key(&metric.name, Whose::Replicas(service.clone())),
            MetricSpec::Object { object, metric, .. } => {
                let whose =
                    Whose::Object { kind: object.kind.as_str().into(), name: object.name.as_str().into() };
                key(&metric.name, whose)
            }
            MetricSpec::External { metric, .. } => key(&metric.name, Whose::Outside),
        }
    }
}

/// Such as `queue_length`, `queue_length of Ingress web`, `queue_length of each replica of shop`.
impl fmt::Display for MetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, whose } = self;
        match whose {
            Whose::Outside => f.write_str(metric),
            Whose::Object { kind, name } => write!(f, "{metric} of {kind} {name}"),
            Whose::Replicas(service) => write!(f, "{metric} of each replica of {service}"),
        }
    }
}
