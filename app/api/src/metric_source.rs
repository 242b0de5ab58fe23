//! Metric sources and their measurements, in the form of `/v1`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, SourceDetail};
use model::measure::{MeasurementResult, MetricKey, ReplicaMeasurement, Series};
use model::name::ServiceName;
use model::quantity::Milli;
use model::resource::{MetricSource, MetricSourceSpec, Resource};
use model::time::Wall;
use orchestrator::{Handle, StoredResource};

use crate::failure::Failure;
use crate::resources::object;
use crate::state::State;
use crate::timestamps::rfc3339;
use crate::v1;

/// The number of readings in a description: people do not look through more.
const READINGS_SHOWN: usize = 100;

/// All declared metric sources, or only the source `name`.
pub(crate) fn sources(
    handle: &Handle,
    agent: &Agent,
    name: Option<&str>,
) -> Result<Vec<v1::MetricSource>, Failure> {
    let found = declared(handle, agent, name)?;
    Ok(found.into_iter().map(|(_, _, shown)| shown).collect())
}

/// Everything about one source.
pub(crate) async fn describe(state: &State, name: String) -> Result<v1::MetricSourceDescription, Failure> {
    let agent = state.agent.clone();
    state
        .query(move |handle| {
            let not_found = || Failure::not_found("metricsource", &name);
            let (source, detail, shown) =
                declared(handle, &agent, Some(&name))?.pop().ok_or_else(not_found)?;
            let readings = detail.map(|detail| readings(&source.spec, &detail)).unwrap_or_default();
            let services = services(&handle.resources(), &source.spec.key());
            Ok(v1::MetricSourceDescription { source: shown, readings, services })
        })
        .await
}

type Declared = (MetricSource, Option<SourceDetail>, v1::MetricSource);

fn declared(handle: &Handle, agent: &Agent, name: Option<&str>) -> Result<Vec<Declared>, Failure> {
    let mut details: BTreeMap<ServiceName, SourceDetail> =
        agent.sources().into_iter().map(|detail| (detail.source.clone(), detail)).collect();
    let now = handle.now().wall;
    let mut found = Vec::new();
    for stored in handle.resources() {
        let Resource::MetricSource(source) = &stored.resource else { continue };
        if name.is_none_or(|name| name == source.name().as_str()) {
            let detail = details.remove(source.name());
            let shown = object(&stored.versioned(), status(&source.spec, detail.as_ref(), now));
            found.push((source.clone(), detail, shown));
        }
    }
    match name {
        Some(name) if found.is_empty() => Err(Failure::not_found("metricsource", name)),
        Some(_) | None => Ok(found),
    }
}

/// The services that are scaled by a metric: their autoscalers use it, or it decides which replicas are removed first or never.
fn services(resources: &[StoredResource], key: &MetricKey) -> Vec<String> {
    let autoscaled = |stored: &StoredResource| {
        let spec = match &stored.resource {
            Resource::Service(service) => service.autoscaler().ok().flatten(),
            Resource::HorizontalPodAutoscaler(hpa) => hpa.autoscaler().ok(),
            Resource::Route(_) | Resource::MetricSource(_) => None,
        }?;
        let uses_metric =
            spec.metrics.iter().any(|it| MetricKey::of(it, &spec.service).as_ref() == Some(key));
        uses_metric.then(|| spec.service.to_string())
    };
    let selects_removal = |stored: &StoredResource| {
        let Resource::Service(service) = &stored.resource else { return None };
        let (scale, name) = (&service.spec.scale, service.name());
        let keys = [scale.remove.key(name), scale.protect_key(name)];
        keys.iter().flatten().any(|it| it == key).then(|| name.to_string())
    };
    resources.iter().filter_map(|stored| autoscaled(stored).or_else(|| selects_removal(stored))).collect()
}

fn status(spec: &MetricSourceSpec, detail: Option<&SourceDetail>, now: Wall) -> v1::MetricSourceStatus {
    let measured = detail.and_then(|detail| detail.measured.as_ref());
    let failed = detail.and_then(|detail| detail.failed.as_ref());
    let (value, series) = measured.map_or((None, 0), |(_, result)| summary(result));
    v1::MetricSourceStatus {
        value,
        series,
        measured_at: measured.map(|(at, _)| rfc3339(*at)),
        last_error: failed.map(|(_, why)| why.to_string()),
        last_error_at: failed.map(|(at, _)| rfc3339(*at)),
        conditions: vec![measuring_condition(spec, measured, failed, now)],
    }
}

