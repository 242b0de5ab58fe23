//! The latest measurements of sources of metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::measure::{Measured, MeasurementResult, MetricKey, ReplicaMeasurement, Series};
use model::name::ServiceName;
use model::resource::METRIC_SOURCES_MAX;
use model::time::Time;

/// The latest report of each source, by the metric that it measures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readings(BTreeMap<MetricKey, Reading>);

/// The latest report of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The source.
    pub source: ServiceName,
    /// How long a measurement is valid while no newer one comes.
    pub stale_after: Duration,
    /// The metric as a whole.
    pub whole: LatestMeasurement,
    /// Each replica that the latest report covers.
    pub by_replica: BTreeMap<Ordinal, ReplicaReading>,
}

/// The latest report of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReading {
    /// The life of the replica.
    pub incarnation: Incarnation,
    /// Its latest measurement, and its latest failure.
    pub latest: LatestMeasurement,
}

/// The latest measurement, and the latest failure to make one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatestMeasurement {
    measured: Option<(Time, Vec<Series>)>,
    failed: Option<(Time, Arc<str>)>,
}

/// Why there is no valid measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoMeasurement {
    /// None was made so far.
    Absent,
    /// The last one is too old, and there was no report since.
    Stale {
        /// When it was made.
        since: Time,
    },
    /// The last one is too old, if there was one, and later attempts failed.
    Failed(Arc<str>),
}

impl Readings {
    /// The reading of the metric that `key` names.
    pub(crate) fn of(&self, key: &MetricKey) -> Option<&Reading> {
        self.0.get(key)
    }

    /// Applies the report of a source. Withdrawing a source has no effect once another one has replaced it.
    pub(crate) fn apply(&mut self, at: Time, measured: &Measured) {
        let is_full = self.0.len() == METRIC_SOURCES_MAX;
        let known = self.0.get_mut(&measured.key);
        if measured.result == MeasurementResult::Withdrawn {
            if known.is_some_and(|reading| reading.source == measured.source) {
                self.0.remove(&measured.key);
            }
            return;
        }
        let reading = match known {
            Some(reading) => reading,
            None if is_full => return,
            None => self.0.entry(measured.key.clone()).or_insert_with(|| Reading::of(measured)),
        };
        if reading.source != measured.source {
            *reading = Reading::of(measured);
        }
        reading.stale_after = measured.stale_after;
        match &measured.result {
            MeasurementResult::Pending | MeasurementResult::Withdrawn => {}
            MeasurementResult::Series(series) => reading.whole.measure(at, series.clone()),
            MeasurementResult::Failed(why) => reading.whole.fail(at, Arc::clone(why)),
            MeasurementResult::Replicas(replicas) => reading.apply_replicas(at, replicas),
        }
    }
}

impl Reading {
    fn of(measured: &Measured) -> Self {
        Self {
            source: measured.source.clone(),
            stale_after: measured.stale_after,
            whole: LatestMeasurement::default(),
            by_replica: BTreeMap::new(),
        }
    }

    fn apply_replicas(&mut self, at: Time, replicas: &[ReplicaMeasurement]) {
        let mut before = std::mem::take(&mut self.by_replica);
        for replica in replicas {
            let known = before.remove(&replica.ordinal).filter(|it| it.incarnation == replica.incarnation);
            let mut latest = known.map(|known| known.latest).unwrap_or_default();
            match &replica.result {
                Ok(series) => latest.measure(at, series.clone()),
                Err(why) => latest.fail(at, Arc::clone(why)),
            }
            let incarnation = replica.incarnation;
            self.by_replica.insert(replica.ordinal, ReplicaReading { incarnation, latest });
        }
    }
}

impl LatestMeasurement {
    fn measure(&mut self, at: Time, series: Vec<Series>) {
        self.measured = Some((at, series));
    }

    fn fail(&mut self, at: Time, why: Arc<str>) {
        self.failed = Some((at, why));
    }

