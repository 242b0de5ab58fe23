//! One source of a metric, measured at a fixed interval.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use model::identity::{Incarnation, Ordinal};
use model::measure::{Labels, MeasurementResult, ReplicaMeasurement};
use model::resource::{MetricOrigin, MetricSourceSpec, ReplicasOrigin};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::exposition::{self, Form};
use crate::failure::Failure;
use crate::page::{PageRequest, get, uri};
use crate::rates::Rates;
use crate::series::amounts;
use crate::{command, json, postgres, promql, redis};

/// Replicas that are scraped at the same time: one page each, of 4 MiB at most.
const CONCURRENT_REQUESTS_MAX: usize = 16;

/// Most series of one replica, so that those of 1,000 replicas stay within what is kept.
const REPLICA_SERIES_MAX: usize = 100;

/// The media types in which replicas may answer.
const ACCEPT_TEXT: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.9";

/// A replica to scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its place.
    pub ordinal: Ordinal,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// The port to scrape, on 127.0.0.1; `None` when it has no such port.
    pub port: Option<u16>,
}

/// One metric, and where it is measured.
#[derive(Debug)]
pub struct Source {
    spec: Arc<MetricSourceSpec>,
    rates: Rates,
}

impl Source {
    /// A source that was not measured yet.
    pub fn new(spec: Arc<MetricSourceSpec>) -> Self {
        Self { spec, rates: Rates::default() }
    }

    /// Measures as often as declared, until the future is dropped, and passes each result to `report`.
    ///
    /// `chance` chooses the time of the first measurement, so that sources that were declared together are not measured together.
    /// `replicas` are those to scrape, for a source that scrapes replicas. Measurements do not overlap.
    pub async fn run(
        mut self,
        chance: u64,
        replicas: impl Fn() -> Vec<Replica>,
        mut report: impl FnMut(MeasurementResult),
    ) {
        let every = Duration::from(self.spec.every);
        let mut beat = interval_at(Instant::now() + first_wait(every, chance), every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            report(self.measure(&replicas()).await);
        }
    }

    /// Measures once.
    pub async fn measure(&mut self, replicas: &[Replica]) -> MeasurementResult {
        let spec = Arc::clone(&self.spec);
        let limit = Duration::from(spec.timeout);
        let answer = match &spec.from {
            MetricOrigin::Replicas(origin) => {
                return MeasurementResult::Replicas(self.measure_replicas(origin, replicas).await);
            }
            MetricOrigin::Prometheus(origin) => {
                within(limit, origin.url.as_str(), promql::query(origin, spec.timeout)).await
            }
            MetricOrigin::Http(origin) => within(limit, origin.url.as_str(), json::query(origin)).await,
            MetricOrigin::Command(origin) => {
                let program = origin.argv.first().map(String::as_str).unwrap_or_default();
                within(limit, program, command::run(origin, &spec.metric)).await
            }
            MetricOrigin::Redis(origin) => {
                within(limit, &origin.address.to_string(), redis::query(origin)).await
            }
            MetricOrigin::Postgres(origin) => {
                within(limit, &origin.address.to_string(), postgres::query(origin, spec.timeout)).await
            }
        };
        match answer.and_then(|values| amounts(&spec.metric, values)) {
            Ok(series) => MeasurementResult::Series(series),
            Err(failure) => MeasurementResult::Failed(failure.to_string().into()),
        }
    }

    async fn measure_replicas(
        &mut self,
        origin: &ReplicasOrigin,
        replicas: &[Replica],
    ) -> Vec<ReplicaMeasurement> {
        let (spec, limit) = (Arc::clone(&self.spec), Duration::from(self.spec.timeout));
        let series = origin.series.as_deref().unwrap_or(&spec.metric);
        let ask = |replica: Replica| async move {
            let what = format!("port {}", replica.port.unwrap_or_default());
            let page = within(limit, &what, scrape_replica(replica, origin, series)).await;
            (replica, Instant::now(), page)
        };
        let answers: Vec<_> = stream::iter(replicas.iter().copied().map(ask))
            .buffer_unordered(CONCURRENT_REQUESTS_MAX)
            .collect()
            .await;
        self.rates.retain(|ordinal, incarnation| {
            replicas.iter().any(|it| (it.ordinal, it.incarnation) == (ordinal, incarnation))
        });
        let window = spec.rate_window();
        let results = answers.into_iter().map(|(replica, at, page)| {
            let Replica { ordinal, incarnation, .. } = replica;
            let result = page.and_then(|scrape| {
                let rates = self.rates.update((ordinal, incarnation), at, window, scrape.counters);
                amounts(series, scrape.gauges.into_iter().chain(rates))
            });
            ReplicaMeasurement {
                ordinal,
                incarnation,
                result: result.map_err(|failure| failure.to_string().into()),
            }
        });
        results.collect()
    }
}

/// The series of one metric that a replica exposes.
struct Scrape {
    gauges: Vec<(Labels, f64)>,
    counters: Vec<(Labels, f64)>,
}

async fn scrape_replica(replica: Replica, origin: &ReplicasOrigin, series: &str) -> Result<Scrape, Failure> {
    let port = replica.port.ok_or(Failure::NoPort)?;
    let url = format!("http://127.0.0.1:{port}{}", origin.path);
    let page = get(PageRequest { uri: uri(&url)?, tls: None, accept: ACCEPT_TEXT, token_file: None })
        .await?
        .good()?;
    let is_openmetrics = page.media.starts_with("application/openmetrics-text");
    let form = if is_openmetrics { Form::OpenMetrics } else { Form::Prometheus };
    let samples = exposition::read(page.text()?, form).map_err(|why| Failure::Exposition {
        what: format!("{}{}", page.url, page.media_in_brackets()),
        why,
    })?;
    let mut matching = samples.into_iter().filter(|sample| sample.name == series);
    let (mut gauges, mut counters) = (Vec::new(), Vec::new());
    for sample in matching.by_ref().take(REPLICA_SERIES_MAX) {
        let kind = if sample.is_cumulative { &mut counters } else { &mut gauges };
        kind.push((sample.labels, sample.value));
    }
    if matching.next().is_some() {
        return Err(Failure::TooManySeries);
    }
    Ok(Scrape { gauges, counters })
}

async fn within<T>(
    limit: Duration,
    what: &str,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let late = |_| Err(Failure::TimedOut { what: what.to_owned(), within: limit });
    timeout(limit, answer).await.unwrap_or_else(late)
}

/// A random part of the interval, but less than a second: a person who declares a source waits for it.
fn first_wait(every: Duration, chance: u64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(1);
    every.min(LONGEST).mul_f64((chance % 1000) as f64 / 1000.0)
}