/// Whether the latest measurement can be used, by the same rule as in the loop.
fn measuring_condition(
    spec: &MetricSourceSpec,
    measured: Option<&(Wall, MeasurementResult)>,
    failed: Option<&(Wall, Arc<str>)>,
    now: Wall,
) -> v1::Condition {
    let condition = |status: &str, reason: &str, message: String, since: Option<Wall>| {
        v1::Condition::new("Measuring", status, reason, message).since(since.map(rfc3339))
    };
    let age = |at: Wall| Duration::from_millis(now.as_millis().saturating_sub(at.as_millis()));
    let is_fresh = |at: Wall| age(at) <= spec.stale_after();
    match (measured, failed) {
        (Some((at, result)), _) if is_fresh(*at) => match result {
            MeasurementResult::Replicas(replicas) if replicas.is_empty() => {
                condition("Unknown", "NoReplicas", "there is no replica to query".into(), Some(*at))
            }
            MeasurementResult::Replicas(replicas) if replicas.iter().all(|it| it.result.is_err()) => {
                let why = failed.map(|(_, why)| why.to_string()).unwrap_or_default();
                condition("False", "Failed", format!("no replica could be queried; {why}"), Some(*at))
            }
            MeasurementResult::Series(series) if series.is_empty() => {
                let message = "it answers, but has no such series, which does not count as zero".to_owned();
                condition("False", "Absent", message, Some(*at))
            }
            MeasurementResult::Pending
            | MeasurementResult::Series(_)
            | MeasurementResult::Replicas(_)
            | MeasurementResult::Failed(_)
            | MeasurementResult::Withdrawn => {
                condition("True", "Measured", "the last measurement is in use".into(), Some(*at))
            }
        },
        (_, Some((at, why))) => condition("False", "Failed", why.to_string(), Some(*at)),
        (Some((at, _)), None) => condition(
            "False",
            "Stale",
            "there has been no answer since the last measurement".into(),
            Some(*at),
        ),
        (None, None) => condition("Unknown", "Pending", "it has not been queried yet".into(), None),
    }
}

/// The sum of all series, or the mean over the replicas that answered; and how many there are.
fn summary(result: &MeasurementResult) -> (Option<f64>, usize) {
    match result {
        MeasurementResult::Pending | MeasurementResult::Failed(_) | MeasurementResult::Withdrawn => (None, 0),
        MeasurementResult::Series(series) => (sum(series), series.len()),
        MeasurementResult::Replicas(replicas) => {
            let values: Vec<f64> =
                replicas.iter().filter_map(|replica| sum(replica.result.as_ref().ok()?)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            ((!values.is_empty()).then_some(mean), values.len())
        }
    }
}

fn sum(series: &[Series]) -> Option<f64> {
    series.iter().map(|series| series.value).reduce(Milli::plus).map(to_f64)
}

fn to_f64(value: Milli) -> f64 {
    value.0 as f64 / 1000.0
}

fn readings(spec: &MetricSourceSpec, detail: &SourceDetail) -> Vec<v1::MetricReading> {
    let of = |replica: Option<String>, series: &Series| v1::MetricReading {
        replica,
        labels: series.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        value: Some(to_f64(series.value)),
        message: None,
    };
    let mut shown: Vec<v1::MetricReading> = match detail.measured.as_ref().map(|(_, result)| result) {
        None
        | Some(MeasurementResult::Pending | MeasurementResult::Failed(_) | MeasurementResult::Withdrawn) => {
            Vec::new()
        }
        Some(MeasurementResult::Series(series)) => {
            series.iter().take(READINGS_SHOWN).map(|series| of(None, series)).collect()
        }
        Some(MeasurementResult::Replicas(replicas)) => replicas
            .iter()
            .flat_map(|replica| match &replica.result {
                Ok(series) => {
                    series.iter().map(|series| of(Some(replica_name(spec, replica)), series)).collect()
                }
                Err(why) => vec![v1::MetricReading {
                    replica: Some(replica_name(spec, replica)),
                    labels: BTreeMap::new(),
                    value: None,
                    message: Some(why.to_string()),
                }],
            })
            .take(READINGS_SHOWN)
            .collect(),
    };
    shown.sort_by(|a, b| (&a.replica, &a.labels).cmp(&(&b.replica, &b.labels)));
    shown
}

fn replica_name(spec: &MetricSourceSpec, replica: &ReplicaMeasurement) -> String {
    match spec.key().subject {
        model::measure::MetricSubject::Replicas(service) => format!("{service}-{}", replica.ordinal.0),
        model::measure::MetricSubject::External | model::measure::MetricSubject::Object { .. } => {
            replica.ordinal.0.to_string()
        }
    }
}
