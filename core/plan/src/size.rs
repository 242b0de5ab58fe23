//! How many replicas a service shall have: held by hand, fixed, or found by its autoscaler.

use std::sync::Arc;
use std::time::Duration;

use knowledge::series::Series;
use knowledge::{Knowledge, Place, ServiceState, Stage};
use model::decision::{Account, Decision, Limit, Policy};
use model::identity::Ordinal;
use model::input::Declared;
use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::plan::{Change, Role, Step, Writer};
use model::reason::Reason;
use model::resource::{
    AutoscalerSpec, Bounds, Count, MeteredResource, MetricSpec, REQUEST_RATE_METRIC, ScaleMode,
};
use model::settings::Settings;
use model::time::{Now, Time};

use crate::measured;
use crate::mode::{curbed, followed};
use crate::rest::Rest;
use crate::scale::hpa::{self, Verdict};
use crate::scale::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Requests, Sample, Samples, ScaleView,
    Unavailable,
};
use crate::term::Term;

/// What was decided on the size.
#[derive(Debug)]
pub(crate) struct Size {
    /// Replicas wanted from now on.
    pub(crate) desired: u32,
    /// The step that says so, when it changed.
    pub(crate) step: Option<Step>,
    /// The record of the decision, when one was due.
    pub(crate) decision: Option<Arc<dyn Account>>,
    /// What the autoscaler remembers from now on, when it was asked.
    pub(crate) scaling: Option<ScalingMemory>,
}

/// Decides on the size of a declared service; between two decisions the last one stands.
pub(crate) fn size(now: Now, knowledge: &Knowledge, service: &ServiceState, settings: &Settings) -> Size {
    let Some(declared) = &service.declared else { return kept(service.desired.unwrap_or(0)) };
    let term = Term::of(now.wall, declared);
    let rest = Rest::of(now.time, service, declared, settings).filter(|_| !term.is_fixed(declared));
    if let (Some(desired), true) = (service.desired, now.time < service.next_sync)
        && !matches!(rest, Some(Rest::Over { .. }))
    {
        return kept(desired);
    }
    let begin = service.desired.filter(|desired| !is_off(*desired, service, &term));
    let begin = begin.unwrap_or_else(|| first_size(declared, &term));
    if let Some(hold) = service.held(now.time) {
        let reason = Reason::Held { replicas: hold.replicas, until: hold.until };
        return plain(now, service, Policy::Hold, hold.replicas, reason);
    }
    match rest {
        Some(Rest::Idle { since }) => {
            return plain(now, service, Policy::ToZero, 0, Reason::Idle { since });
        }
        Some(Rest::Over { waiting }) => {
            return plain(
                now,
                service,
                Policy::ToZero,
                first_size(declared, &term).max(1),
                Reason::Awaited { waiting },
            );
        }
        None => {}
    }
    match (&declared.autoscaler, &declared.spec.scale.count) {
        (Some(_), _) if declared.spec.scale.mode == ScaleMode::Off => {
            let kept = followed(ScaleMode::Off, begin, begin, term.bounds);
            plain(now, service, Policy::Off, kept, Reason::ScalingOff)
        }
        (Some(spec), _) => {
            let sight = Sight { now, knowledge, service, declared, settings };
            autoscaled(&sight, (spec, term), begin)
        }
        (None, Count::Fixed(replicas)) => fixed(now, service, declared, *replicas, &term),
        (None, Count::Auto(auto)) => fixed(now, service, declared, auto.min, &term),
    }
}

fn kept(desired: u32) -> Size {
    Size { desired, step: None, decision: None, scaling: None }
}

/// Whether nothing runs by a person's wish that is over: an autoscaler would take it for one that lasts, and stay off.
fn is_off(desired: u32, service: &ServiceState, term: &Term) -> bool {
    desired == 0 && term.bounds.min > 0 && !service.scaling.scaled_to_zero
}

