//! The agent's state of the declared metric sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::measure::MeasurementResult;
use model::name::ServiceName;
use model::resource::MetricSourceSpec;
use model::time::Wall;
use tokio_util::sync::CancellationToken;

/// The declared metric sources, by name.
#[derive(Debug, Default)]
pub(crate) struct KnownSources {
    pub(crate) sources: BTreeMap<ServiceName, KnownSource>,
}

/// One declared source.
#[derive(Debug)]
pub(crate) struct KnownSource {
    pub(crate) spec: Arc<MetricSourceSpec>,
    /// Ends its polling.
    pub(crate) polling: CancellationToken,
    pub(crate) detail: SourceDetail,
}

/// The state of a metric source, for the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDetail {
    /// Its name.
    pub source: ServiceName,
    /// The last successful measurement and its time; for a source of replicas, the last result of each, failures included.
    pub measured: Option<(Wall, MeasurementResult)>,
    /// The last failure and its time; for a source of replicas, that of one replica.
    pub failed: Option<(Wall, Arc<str>)>,
}

impl SourceDetail {
    pub(crate) fn record(&mut self, now: Wall, result: &MeasurementResult) {
        match result {
            MeasurementResult::Pending | MeasurementResult::Withdrawn => {}
            MeasurementResult::Failed(why) => self.failed = Some((now, Arc::clone(why))),
            MeasurementResult::Series(_) => self.measured = Some((now, result.clone())),
            MeasurementResult::Replicas(replicas) => {
                self.measured = Some((now, result.clone()));
                let failed = replicas.iter().find_map(|replica| {
                    let why = replica.result.as_ref().err()?;
                    Some(format!("of replica {}: {why}", replica.ordinal.0))
                });
                self.failed = failed.map(|why| (now, why.into())).or(self.failed.take());
            }
        }
    }
}
