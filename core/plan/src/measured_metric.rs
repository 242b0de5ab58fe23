//! The measurement of each metric, copied from the knowledge.

use std::time::Duration;

use knowledge::{Knowledge, Place};
use model::identity::Ordinal;
use model::input::Declared;
use model::name::ServiceName;
use model::quantity::{MilliCpu, MilliRps};
use model::resource::{LatencySlo, MeteredResource, MetricSpec, REQUEST_RATE_METRIC, RESPONSE_TIME_METRIC};
use model::settings::Settings;
use model::time::Time;

use crate::scale::reading::{Gap, MetricReading, Milli, ReplicaView, Requests, Sample, Samples, Unavailable};
use crate::source_metric;

/// The measurement of a metric.
#[derive(Clone, Debug)]
pub enum MeasuredMetric {
    /// A sample of each replica.
    Each(Vec<Result<Sample, Gap>>),
    /// One value, or several series, of the whole service.
    Whole(Vec<Milli>),
    /// No usable measurement, and why.
    Nothing(Unavailable),
}

/// Takes the measurements of one service.
pub(crate) struct MetricSampler<'a> {
    pub(crate) now: Time,
    pub(crate) knowledge: &'a Knowledge,
    pub(crate) service: &'a ServiceName,
    pub(crate) places: &'a [(Ordinal, &'a Place)],
    pub(crate) settings: &'a Settings,
}

impl MetricSampler<'_> {
    /// The latest measurement of `metric`.
    pub(crate) fn sample(&self, metric: &MetricSpec) -> MeasuredMetric {
        let Self { now, knowledge, service, places, .. } = *self;
        let whole =
            |measured: Result<_, _>| measured.map_or_else(MeasuredMetric::Nothing, MeasuredMetric::Whole);
        let metered = |measure: fn(&Place, Duration) -> Option<Sample>| {
            MeasuredMetric::Each(metered(now, measure, places, self.settings))
        };
        match metric {
            MetricSpec::Resource { resource: MeteredResource::Cpu, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Cpu, .. } => metered(cpu),
            MetricSpec::Resource { resource: MeteredResource::Memory, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Memory, .. } => metered(memory),
            MetricSpec::Pods { metric, .. } if metric.name == REQUEST_RATE_METRIC => metered(request_rate),
            MetricSpec::Pods { metric, .. } if metric.name == RESPONSE_TIME_METRIC => metered(response_time),
            MetricSpec::Pods { metric: named, .. } => {
                source_metric::of_replicas(now, knowledge, (metric, named), service, places)
                    .map_or_else(MeasuredMetric::Nothing, MeasuredMetric::Each)
            }
            MetricSpec::Object { metric: named, .. } => {
                whole(source_metric::of_object(now, knowledge, (metric, named), service))
            }
            MetricSpec::External { metric: named, .. } => {
                whole(source_metric::external(now, knowledge, (metric, named), service))
            }
        }
    }

    /// The demand on each replica: the rate of new requests, and the share of the waiting ones that is to be worked off.
    pub(crate) fn demand(&self, slo: LatencySlo) -> MeasuredMetric {
        let measure = |place: &Place, window: Duration| demand(place, window, slo);
        MeasuredMetric::Each(metered(self.now, measure, self.places, self.settings))
    }
}

/// The time within which requests that wait for longer than the SLO allows are to be worked off.
///
/// 10 s: two of the windows over which the latency is measured.
const WORKED_OFF_IN: Duration = Duration::from_secs(10);

fn demand(place: &Place, window: Duration, slo: LatencySlo) -> Option<Sample> {
    let growth = place.begun_requests.as_ref()?.growth(window)?;
    let (_, under_way) = place.in_flight;
    let rate = load_to_carry(MilliRps::mean(growth.by, growth.over), under_way.into(), slo);
    Some(Sample { value: milli(rate.0), at: growth.at, window: growth.over })
}

/// The demand while requests arrive at `rate` and `under_way` are open: the new ones, and the share of the waiting ones that is to be worked off.
pub fn load_to_carry(rate: MilliRps, under_way: u64, slo: LatencySlo) -> MilliRps {
    // By Little's law (1961), as many are open at this rate when each takes as long as the SLO allows.
    let usual = rate.0.saturating_mul(slo.below.as_millis()) / 1_000_000;
    let waiting = under_way.saturating_sub(usual);
    MilliRps(rate.0.saturating_add(waiting.saturating_mul(1000) / WORKED_OFF_IN.as_secs()))
}

fn metered(
    now: Time,
    measure: impl Fn(&Place, Duration) -> Option<Sample>,
    places: &[(Ordinal, &Place)],
    settings: &Settings,
) -> Vec<Result<Sample, Gap>> {
    let sample = |(_, place): &(Ordinal, &Place)| match measure(place, settings.metric_window) {
        None => Err(Gap::Absent),
        Some(sample) if now.since(sample.at) > settings.sample_age_max => Err(Gap::Stale),
        Some(sample) => Ok(sample),
    };
    places.iter().map(sample).collect()
}

fn cpu(place: &Place, window: Duration) -> Option<Sample> {
    let growth = place.cpu.growth(window)?;
    let used = MilliCpu::mean(Duration::from_micros(growth.by), growth.over);
    Some(Sample { value: milli(used.0), at: growth.at, window: growth.over })
}

