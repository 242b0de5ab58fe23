//! Sources of metrics, asked as they are declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use measure::{Replica, Source};
use model::input::{Input, Report};
use model::measure::{Measured, Said};
use model::name::ServiceName;
use model::resource::{MetricSourceSpec, ReplicasOrigin};
use model::time::Wall;
use orchestrator::MetricSources;
use platform::LifeState;
use tokio_util::sync::CancellationToken;

use crate::agent::Inner;
use crate::known::KnownReplica;
use crate::obey::spawn;
use crate::report;

/// The sources that the agent was told of, and what they say.
#[derive(Debug, Default)]
pub(crate) struct KnownSources {
    sources: BTreeMap<ServiceName, KnownSource>,
}

#[derive(Debug)]
struct KnownSource {
    spec: Arc<MetricSourceSpec>,
    /// Ends its task.
    asking: CancellationToken,
    detail: SourceDetail,
}

/// The state of a source, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDetail {
    /// Its name.
    pub source: ServiceName,
    /// The last successful measurement, and when it came; of replicas, what each said last, failures included.
    pub measured: Option<(Wall, Said)>,
    /// The last failure, and when; of replicas, that of one of them.
    pub failed: Option<(Wall, Arc<str>)>,
}

impl SourceDetail {
    fn take(&mut self, now: Wall, said: &Said) {
        match said {
            Said::Begun | Said::Withdrawn => {}
            Said::Failed(why) => self.failed = Some((now, Arc::clone(why))),
            Said::Series(_) => self.measured = Some((now, said.clone())),
            Said::Replicas(replicas) => {
                self.measured = Some((now, said.clone()));
                let failed = replicas.iter().find_map(|replica| {
                    let why = replica.said.as_ref().err()?;
                    Some(format!("of replica {}: {why}", replica.ordinal.0))
                });
                self.failed = failed.map(|why| (now, why.into())).or(self.failed.take());
            }
        }
    }
}

/// Asks these sources, and no others. Sources that have not changed go on.
pub(crate) fn follow(inner: &Arc<Inner>, measuring: &MetricSources) {
    let asked = &mut *inner.measuring();
    let mut told = Vec::new();
    let stays = |name: &ServiceName, known: &KnownSource| {
        measuring.sources.iter().any(|(meant, spec)| meant == name && *spec == known.spec)
    };
    asked.sources.retain(|name, known| {
        let stays = stays(name, known);
        if !stays {
            known.asking.cancel();
            told.push(measured(name, &known.spec, Said::Withdrawn));
        }
        stays
    });
    for (name, spec) in &measuring.sources {
        // Reported also for those that go on: a loop in a new run knows of none.
        told.push(measured(name, spec, Said::Begun));
        asked.sources.entry(name.clone()).or_insert_with(|| begin(inner, name, spec));
    }
    if !told.is_empty() {
        report::tell(inner, Input::Report(Report::Measured(told)));
    }
}

/// What each source says, by name.
pub(crate) fn details(inner: &Inner) -> Vec<SourceDetail> {
    inner.measuring().sources.values().map(|source| source.detail.clone()).collect()
}

fn measured(source: &ServiceName, spec: &MetricSourceSpec, said: Said) -> Measured {
    Measured { source: source.clone(), key: spec.key(), stale_after: spec.stale_after(), said }
}

fn begin(inner: &Arc<Inner>, name: &ServiceName, spec: &Arc<MetricSourceSpec>) -> KnownSource {
    let asking = CancellationToken::new();
    let (asker, origin_of) = (Arc::clone(inner), Arc::clone(spec));
    let replicas =
        move || origin_of.from.replicas().map_or_else(Vec::new, |origin| replicas_of(&asker, origin));
    let (teller, told_of, source, ended) =
        (Arc::clone(inner), Arc::clone(spec), name.clone(), asking.clone());
    let tell = move |said: Said| {
        // Locked until it is reported, so that nothing is reported of a source after its withdrawal.
        let mut asked = teller.measuring();
        if let (Some(known), false) = (asked.sources.get_mut(&source), ended.is_cancelled()) {
            known.detail.take(teller.loop_handle.now().wall, &said);
            report::tell(&teller, Input::Report(Report::Measured(vec![measured(&source, &told_of, said)])));
        }
    };
    // Chance only spreads many sources over time; without it they all ask at once.
    let chance = os::seed().unwrap_or_default();
    let (asked, cancelled) = (Source::new(Arc::clone(spec)), asking.clone());
    spawn(inner, async move {
        // Both are cancel safe: an answer that is not waited for any more is nobody's.
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = asked.run(chance, replicas, tell) => {}
        }
    });
    let detail = SourceDetail { source: name.clone(), measured: None, failed: None };
    KnownSource { spec: Arc::clone(spec), asking, detail }
}

/// The replicas of a service that have begun their work.
fn replicas_of(inner: &Inner, origin: &ReplicasOrigin) -> Vec<Replica> {
    let node = inner.known();
    let Some(service) = node.services.get(&origin.service) else { return Vec::new() };
    let has_begun =
        |replica: &&KnownReplica| replica.life.state == LifeState::Running && replica.standing.begun;
    service.replicas.values().filter(has_begun).map(|replica| ask_of(replica, origin)).collect()
}

fn ask_of(replica: &KnownReplica, origin: &ReplicasOrigin) -> Replica {
    let life = &replica.life;
    let first = replica.declared.as_ref().and_then(|declared| declared.spec.first_port());
    let name = origin.port.as_ref().or(first.map(|port| &port.name));
    let port = name.and_then(|name| life.ports.get(name)).copied();
    Replica { ordinal: life.replica.ordinal, incarnation: life.incarnation, port }
}
