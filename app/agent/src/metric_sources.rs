//! Sources of metrics, polled as declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use measure::{Replica, Source};
use model::input::{Input, Report};
use model::measure::{Measured, MeasurementResult};
use model::name::ServiceName;
use model::resource::{MetricSourceSpec, ReplicasOrigin};
use model::time::Wall;
use orchestrator::MetricSources;
use platform::LifeState;
use tokio_util::sync::CancellationToken;

use crate::agent::Shared;
use crate::known::KnownReplica;
use crate::orders::spawn;
use crate::report;

/// The declared sources, and their state.
#[derive(Debug, Default)]
pub(crate) struct KnownSources {
    sources: BTreeMap<ServiceName, KnownSource>,
}

#[derive(Debug)]
struct KnownSource {
    spec: Arc<MetricSourceSpec>,
    /// Ends its task.
    polling: CancellationToken,
    detail: SourceDetail,
}

/// The state of a source, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDetail {
    /// Its name.
    pub source: ServiceName,
    /// The last successful measurement, and when; for replicas, the last result of each, failures included.
    pub measured: Option<(Wall, MeasurementResult)>,
    /// The last failure, and when; for replicas, that of one of them.
    pub failed: Option<(Wall, Arc<str>)>,
}

impl SourceDetail {
    fn record(&mut self, now: Wall, result: &MeasurementResult) {
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

/// Polls these sources, and no others. Sources that have not changed go on.
pub(crate) fn set_sources(shared: &Arc<Shared>, declared: &MetricSources) {
    let known = &mut *shared.metric_sources();
    let mut reports = Vec::new();
    let stays = |name: &ServiceName, known: &KnownSource| {
        declared.sources.iter().any(|(source, spec)| source == name && *spec == known.spec)
    };
    known.sources.retain(|name, source| {
        let stays = stays(name, source);
        if !stays {
            source.polling.cancel();
            reports.push(measured(name, &source.spec, MeasurementResult::Withdrawn));
        }
        stays
    });
    for (name, spec) in &declared.sources {
        // Reported for those that go on, too: a loop in a new run does not know them.
        reports.push(measured(name, spec, MeasurementResult::Pending));
        known.sources.entry(name.clone()).or_insert_with(|| begin(shared, name, spec));
    }
    if !reports.is_empty() {
        report::send(shared, Input::Report(Report::Measured(reports)));
    }
}

/// The state of each source, by name.
pub(crate) fn details(shared: &Shared) -> Vec<SourceDetail> {
    shared.metric_sources().sources.values().map(|source| source.detail.clone()).collect()
}

fn measured(source: &ServiceName, spec: &MetricSourceSpec, result: MeasurementResult) -> Measured {
    Measured { source: source.clone(), key: spec.key(), stale_after: spec.stale_after(), result }
}

fn begin(shared: &Arc<Shared>, name: &ServiceName, spec: &Arc<MetricSourceSpec>) -> KnownSource {
    let polling = CancellationToken::new();
    let (for_replicas, origin_of) = (Arc::clone(shared), Arc::clone(spec));
    let replicas =
        move || origin_of.from.replicas().map_or_else(Vec::new, |origin| replicas_of(&for_replicas, origin));
    let (for_reports, spec_of_reports, source, ended) =
        (Arc::clone(shared), Arc::clone(spec), name.clone(), polling.clone());
    let report = move |result: MeasurementResult| {
        // Locked until it is reported, so that nothing is reported of a source after its withdrawal.
        let mut known = for_reports.metric_sources();
        if let (Some(source_state), false) = (known.sources.get_mut(&source), ended.is_cancelled()) {
            source_state.detail.record(for_reports.loop_handle.now().wall, &result);
            report::send(
                &for_reports,
                Input::Report(Report::Measured(vec![measured(&source, &spec_of_reports, result)])),
            );
        }
    };
    // The seed only spreads many sources over time; without one they are all polled at once.
    let seed = os::seed().unwrap_or_default();
    let (poller, cancelled) = (Source::new(Arc::clone(spec)), polling.clone());
    spawn(shared, async move {
        // Both are cancel safe: the answer of a source that is withdrawn is not needed.
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = poller.run(seed, replicas, report) => {}
        }
    });
    let detail = SourceDetail { source: name.clone(), measured: None, failed: None };
    KnownSource { spec: Arc::clone(spec), polling, detail }
}

/// The replicas of a service that have started.
fn replicas_of(shared: &Shared, origin: &ReplicasOrigin) -> Vec<Replica> {
    let node = shared.known();
    let Some(service) = node.services.get(&origin.service) else { return Vec::new() };
    let has_started =
        |replica: &&KnownReplica| replica.life.state == LifeState::Running && replica.health.started;
    service.replicas.values().filter(has_started).map(|replica| target_of(replica, origin)).collect()
}

fn target_of(replica: &KnownReplica, origin: &ReplicasOrigin) -> Replica {
    let life = &replica.life;
    let first = replica.declared.as_ref().and_then(|declared| declared.spec.first_port());
    let name = origin.port.as_ref().or(first.map(|port| &port.name));
    let port = name.and_then(|name| life.ports.get(name)).copied();
    Replica { ordinal: life.replica.ordinal, incarnation: life.incarnation, port }
}