/// Where a service begins that was never sized, or was held at nothing.
fn first_size(declared: &Declared, term: &Term) -> u32 {
    let Bounds { min, max } = term.bounds;
    match (&declared.spec.scale.count, &declared.autoscaler) {
        (Count::Fixed(replicas), Some(_)) => (*replicas).clamp(min.max(1), max.max(1)),
        (Count::Fixed(replicas), None) => (*replicas).clamp(min, max),
        (Count::Auto(_), _) => min.max(1),
    }
}

/// A size that does not depend on load, but perhaps on the time of day.
fn fixed(now: Now, service: &ServiceState, declared: &Declared, replicas: u32, term: &Term) -> Size {
    let within = replicas.clamp(term.bounds.min, term.bounds.max);
    match term.note(declared).filter(|_| within != replicas) {
        Some(note) => plain(now, service, Policy::Schedule, within, Reason::Scheduled { note: note.into() }),
        None => plain(now, service, Policy::Fixed, within, Reason::Declared),
    }
}

/// A size that needs no arithmetic.
fn plain(now: Now, service: &ServiceState, policy: Policy, desired: u32, reason: Reason) -> Size {
    let previous = service.desired.unwrap_or(0);
    let account = PlainAccount { service: service.name.clone(), at: now, policy, previous, desired, reason };
    let step = resize(service, desired, account.reason.clone(), Writer::Human);
    Size { desired, step, decision: Some(Arc::new(account)), scaling: None }
}

fn resize(service: &ServiceState, to: u32, reason: Reason, writer: Writer) -> Option<Step> {
    let from = service.desired.unwrap_or(0);
    (service.desired != Some(to)).then_some(Step { change: Change::Resize { from, to }, reason, writer })
}

/// What an autoscaler looks at.
struct Sight<'a> {
    now: Now,
    knowledge: &'a Knowledge,
    service: &'a ServiceState,
    declared: &'a Arc<Declared>,
    settings: &'a Settings,
}

fn autoscaled(sight: &Sight<'_>, (spec, term): (&AutoscalerSpec, Term), current: u32) -> Size {
    let spec = &*term.bound(spec);
    let Sight { now, service, declared, settings, .. } = *sight;
    let active = service.places.iter().filter(|(_, place)| place.role == Role::Active);
    let places: Vec<(Ordinal, &Place)> = active.map(|(ordinal, place)| (*ordinal, place)).collect();
    let views: Vec<ReplicaView> = places.iter().map(|(_, place)| view(place)).collect();
    let scale = ScaleView {
        spec_replicas: current,
        status_replicas: service.count(),
        members: Members::Known(&views),
    };
    let taken: Vec<Taken> = spec.metrics.iter().map(|metric| sight.take(metric, &places)).collect();
    let readings: Vec<_> =
        spec.metrics.iter().zip(&taken).map(|(metric, taken)| reading(metric, taken, declared)).collect();
    let mut memory = service.scaling.clone();
    let verdict = hpa::reconcile(now.time, spec, &scale, &readings, &mut memory, &settings.hpa);
    // New bounds are no fall of load: they hold whatever fails.
    let is_believed_from_load = verdict.desired < current && current <= spec.max;
    let suspicion = Suspicion::of(&places, settings).filter(|_| is_believed_from_load);
    let proposed = if suspicion.is_some() { current } else { verdict.desired };
    let desired = followed(declared.spec.scale.mode, current, proposed, term.bounds);
    if desired == verdict.desired {
        hpa::confirm(now.time, spec, &verdict, &mut memory);
    }
    let writer = if desired < current { Writer::ScaleIn } else { Writer::ScaleOut };
    let account = HpaAccount { at: now, declared: Arc::clone(declared), verdict, suspicion, term, desired };
    let step = (service.desired != Some(desired)).then(|| {
        let summary = account.decision().summary;
        let reason = Reason::Autoscaled { from: current, to: desired, summary };
        Step { change: Change::Resize { from: service.desired.unwrap_or(0), to: desired }, reason, writer }
    });
    Size { desired, step, decision: Some(Arc::new(account)), scaling: Some(memory) }
}