fn memory(place: &Place, _: Duration) -> Option<Sample> {
    let (at, bytes) = place.memory?;
    Some(Sample { value: milli(bytes.0.saturating_mul(1000)), at, window: Duration::ZERO })
}

fn request_rate(place: &Place, window: Duration) -> Option<Sample> {
    let growth = place.requests.growth(window)?;
    let rate = MilliRps::mean(growth.by, growth.over);
    Some(Sample { value: milli(rate.0), at: growth.at, window: growth.over })
}

/// In thousandths of a second; 0 while there are no requests.
fn response_time(place: &Place, _: Duration) -> Option<Sample> {
    let (at, _) = place.requests.last()?;
    let value = milli(u64::try_from(place.peak_latency.1.as_millis()).unwrap_or(u64::MAX));
    Some(Sample { value, at, window: Duration::ZERO })
}

/// The reading of `metric` that the autoscaler decides on.
pub(crate) fn reading<'a>(
    metric: &MetricSpec,
    measured: &'a MeasuredMetric,
    declared: &Declared,
) -> MetricReading<'a> {
    let by_replica = match measured {
        MeasuredMetric::Each(by_replica) => by_replica,
        MeasuredMetric::Whole(series) => return MetricReading::Series(series),
        MeasuredMetric::Nothing(why) => return MetricReading::Unavailable(why.clone()),
    };
    let resources = &declared.spec.resources;
    let request = match metric {
        MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
            match resource {
                MeteredResource::Cpu => resources.cpu,
                MeteredResource::Memory => resources.memory,
            }
        }
        MetricSpec::Pods { .. } | MetricSpec::Object { .. } | MetricSpec::External { .. } => None,
    };
    let requests = request.map_or(Requests::Unset, |quantity| Requests::Same(Milli(quantity.milli())));
    MetricReading::Each(Samples { by_replica, unmatched: 0, requests })
}

fn milli(value: u64) -> Milli {
    Milli(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The measured load, in parts per million of itself.
pub(crate) const AS_MEASURED: u64 = 1_000_000;

impl MeasuredMetric {
    /// The measurement at `ppm` millionths of the measured load.
    ///
    /// Each sample keeps its share of the whole, and replicas without a sample get none. No factor changes a metric at zero, so it grows by one
    /// unit for each replica or series per [`AS_MEASURED`] above the first; one that was not measured at all is one unit at [`AS_MEASURED`].
    pub(crate) fn at_load(&self, ppm: u64, metric: &MetricSpec, replicas: &[ReplicaView], now: Time) -> Self {
        let assumed = scaled(Milli(1000), ppm);
        match self {
            Self::Each(samples) if samples.iter().any(Result::is_ok) => {
                let is_idle = samples.iter().flatten().all(|sample| sample.value.0 == 0);
                let varied =
                    |sample: &Sample| Sample { value: at_load(sample.value, is_idle, ppm), ..*sample };
                Self::Each(
                    samples.iter().map(|sample| sample.as_ref().map(varied).map_err(|gap| *gap)).collect(),
                )
            }
            Self::Whole(series) if !series.is_empty() => {
                let is_idle = series.iter().all(|value| value.0 == 0);
                Self::Whole(series.iter().map(|value| at_load(*value, is_idle, ppm)).collect())
            }
            // The capacity of a replica is not known at any load.
            Self::Nothing(Unavailable::Unlearned) => self.clone(),
            Self::Each(_) | Self::Whole(_) | Self::Nothing(_) => match metric {
                MetricSpec::Resource { .. }
                | MetricSpec::ContainerResource { .. }
                | MetricSpec::Pods { .. } => {
                    let sample = Sample { value: assumed, at: now, window: Duration::ZERO };
                    Self::Each(vec![Ok(sample); replicas.len()])
                }
                MetricSpec::Object { .. } | MetricSpec::External { .. } => Self::Whole(vec![assumed]),
            },
        }
    }

    /// Spreads the same load over so many replicas.
    pub(crate) fn spread_over(&mut self, replicas: usize) {
        let Self::Each(samples) = self else { return };
        let Some(latest) = samples.iter().flatten().max_by_key(|sample| sample.at).copied() else {
            samples.resize(replicas, Err(Gap::Absent));
            return;
        };
        let total: i128 = samples.iter().flatten().map(|sample| i128::from(sample.value.0)).sum();
        let share = total / i128::try_from(replicas.max(1)).unwrap_or(1);
        let value = Milli(i64::try_from(share).unwrap_or(i64::MAX));
        *samples = vec![Ok(Sample { value, ..latest }); replicas];
    }

    /// Moves the time of the measurement, as if the same had been measured again.
    pub(crate) fn advance(&mut self, by: Duration) {
        match self {
            Self::Each(samples) => samples.iter_mut().flatten().for_each(|sample| sample.at = sample.at + by),
            Self::Whole(_) | Self::Nothing(_) => {}
        }
    }
}

fn at_load(value: Milli, is_idle: bool, ppm: u64) -> Milli {
    if is_idle { scaled(Milli(1000), ppm.saturating_sub(AS_MEASURED)) } else { scaled(value, ppm) }
}

/// `ppm` millionths of `value`, within the range of the type.
fn scaled(value: Milli, ppm: u64) -> Milli {
    let exact = i128::from(value.0) * i128::from(ppm) / i128::from(AS_MEASURED);
    Milli(exact.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}
