//! The stored form of measurements from metric sources.

use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::measure::{
    Labels, Measured, MeasurementResult, MetricKey, MetricSubject, ReplicaMeasurement, Series,
};
use model::name::ServiceName;
use model::quantity::Milli;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredMeasured {
    source: ServiceName,
    metric: Arc<str>,
    whose: StoredWhose,
    stale_after: Duration,
    said: StoredSaid,
}

#[derive(Serialize, Deserialize)]
enum StoredWhose {
    Outside,
    Object { kind: Arc<str>, name: Arc<str> },
    Replicas(ServiceName),
}

#[derive(Serialize, Deserialize)]
enum StoredSaid {
    Begun,
    Series(Vec<StoredSeries>),
    Replicas(Vec<StoredReplica>),
    Failed(Arc<str>),
    Withdrawn,
}

#[derive(Serialize, Deserialize)]
struct StoredReplica {
    ordinal: u32,
    incarnation: u32,
    said: Result<Vec<StoredSeries>, Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct StoredSeries {
    labels: Labels,
    milli: i64,
}

impl From<&Measured> for StoredMeasured {
    fn from(measured: &Measured) -> Self {
        let Measured { source, key: MetricKey { metric, subject }, stale_after, result } = measured.clone();
        let whose = match subject {
            MetricSubject::External => StoredWhose::Outside,
            MetricSubject::Object { kind, name } => StoredWhose::Object { kind, name },
            MetricSubject::Replicas(service) => StoredWhose::Replicas(service),
        };
        let said = match result {
            MeasurementResult::Pending => StoredSaid::Begun,
            MeasurementResult::Series(series) => {
                StoredSaid::Series(series.into_iter().map(Into::into).collect())
            }
            MeasurementResult::Replicas(said) => {
                StoredSaid::Replicas(said.into_iter().map(Into::into).collect())
            }
            MeasurementResult::Failed(why) => StoredSaid::Failed(why),
            MeasurementResult::Withdrawn => StoredSaid::Withdrawn,
        };
        Self { source, metric, whose, stale_after, said }
    }
}

impl From<StoredMeasured> for Measured {
    fn from(stored: StoredMeasured) -> Self {
        let StoredMeasured { source, metric, whose, stale_after, said } = stored;
        let subject = match whose {
            StoredWhose::Outside => MetricSubject::External,
            StoredWhose::Object { kind, name } => MetricSubject::Object { kind, name },
            StoredWhose::Replicas(service) => MetricSubject::Replicas(service),
        };
        let result = match said {
            StoredSaid::Begun => MeasurementResult::Pending,
            StoredSaid::Series(series) => {
                MeasurementResult::Series(series.into_iter().map(Into::into).collect())
            }
            StoredSaid::Replicas(said) => {
                MeasurementResult::Replicas(said.into_iter().map(Into::into).collect())
            }
            StoredSaid::Failed(why) => MeasurementResult::Failed(why),
            StoredSaid::Withdrawn => MeasurementResult::Withdrawn,
        };
        Self { source, key: MetricKey { metric, subject }, stale_after, result }
    }
}

impl From<ReplicaMeasurement> for StoredReplica {
    fn from(replica: ReplicaMeasurement) -> Self {
        let ReplicaMeasurement { ordinal, incarnation, result } = replica;
        let said = result.map(|series| series.into_iter().map(Into::into).collect());
        Self { ordinal: ordinal.0, incarnation: incarnation.0, said }
    }
}

impl From<StoredReplica> for ReplicaMeasurement {
    fn from(stored: StoredReplica) -> Self {
        let StoredReplica { ordinal, incarnation, said } = stored;
        let result = said.map(|series| series.into_iter().map(Into::into).collect());
        Self { ordinal: Ordinal(ordinal), incarnation: Incarnation(incarnation), result }
    }
}

impl From<Series> for StoredSeries {
    fn from(series: Series) -> Self {
        Self { labels: series.labels, milli: series.value.0 }
    }
}

impl From<StoredSeries> for Series {
    fn from(stored: StoredSeries) -> Self {
        Self { labels: stored.labels, value: Milli(stored.milli) }
    }
}