fn view(place: &Place) -> ReplicaView {
    let readiness =
        place.health().map(|health| Readiness { ready: health.ready, since: health.ready_changed });
    ReplicaView {
        phase: match place.stage {
            Stage::Empty { .. } | Stage::Starting { .. } => Phase::Pending,
            Stage::Running(_) | Stage::Draining { .. } | Stage::Stopping { .. } => Phase::Running,
        },
        leaving: matches!(place.stage, Stage::Draining { .. } | Stage::Stopping { .. }),
        started: place.health().map(|health| health.since),
        readiness,
    }
}

/// What was measured of a metric.
enum Taken {
    /// Of each replica.
    Each(Vec<Result<Sample, Gap>>),
    /// Of the whole.
    Whole(Vec<Milli>),
    /// Nothing that may be counted on.
    Nothing(Unavailable),
}

impl Sight<'_> {
    fn take(&self, metric: &MetricSpec, places: &[(Ordinal, &Place)]) -> Taken {
        let (now, knowledge, service) = (self.now.time, self.knowledge, &self.service.name);
        let whole = |measured: Result<_, _>| measured.map_or_else(Taken::Nothing, Taken::Whole);
        let metered = |measure| Taken::Each(metered(now, measure, places, self.settings));
        match metric {
            MetricSpec::Resource { resource: MeteredResource::Cpu, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Cpu, .. } => metered(cpu),
            MetricSpec::Resource { resource: MeteredResource::Memory, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Memory, .. } => metered(memory),
            MetricSpec::Pods { metric, .. } if metric.name == REQUEST_RATE_METRIC => metered(request_rate),
            MetricSpec::Pods { metric: named, .. } => {
                measured::of_replicas(now, knowledge, (metric, named), service, places)
                    .map_or_else(Taken::Nothing, Taken::Each)
            }
            MetricSpec::Object { metric: named, .. } => {
                whole(measured::of_object(now, knowledge, (metric, named), service))
            }
            MetricSpec::External { metric: named, .. } => {
                whole(measured::of_outside(now, knowledge, (metric, named), service))
            }
        }
    }
}

/// How something is read that we meter ourselves.
type Meter = fn(&Place, Duration) -> Option<Sample>;

fn metered(
    now: Time,
    measure: Meter,
    places: &[(Ordinal, &Place)],
    settings: &Settings,
) -> Vec<Result<Sample, Gap>> {
    let one = |(_, place): &(Ordinal, &Place)| match measure(place, settings.metric_window) {
        None => Err(Gap::Absent),
        Some(sample) if now.since(sample.at) > settings.sample_age_max => Err(Gap::Stale),
        Some(sample) => Ok(sample),
    };
    places.iter().map(one).collect()
}

fn cpu(place: &Place, window: Duration) -> Option<Sample> {
    let growth = place.cpu.growth(window)?;
    let used = place.cpu_share(window)?;
    Some(Sample { value: milli(used.0), at: growth.at, window: growth.over })
}

fn memory(place: &Place, _: Duration) -> Option<Sample> {
    let (at, bytes) = place.memory?;
    Some(Sample { value: milli(bytes.0.saturating_mul(1000)), at, window: Duration::ZERO })
}

fn request_rate(place: &Place, window: Duration) -> Option<Sample> {
    let growth = place.requests.growth(window)?;
    let rate = place.request_rate(window)?;
    Some(Sample { value: milli(rate.0), at: growth.at, window: growth.over })
}

fn reading<'a>(metric: &MetricSpec, taken: &'a Taken, declared: &Declared) -> MetricReading<'a> {
    let by_replica = match taken {
        Taken::Each(by_replica) => by_replica,
        Taken::Whole(series) => return MetricReading::Series(series),
        Taken::Nothing(why) => return MetricReading::Unavailable(why.clone()),
    };
    let resources = &declared.spec.resources;
    let request = match metric {
        MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
            match resource {
                MeteredResource::Cpu => resources.cpu,
                MeteredResource::Memory => resources.memory,
            }
        }
        MetricSpec::Pods { .. } | MetricSpec::Object { .. } | MetricSpec::External { .. } => None,
    };
    let requests = request.map_or(Requests::Unset, |quantity| Requests::Same(Milli(quantity.milli())));
    MetricReading::Each(Samples { by_replica, strangers: 0, requests })
}