    /// The measurement that is valid at `now`, and when it was made.
    ///
    /// A later failure does not invalidate a measurement: it is valid until it is older than `stale_after`.
    pub fn at(&self, now: Time, stale_after: Duration) -> Result<(Time, &[Series]), NoMeasurement> {
        match (&self.measured, &self.failed) {
            (Some((at, series)), _) if now.since(*at) <= stale_after => Ok((*at, series)),
            (Some((at, _)), Some((failed, why))) if failed > at => {
                Err(NoMeasurement::Failed(Arc::clone(why)))
            }
            (None, Some((_, why))) => Err(NoMeasurement::Failed(Arc::clone(why))),
            (Some((at, _)), _) => Err(NoMeasurement::Stale { since: *at }),
            (None, None) => Err(NoMeasurement::Absent),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::measure::MetricSubject;
    use model::quantity::Milli;
    use proptest::prelude::*;

    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(10);

    fn key(metric: &str) -> MetricKey {
        MetricKey { metric: metric.into(), subject: MetricSubject::External }
    }

    fn measured(source: &str, metric: &str, result: MeasurementResult) -> Measured {
        let source = ServiceName::parse(source).unwrap();
        Measured { source, key: key(metric), stale_after: STALE_AFTER, result }
    }

    fn series(value: i64) -> MeasurementResult {
        MeasurementResult::Series(vec![Series { labels: Default::default(), value: Milli(value) }])
    }

    #[test]
    fn withdrawing_a_replaced_source_does_not_remove_its_successor() {
        let (mut readings, at) = (Readings::default(), Time::from_millis(1));
        readings.apply(at, &measured("old", "jobs", series(1)));
        readings.apply(at, &measured("new", "jobs", MeasurementResult::Pending));
        let reading = readings.of(&key("jobs")).unwrap();
        assert_eq!(reading.whole.at(at, STALE_AFTER), Err(NoMeasurement::Absent));
        readings.apply(at, &measured("old", "jobs", MeasurementResult::Withdrawn));
        assert!(readings.of(&key("jobs")).is_some());
        readings.apply(at, &measured("new", "jobs", MeasurementResult::Withdrawn));
        assert!(readings.of(&key("jobs")).is_none());
    }

    #[test]
    fn redeclaring_a_source_keeps_its_last_measurement() {
        let (mut readings, at) = (Readings::default(), Time::from_millis(1));
        readings.apply(at, &measured("queue", "jobs", series(7)));
        readings.apply(at, &measured("queue", "jobs", MeasurementResult::Pending));
        assert!(readings.of(&key("jobs")).unwrap().whole.at(at, STALE_AFTER).is_ok());
    }

    #[test]
    fn no_more_sources_are_kept_than_may_be_declared() {
        let mut readings = Readings::default();
        for nth in 0..METRIC_SOURCES_MAX + 5 {
            readings.apply(Time::ZERO, &measured("queue", &format!("jobs-{nth}"), series(1)));
        }
        assert_eq!(readings.0.len(), METRIC_SOURCES_MAX);
    }

    fn results() -> impl Strategy<Value = MeasurementResult> {
        prop_oneof![
            Just(MeasurementResult::Pending),
            (0..9_i64).prop_map(series),
            Just(MeasurementResult::Series(Vec::new())),
            Just(MeasurementResult::Failed("it is down".into())),
            Just(MeasurementResult::Withdrawn),
        ]
    }

    proptest! {
        /// The reference searches the whole history from its end.
        #[test]
        fn the_last_measurement_is_valid_until_it_is_too_old(history in prop::collection::vec((0..15_u64, results()), 0..20)) {
            let (mut readings, mut now) = (Readings::default(), Time::from_millis(1_000_000));
            let mut past = Vec::new();
            for (seconds, result) in history {
                now = now + Duration::from_secs(seconds);
                readings.apply(now, &measured("queue", "jobs", result.clone()));
                past.push((now, result));
            }
            let life = past.iter().rposition(|(_, result)| *result == MeasurementResult::Withdrawn).map_or(&past[..], |at| &past[at + 1..]);
            let latest = readings.of(&key("jobs")).map(|reading| reading.whole.at(now, STALE_AFTER).map(|(at, _)| at));
            let last = |is_meant: fn(&MeasurementResult) -> bool| life.iter().rfind(|(_, result)| is_meant(result)).map(|(at, _)| *at);
            let (good, bad) = (last(|result| matches!(result, MeasurementResult::Series(_))), last(|result| matches!(result, MeasurementResult::Failed(_))));
            let wanted = (!life.is_empty()).then(|| match (good, bad) {
                (Some(good), _) if now.since(good) <= STALE_AFTER => Ok(good),
                (good, Some(bad)) if good.is_none_or(|good| bad > good) => Err(NoMeasurement::Failed("it is down".into())),
                (Some(good), _) => Err(NoMeasurement::Stale { since: good }),
                (None, _) => Err(NoMeasurement::Absent),
            });
            prop_assert_eq!(latest, wanted);
        }
    }
}
