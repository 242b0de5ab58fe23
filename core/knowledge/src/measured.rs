//! The latest measurements of sources of metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::measure::{Measured, MetricKey, ReplicaSaid, Said, Series};
use model::name::ServiceName;
use model::resource::METRIC_SOURCES_MAX;
use model::time::Time;

/// The latest of each source, by what it measures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readings(BTreeMap<MetricKey, Reading>);

/// The latest report of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The source.
    pub source: ServiceName,
    /// How long a measurement is valid while no newer one comes.
    pub stale_after: Duration,
    /// Of the metric as a whole.
    pub whole: Latest,
    /// Of each replica that was asked last.
    pub by_replica: BTreeMap<Ordinal, ReplicaReading>,
}

/// The latest report of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReading {
    /// Which life of the replica.
    pub incarnation: Incarnation,
    /// What it said.
    pub latest: Latest,
}

/// The latest measurement, and the latest failure to make one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latest {
    measured: Option<(Time, Vec<Series>)>,
    failed: Option<(Time, Arc<str>)>,
}

/// Why there is no valid measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoMeasurement {
    /// None was made yet.
    Absent,
    /// The last one is too old, and nothing was heard since.
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

    /// Takes the report of a source. The withdrawal of a source that another one has replaced has no effect.
    pub(crate) fn take(&mut self, at: Time, measured: &Measured) {
        let is_full = self.0.len() == METRIC_SOURCES_MAX;
        let known = self.0.get_mut(&measured.key);
        if measured.said == Said::Withdrawn {
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
        match &measured.said {
            Said::Begun | Said::Withdrawn => {}
            Said::Series(series) => reading.whole.measure(at, series.clone()),
            Said::Failed(why) => reading.whole.fail(at, Arc::clone(why)),
            Said::Replicas(said) => reading.take_replicas(at, said),
        }
    }
}

impl Reading {
    fn of(measured: &Measured) -> Self {
        Self {
            source: measured.source.clone(),
            stale_after: measured.stale_after,
            whole: Latest::default(),
            by_replica: BTreeMap::new(),
        }
    }

    fn take_replicas(&mut self, at: Time, said: &[ReplicaSaid]) {
        let mut before = std::mem::take(&mut self.by_replica);
        for replica in said {
            let known = before.remove(&replica.ordinal).filter(|it| it.incarnation == replica.incarnation);
            let mut latest = known.map(|known| known.latest).unwrap_or_default();
            match &replica.said {
                Ok(series) => latest.measure(at, series.clone()),
                Err(why) => latest.fail(at, Arc::clone(why)),
            }
            let incarnation = replica.incarnation;
            self.by_replica.insert(replica.ordinal, ReplicaReading { incarnation, latest });
        }
    }
}

impl Latest {
    fn measure(&mut self, at: Time, series: Vec<Series>) {
        self.measured = Some((at, series));
    }

    fn fail(&mut self, at: Time, why: Arc<str>) {
        self.failed = Some((at, why));
    }

    /// The measurement that is valid at `now`, and when it was made.
    ///
    /// A later failure does not undo a measurement: it is valid until it is older than `stale_after`.
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
    use model::measure::Whose;
    use model::quantity::Milli;
    use proptest::prelude::*;

    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(10);

    fn key(metric: &str) -> MetricKey {
        MetricKey { metric: metric.into(), whose: Whose::Outside }
    }

    fn measured(source: &str, metric: &str, said: Said) -> Measured {
        let source = ServiceName::parse(source).unwrap();
        Measured { source, key: key(metric), stale_after: STALE_AFTER, said }
    }

    fn series(value: i64) -> Said {
        Said::Series(vec![Series { labels: Default::default(), value: Milli(value) }])
    }

    #[test]
    fn a_source_whose_place_another_has_taken_takes_nothing_away() {
        let (mut readings, at) = (Readings::default(), Time::from_millis(1));
        readings.take(at, &measured("old", "jobs", series(1)));
        readings.take(at, &measured("new", "jobs", Said::Begun));
        let reading = readings.of(&key("jobs")).unwrap();
        assert_eq!(reading.whole.at(at, STALE_AFTER), Err(NoMeasurement::Absent));
        readings.take(at, &measured("old", "jobs", Said::Withdrawn));
        assert!(readings.of(&key("jobs")).is_some());
        readings.take(at, &measured("new", "jobs", Said::Withdrawn));
        assert!(readings.of(&key("jobs")).is_none());
    }

    #[test]
    fn what_is_told_anew_of_a_source_that_goes_on_forgets_nothing() {
        let (mut readings, at) = (Readings::default(), Time::from_millis(1));
        readings.take(at, &measured("queue", "jobs", series(7)));
        readings.take(at, &measured("queue", "jobs", Said::Begun));
        assert!(readings.of(&key("jobs")).unwrap().whole.at(at, STALE_AFTER).is_ok());
    }

    #[test]
    fn no_more_sources_are_kept_than_may_be_declared() {
        let mut readings = Readings::default();
        for nth in 0..METRIC_SOURCES_MAX + 5 {
            readings.take(Time::ZERO, &measured("queue", &format!("jobs-{nth}"), series(1)));
        }
        assert_eq!(readings.0.len(), METRIC_SOURCES_MAX);
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            Just(Said::Begun),
            (0..9_i64).prop_map(series),
            Just(Said::Series(Vec::new())),
            Just(Said::Failed("it is down".into())),
            Just(Said::Withdrawn),
        ]
    }

    proptest! {
        /// Compares with the whole history, searched from its end.
        #[test]
        fn the_last_measurement_stands_until_it_is_too_old(history in prop::collection::vec((0..15_u64, said()), 0..20)) {
            let (mut readings, mut now) = (Readings::default(), Time::from_millis(1_000_000));
            let mut past = Vec::new();
            for (seconds, said) in history {
                now = now + Duration::from_secs(seconds);
                readings.take(now, &measured("queue", "jobs", said.clone()));
                past.push((now, said));
            }
            let life = past.iter().rposition(|(_, said)| *said == Said::Withdrawn).map_or(&past[..], |at| &past[at + 1..]);
            let latest = readings.of(&key("jobs")).map(|reading| reading.whole.at(now, STALE_AFTER).map(|(at, _)| at));
            let last = |is_meant: fn(&Said) -> bool| life.iter().rfind(|(_, said)| is_meant(said)).map(|(at, _)| *at);
            let (good, bad) = (last(|said| matches!(said, Said::Series(_))), last(|said| matches!(said, Said::Failed(_))));
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