fn milli(value: u64) -> Milli {
    Milli(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The decision with what the schedules say about it.
fn scheduled(mut decision: Decision, note: Option<String>) -> Decision {
    if let Some(note) = note {
        let (from, to) = (decision.desired, decision.desired);
        decision.summary = with_note(decision.summary.to_string(), Some(note.clone())).into();
        decision.limits.push(Limit { name: "Scheduled", from, to, note: note.into() });
    }
    decision
}

fn with_note(summary: String, note: Option<String>) -> String {
    match note {
        Some(note) => summary + "; " + &note,
        None => summary,
    }
}

#[derive(Debug)]
struct PlainAccount {
    service: ServiceName,
    at: Now,
    policy: Policy,
    previous: u32,
    desired: u32,
    reason: Reason,
}

impl Account for PlainAccount {
    fn decision(&self) -> Decision {
        let how = match self.policy {
            Policy::Hold | Policy::Off | Policy::Schedule | Policy::ToZero => self.reason.to_string(),
            Policy::Fixed | Policy::Hpa => format!("its declaration asks for {} replicas", self.desired),
        };
        Decision {
            service: self.service.clone(),
            at: self.at,
            desired: self.desired,
            previous: self.previous,
            policy: self.policy,
            metrics: Vec::new(),
            limits: Vec::new(),
            conditions: Vec::new(),
            guard: None,
            summary: how.into(),
        }
    }
}

#[derive(Debug)]
struct HpaAccount {
    at: Now,
    declared: Arc<Declared>,
    verdict: Verdict,
    suspicion: Option<Suspicion>,
    term: Term,
    /// Replicas wanted from now on, whatever the verdict.
    desired: u32,
}

/// A reason not to believe a fall of load (law 4): requests fail, so those that would cost something may not get that far.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    failed: u64,
    requests: u64,
}

impl Suspicion {
    /// What the proxy counted over the metric window, when it is suspicious.
    fn of(places: &[(Ordinal, &Place)], settings: &Settings) -> Option<Self> {
        let growth = |series: &Series| series.growth(settings.metric_window).map_or(0, |growth| growth.by);
        let failed: u64 = places.iter().map(|(_, place)| growth(&place.errors)).sum();
        let requests: u64 = places.iter().map(|(_, place)| growth(&place.requests)).sum();
        let is_many = failed > 0 && failed * 100 >= requests * u64::from(settings.error_percent_max);
        is_many.then_some(Self { failed, requests })
    }

    /// The decision that would have been made, held.
    fn hold(self, mut decision: Decision) -> Decision {
        let Self { failed, requests } = self;
        let note: Arc<str> =
            format!("{failed} of {requests} requests failed: the fall of load is not believed").into();
        let (from, to) = (decision.desired, decision.previous);
        decision.summary = format!("stays at {to}: {note}").into();
        decision.desired = to;
        decision.limits.push(Limit { name: "HeldByErrors", from, to, note });
        decision
    }
}

impl Account for HpaAccount {
    fn decision(&self) -> Decision {
        match &self.declared.autoscaler {
            Some(spec) => {
                let spec = self.term.bound(spec);
                let decision = self.verdict.decision(self.declared.name.clone(), self.at, &spec);
                let decision = match self.suspicion {
                    Some(suspicion) => suspicion.hold(decision),
                    None => decision,
                };
                let decision = scheduled(decision, self.term.note(&self.declared));
                curbed(self.declared.spec.scale.mode, self.desired, decision)
            }
            None => unreachable!("an HPA account is made from the declaration's autoscaler only"),
        }
    }
}
