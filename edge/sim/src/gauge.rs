//! A source of metrics from outside the simulated world, which no service influences.

use std::time::Duration;

use model::measure::{Labels, Measured, MeasurementResult, MetricKey, Series};
use model::name::ServiceName;
use model::quantity::Milli;
use model::time::Time;

use crate::load::Load;

/// One external number, which the node measures once a second.
#[derive(Clone, Debug)]
pub struct Gauge {
    /// The source that reports it.
    pub source: ServiceName,
    /// The key under which it is reported.
    pub key: MetricKey,
    /// The labels of its only series.
    pub labels: Labels,
    /// For how long a value is used while no newer one arrives.
    pub stale_after: Duration,
    /// Its value at each time, in thousandths of the metric's unit.
    pub values: Load,
}

impl Gauge {
    /// What it reports; `sees` is false while the node measures nothing.
    pub(crate) fn measured(&self, now: Time, sees: bool) -> Measured {
        let value = if sees {
            let value = Milli(i64::try_from(self.values.at(now).0).unwrap_or(i64::MAX));
            MeasurementResult::Series(vec![Series { labels: self.labels.clone(), value }])
        } else {
            MeasurementResult::Failed("the node is blind".into())
        };
        let Self { source, key, stale_after, .. } = self;
        Measured { source: source.clone(), key: key.clone(), stale_after: *stale_after, result: value }
    }
}
