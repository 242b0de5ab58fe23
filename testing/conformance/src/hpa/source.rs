//! The metrics of rows and the readings of their sources.

use std::time::Duration;

use model::name::ServiceName;
use model::resource::hpa::shapes::CrossVersionObjectReference;
use model::resource::{
    MeteredResource, MetricIdentifier, MetricSpec, Percent, Quantity, ResourceTarget, TotalTarget,
};
use plan::scale::reading::{Gap, MetricReading, Milli, RequestFault, Requests, Sample, Samples, Unavailable};
use serde::Deserialize;
use serde_json::Value;

use super::compare::read;
use super::row::{Pod, PodMetric, Target};
use super::translate::{self, NOW};

/// The source of a metric of an unknown type.
pub(super) const NO_SOURCE: Source = Source::Unavailable(Unavailable::NoSource);

/// The reading of one metric's source; owns what a [`MetricReading`] borrows.
pub(super) enum Source {
    Each { by_replica: Vec<Result<Sample, Gap>>, unmatched: u32, requests: Result<Vec<Milli>, RequestFault> },
    Series(Vec<Milli>),
    Unavailable(Unavailable),
}

impl Source {
    pub(super) fn reading(&self) -> MetricReading<'_> {
        match self {
            Self::Each { by_replica, unmatched, requests } => MetricReading::Each(Samples {
                by_replica,
                unmatched: *unmatched,
                requests: match requests {
                    Ok(requests) => Requests::Each(requests),
                    Err(fault) => Requests::Unknown(fault),
                },
            }),
            Self::Series(series) => MetricReading::Series(series),
            Self::Unavailable(why) => MetricReading::Unavailable(why.clone()),
        }
    }

    /// Samples of pods; unavailable if there is none.
    pub(super) fn of_pods(
        pods: &[Pod],
        metrics: &[PodMetric],
        resource: &str,
        container: Option<&str>,
    ) -> Self {
        if metrics.is_empty() {
            return Self::Unavailable(Unavailable::Absent);
        }
        let (by_replica, unmatched) = translate::samples(pods, metrics, container);
        let requests = translate::requests(pods, resource, container, false);
        Self::Each { by_replica, unmatched, requests }
    }

    pub(super) fn of_series(values: &[i64]) -> Self {
        Self::Series(values.iter().map(|value| Milli(*value)).collect())
    }
}

/// The values of the metrics of a `reconcile` row.
pub(super) struct World<'a> {
    pub(super) pods: &'a [Pod],
    pub(super) resource_metrics: &'a [PodMetric],
    pub(super) custom_milli: &'a [i64],
    pub(super) failing: &'a [String],
}

impl World<'_> {
    /// One declared metric and its source.
    pub(super) fn metric(&self, written: &Value) -> Result<(MetricSpec, Source), String> {
        #[derive(Deserialize)]
        struct MetricRow {
            #[serde(rename = "type")]
            kind: String,
            resource: Option<SourceRow>,
            #[serde(rename = "containerResource")]
            container_resource: Option<SourceRow>,
            pods: Option<SourceRow>,
            object: Option<SourceRow>,
            external: Option<SourceRow>,
        }
        #[derive(Deserialize)]
        struct SourceRow {
            #[serde(default)]
            name: String,
            container: Option<String>,
            target: Target,
        }
        let row: MetricRow = read(written)?;
        let source = row.resource.or(row.container_resource).or(row.pods).or(row.object).or(row.external);
        let Some(SourceRow { name, container, target }) = source else {
            // The model has no metric of an unknown type: it becomes one without a source.
            let target =
                Target { average_utilization: None, average_value_milli: None, value_milli: Some(1) };
            return Ok((metric_of_external(target)?, NO_SOURCE));
        };
        let container = container.as_deref();
        let (metric, source) = match row.kind.as_str() {
            "Resource" | "ContainerResource" => (
                metric_of_resource(&name, container, target)?,
                Source::of_pods(self.pods, self.resource_metrics, &name, container),
            ),
            "Pods" => (metric_of_pods(target)?, self.custom_of_pods()),
            "Object" => {
                (metric_of_object(target)?, Source::of_series(self.custom_milli.get(..1).unwrap_or_default()))
            }
            "External" => (metric_of_external(target)?, Source::of_series(self.custom_milli)),
            other => return Err(format!("unknown metric type {other:?}")),
        };
        if self.failing.contains(&row.kind) {
            return Ok((metric, Source::Unavailable(Unavailable::Failed("it does not answer".into()))));
        }
        Ok((metric, source))
    }

    /// One value for each pod, in their order.
    fn custom_of_pods(&self) -> Source {
        let sample =
            |value: &i64| Ok(Sample { value: Milli(*value), at: NOW, window: Duration::from_secs(60) });
        let by_replica = self.custom_milli.iter().map(sample).collect();
        Source::Each { by_replica, unmatched: 0, requests: Ok(Vec::new()) }
    }
}

pub(super) fn target_name() -> ServiceName {
    ServiceName::parse("target").expect("a valid name")
}

pub(super) fn metric_of_resource(
    name: &str,
    container: Option<&str>,
    target: Target,
) -> Result<MetricSpec, String> {
    let resource = match name {
        "cpu" => MeteredResource::Cpu,
        "memory" => MeteredResource::Memory,
        other => return Err(format!("unknown resource {other:?}")),
    };
    let target = match (target.average_utilization, target.average_value_milli) {
        (Some(percent), _) => ResourceTarget::Utilization(Percent(percent)),
        (None, Some(milli)) => ResourceTarget::Average(Quantity::from_milli(milli)),
        (None, None) => return Err("the row has no target".to_owned()),
    };
    Ok(match container {
        None => MetricSpec::Resource { resource, target },
        Some(container) => {
            MetricSpec::ContainerResource { container: container.to_owned(), resource, target }
        }
    })
}

pub(super) fn metric_of_pods(target: Target) -> Result<MetricSpec, String> {
    let milli = target.average_value_milli.ok_or("the row has no target")?;
    Ok(MetricSpec::Pods { metric: qps(), average: Quantity::from_milli(milli) })
}

pub(super) fn metric_of_object(target: Target) -> Result<MetricSpec, String> {
    let object = CrossVersionObjectReference {
        kind: "Deployment".to_owned(),
        name: "some-deployment".to_owned(),
        api_version: Some("apps/v1".to_owned()),
    };
    Ok(MetricSpec::Object { object, metric: qps(), target: total_target(target)? })
}

pub(super) fn metric_of_external(target: Target) -> Result<MetricSpec, String> {
    Ok(MetricSpec::External { metric: qps(), target: total_target(target)?, fallback: None })
}

fn total_target(target: Target) -> Result<TotalTarget, String> {
    match (target.average_value_milli, target.value_milli) {
        (Some(milli), _) => Ok(TotalTarget::Average(Quantity::from_milli(milli))),
        (None, Some(milli)) => Ok(TotalTarget::Value(Quantity::from_milli(milli))),
        (None, None) => Err("the row has no target".to_owned()),
    }
}

fn qps() -> MetricIdentifier {
    MetricIdentifier { name: "qps".to_owned(), selector: None }
}
