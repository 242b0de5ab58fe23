//! A source of metrics that tells something of the world outside, which no service of the simulated one changes.

use std::time::Duration;

use model::measure::{Labels, Measured, MeasurementResult, MetricKey, Series};
use model::name::ServiceName;
use model::quantity::Milli;
use model::time::Time;

use crate::load::Load;

/// One number from outside, which the node measures once a second.
#[derive(Clone, Debug)]
pub struct Gauge {
    /// The source that says it.
    pub source: ServiceName,
    /// What it is measured as.
    pub key: MetricKey,
    /// What its only series is told apart by.
    pub labels: Labels,
    /// For how long it stands while nothing else is said.
    pub stale_after: Duration,
    /// What it is at each time, in thousandths of the metric's unit.
    pub course: Load,
}

impl Gauge {
    /// What it says while the node sees, and while it does not.
    pub(crate) fn measured(&self, now: Time, sees: bool) -> Measured {
        let result = if sees {
            let value = Milli(i64::try_from(self.course.at(now).0).unwrap_or(i64::MAX));
            MeasurementResult::Series(vec![Series { labels: self.labels.clone(), value }])
        } else {
            MeasurementResult::Failed("the node is blind".into())
        };
        let Self { source, key, stale_after, .. } = self;
        Measured { source: source.clone(), key: key.clone(), stale_after: *stale_after, result }
    }
}
