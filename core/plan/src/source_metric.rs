//! Metrics of metric sources: their latest values, as the autoscaler reads them.

use std::time::Duration;

use knowledge::{Knowledge, LatestMeasurement, NoMeasurement, Place, Reading};
use model::identity::Ordinal;
use model::measure::{MetricKey, Series};
use model::name::ServiceName;
use model::quantity::Milli;
use model::resource::{MetricIdentifier, MetricSpec};
use model::time::Time;

use crate::scale::reading::{Gap, Sample, Unavailable};

/// The reading of `metric` for `service`; `None` when there is no source.
fn reading_of<'k>(
    knowledge: &'k Knowledge,
    metric: &MetricSpec,
    service: &ServiceName,
) -> Option<&'k Reading> {
    knowledge.reading(&MetricKey::of(metric, service)?)
}

/// The metric of each replica at `places`, in their order: the sum of its selected series.
pub(crate) fn of_replicas(
    now: Time,
    knowledge: &Knowledge,
    metric: (&MetricSpec, &MetricIdentifier),
    service: &ServiceName,
    places: &[(Ordinal, &Place)],
) -> Result<Vec<Result<Sample, Gap>>, Unavailable> {
    let (spec, identifier) = metric;
    let reading = reading_of(knowledge, spec, service).ok_or(Unavailable::NoSource)?;
    let one = |(ordinal, place): &(Ordinal, &Place)| {
        let measured =
            reading.by_replica.get(ordinal).filter(|measured| measured.incarnation == place.incarnation);
        let (at, series) =
            measured.ok_or(Gap::Absent)?.latest.at(now, reading.stale_after).map_err(|lack| gap(&lack))?;
        let value = selected(series, identifier).reduce(Milli::plus).ok_or(Gap::Absent)?;
        Ok(Sample { value, at, window: Duration::ZERO })
    };
    Ok(places.iter().map(one).collect())
}

/// The selected series of a metric of something other than the replicas.
pub(crate) fn external(
    now: Time,
    knowledge: &Knowledge,
    metric: (&MetricSpec, &MetricIdentifier),
    service: &ServiceName,
) -> Result<Vec<Milli>, Unavailable> {
    let (spec, identifier) = metric;
    let reading = reading_of(knowledge, spec, service).ok_or(Unavailable::NoSource)?;
    let values: Vec<Milli> = selected(current_series(now, &reading.whole, reading)?, identifier).collect();
    if values.is_empty() { Err(Unavailable::Absent) } else { Ok(values) }
}

/// The one selected series of a metric of an object.
pub(crate) fn of_object(
    now: Time,
    knowledge: &Knowledge,
    metric: (&MetricSpec, &MetricIdentifier),
    service: &ServiceName,
) -> Result<Vec<Milli>, Unavailable> {
    let values = external(now, knowledge, metric, service)?;
    if values.len() > 1 {
        let why = format!("{} series were measured where one is needed; select or sum them", values.len());
        return Err(Unavailable::Failed(why.into()));
    }
    Ok(values)
}

fn current_series<'l>(
    now: Time,
    latest: &'l LatestMeasurement,
    reading: &Reading,
) -> Result<&'l [Series], Unavailable> {
    let (_, series) = latest.at(now, reading.stale_after).map_err(|lack| match lack {
        NoMeasurement::Absent => Unavailable::Absent,
        NoMeasurement::Stale { since } => Unavailable::Stale { since },
        NoMeasurement::Failed(why) => Unavailable::Failed(why),
    })?;
    Ok(series)
}

fn gap(lack: &NoMeasurement) -> Gap {
    match lack {
        NoMeasurement::Absent => Gap::Absent,
        NoMeasurement::Stale { .. } => Gap::Stale,
        NoMeasurement::Failed(_) => Gap::Failed,
    }
}

fn selected<'s>(series: &'s [Series], metric: &'s MetricIdentifier) -> impl Iterator<Item = Milli> + use<'s> {
    let selector = metric.selector.as_ref();
    let is_selected =
        move |series: &&Series| selector.is_none_or(|selector| selector.selects(&series.labels));
    series.iter().filter(is_selected).map(|series| series.value)
}
