//! The stored form of measurements from metric sources.

use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::measure::{Labels, Measured, MetricKey, ReplicaSaid, Said, Series, Whose};
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
        let Measured { source, key: MetricKey { metric, whose }, stale_after, said } = measured.clone();
        let whose = match whose {
            Whose::Outside => StoredWhose::Outside,
            Whose::Object { kind, name } => StoredWhose::Object { kind, name },
            Whose::Replicas(service) => StoredWhose::Replicas(service),
        };
        let said = match said {
            Said::Begun => StoredSaid::Begun,
            Said::Series(series) => StoredSaid::Series(series.into_iter().map(Into::into).collect()),
            Said::Replicas(said) => StoredSaid::Replicas(said.into_iter().map(Into::into).collect()),
            Said::Failed(why) => StoredSaid::Failed(why),
            Said::Withdrawn => StoredSaid::Withdrawn,
        };
        Self { source, metric, whose, stale_after, said }
    }
}

impl From<StoredMeasured> for Measured {
    fn from(stored: StoredMeasured) -> Self {
        let StoredMeasured { source, metric, whose, stale_after, said } = stored;
        let whose = match whose {
            StoredWhose::Outside => Whose::Outside,
            StoredWhose::Object { kind, name } => Whose::Object { kind, name },
            StoredWhose::Replicas(service) => Whose::Replicas(service),
        };
        let said = match said {
            StoredSaid::Begun => Said::Begun,
            StoredSaid::Series(series) => Said::Series(series.into_iter().map(Into::into).collect()),
            StoredSaid::Replicas(said) => Said::Replicas(said.into_iter().map(Into::into).collect()),
            StoredSaid::Failed(why) => Said::Failed(why),
            StoredSaid::Withdrawn => Said::Withdrawn,
        };
        Self { source, key: MetricKey { metric, whose }, stale_after, said }
    }
}

impl From<ReplicaSaid> for StoredReplica {
    fn from(replica: ReplicaSaid) -> Self {
        let ReplicaSaid { ordinal, incarnation, said } = replica;
        let said = said.map(|series| series.into_iter().map(Into::into).collect());
        Self { ordinal: ordinal.0, incarnation: incarnation.0, said }
    }
}

impl From<StoredReplica> for ReplicaSaid {
    fn from(stored: StoredReplica) -> Self {
        let StoredReplica { ordinal, incarnation, said } = stored;
        let said = said.map(|series| series.into_iter().map(Into::into).collect());
        Self { ordinal: Ordinal(ordinal), incarnation: Incarnation(incarnation), said }
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
