//! Polls the declared metric sources, and reports their measurements.

use std::sync::Arc;

use measure::{Replica, Source};
use model::input::{Input, Report};
use model::measure::{Measured, MeasurementResult};
use model::name::ServiceName;
use model::resource::{MetricSourceSpec, ReplicasOrigin};
use orchestrator::MetricSources;
use platform::LifeState;
use tokio_util::sync::CancellationToken;

use crate::known::KnownReplica;
use crate::known_sources::{KnownSource, SourceDetail};
use crate::shared::Shared;

/// Polls exactly these sources. Polling of unchanged sources continues without interruption.
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
        // Unchanged sources are reported as well: the loop may have begun a new run, which does not know them.
        reports.push(measured(name, spec, MeasurementResult::Pending));
        known.sources.entry(name.clone()).or_insert_with(|| begin(shared, name, spec));
    }
    if !reports.is_empty() {
        shared.report(Input::Report(Report::Measured(reports)));
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
        // The lock is held until the report is sent, so that nothing is reported about a source after its withdrawal.
        let mut known = for_reports.metric_sources();
        if let (Some(source_state), false) = (known.sources.get_mut(&source), ended.is_cancelled()) {
            source_state.detail.record(for_reports.loop_handle.now().wall, &result);
            let measured = measured(&source, &spec_of_reports, result);
            for_reports.report(Input::Report(Report::Measured(vec![measured])));
        }
    };
    // The seed only spreads the sources over time; without it all are polled at the same moment.
    let seed = os::seed().unwrap_or_default();
    let (poller, cancelled) = (Source::new(Arc::clone(spec)), polling.clone());
    shared.spawn(async move {
        // Both are cancel safe: the measurement of a withdrawn source is not needed.
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
    let name = origin.port.as_ref().or(replica.first_port());
    let port = name.and_then(|name| life.ports.get(name)).copied();
    Replica { ordinal: life.replica.ordinal, incarnation: life.incarnation, port }
}
