//! The state of services: copied from the loop in short queries, in the types of `/v1`.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::ProbeNotes;
use control::ControlLoop;
use knowledge::{Exposure, Health, Knowledge, Place, ServiceState, Stage};
use model::decision::{AlternativeSize, Condition, Decision, Explanation, ShadowDecision};
use model::identity::{Ordinal, ReplicaId};
use model::input::{Declared, Exit, Throttling};
use model::memory::ShadowMemory;
use model::name::{NodeName, ServiceName};
use model::plan::{Role, Wait};
use model::quantity::MilliRps;
use model::reason::Reason;
use model::settings::Settings;
use model::time::{Now, Time};
use orchestrator::{EventRecord, Handle, Stopped};

use crate::decision;
use crate::removable::removable;
use crate::timestamps::{rfc3339, wall_of};
use crate::{capacity, rightsize, v1};

/// Services per query on the loop's thread.
///
/// 100 services of 10 replicas take some 200 µs, a thousandth of the loop's period.
const SERVICES_PER_QUERY: usize = 100;

/// One service as the loop knew it at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ServiceView {
    pub(crate) name: ServiceName,
    pub(crate) status: v1::ServiceStatus,
    pub(crate) places: Vec<PlaceView>,
    pub(crate) decision: Option<Arc<dyn Explanation>>,
    /// What the service and its replicas wait for.
    pub(crate) waits: Vec<v1::Wait>,
    /// Why the guard has refused a step of the latest plan.
    pub(crate) refusal: Option<Reason>,
    pub(crate) last_declared: Option<Arc<Declared>>,
    /// The memory of the shadow autoscalers.
    pub(crate) shadows: Vec<Arc<ShadowMemory>>,
    /// When the state was copied.
    pub(crate) now: Now,
}

/// One place of a service, without the details that only the agent knows.
#[derive(Clone, Debug)]
pub(crate) struct PlaceView {
    pub(crate) replica: ReplicaId,
    pub(crate) is_occupied: bool,
    /// Whether it is empty because its replica exited by itself.
    pub(crate) has_exited: bool,
    pub(crate) status: v1::ReplicaStatus,
}

/// All known services, or those in `names`, sorted by name. Blocks for the loop.
pub(crate) fn services(
    handle: &Handle,
    names: Option<Vec<ServiceName>>,
) -> Result<Vec<ServiceView>, Stopped> {
    services_with_notes(handle, names, ProbeNotes::new())
}

/// Like [`services`]; what waits for a replica that is not ready says why its probe fails, by `notes`.
pub(crate) fn services_with_notes(
    handle: &Handle,
    names: Option<Vec<ServiceName>>,
    notes: ProbeNotes,
) -> Result<Vec<ServiceView>, Stopped> {
    let notes = Arc::new(notes);
    let names = match names {
        Some(names) => names,
        None => handle.query(|control, _| {
            control.knowledge().services().map(|service| service.name.clone()).collect::<Vec<_>>()
        })?,
    };
    let mut views = Vec::with_capacity(names.len());
    for chunk in names.chunks(SERVICES_PER_QUERY) {
        let (chunk, notes) = (chunk.to_vec(), Arc::clone(&notes));
        views.extend(handle.query(move |control, now| {
            chunk.iter().filter_map(|name| view_of(control, now, name, &notes)).collect::<Vec<_>>()
        })?);
    }
    Ok(views)
}

/// The service as `control` knows it, and why its probes fail, by `notes`.
pub(crate) fn view_of(
    control: &ControlLoop,
    now: Now,
    name: &ServiceName,
    notes: &ProbeNotes,
) -> Option<ServiceView> {
    let knowledge = control.knowledge();
    let service = knowledge.service(name)?;
    let snapshot = Snapshot { now, settings: control.settings(), knowledge, notes };
    let places: Vec<PlaceView> =
        service.places.iter().map(|(ordinal, place)| snapshot.place(service, *ordinal, place)).collect();
    let waits = snapshot.waits(service);
    Some(ServiceView {
        name: name.clone(),
        status: snapshot.service(service, &places, &waits),
        places,
        decision: service.decision.clone(),
        waits,
        refusal: service.waits.iter().map(|wait| &wait.reason).find(|reason| is_from_guard(reason)).cloned(),
        last_declared: service.last_declared.clone(),
        shadows: service.shadows.clone(),
        now,
    })
}

struct Snapshot<'a> {
    now: Now,
    settings: &'a Settings,
    knowledge: &'a Knowledge,
    notes: &'a ProbeNotes,
}

impl Snapshot<'_> {
    fn service(&self, service: &ServiceState, places: &[PlaceView], waits: &[v1::Wait]) -> v1::ServiceStatus {
        let count = |counts: &dyn Fn(&Place) -> bool| {
            let counted = service.places.values().filter(|place| counts(place)).count();
            u32::try_from(counted).unwrap_or(u32::MAX)
        };
        let declared = service.declared.as_ref();
        v1::ServiceStatus {
            desired_replicas: declared.and(service.desired).unwrap_or(0),
            replicas: count(&|place| place.counts() && place.is_occupied()),
            ready_replicas: service.serving(),
            spare_replicas: count(&|place| place.role == Role::Spare && place.is_occupied()),
            revision: declared.map_or(0, |declared| declared.revision.0),
            generation: declared.map_or(0, |declared| declared.generation.0),
            hold: service.active_hold(self.now.time).map(|hold| v1::Hold {
                replicas: hold.replicas,
                until: hold.until.map(|time| self.at(time)),
            }),
            pause: service
                .active_pause(self.now.time)
                .map(|pause| v1::Pause { until: pause.until.map(|time| self.at(time)) }),
            traffic: sum_of_traffic(places),
            usage: sum_of_usage(places),
            capacity: capacity::capacity(service),
            recommendation: rightsize::recommended(self.now.time, service),
            proxy: None,
            endpoints: Vec::new(),
            zone: None,
            versions: Vec::new(),
            external: Vec::new(),
            conditions: if declared.is_some() {
                self.conditions(service, waits)
            } else {
                self.terminating(service)
            },
        }
    }

    fn conditions(&self, service: &ServiceState, waits: &[v1::Wait]) -> Vec<v1::Condition> {
        let (ready, desired) = (service.serving(), service.desired.unwrap_or(0));
        let autoscaler = service.declared.as_ref().and_then(|declared| declared.autoscaler.as_ref());
        let needed = autoscaler.map_or(desired, |spec| spec.min.min(desired)).max(u32::from(desired > 0));
        let why = match waits.first() {
            Some(v1::Wait { replica: Some(replica), message }) => format!(": {replica}: {message}"),
            Some(v1::Wait { replica: None, message }) => format!(": {message}"),
            None => String::new(),
        };
        let enough = format!("{ready} ready, at least {needed} needed");
        let available = if let Some(failure) = service.failure_at_zero() {
            let message = format!("it is scaled to zero, and its last replica did not serve: {failure}");
            condition("Available", false, "StartFailed", message, None)
        } else if ready >= needed {
            condition("Available", true, "EnoughReady", enough, self.since_ready(service))
        } else {
            condition("Available", false, "TooFewReady", enough + &why, self.since_missing(service))
        };
        let mut conditions = vec![available, self.complete(service, &why)];
        conditions.extend(self.exposed(service));
        conditions.push(self.healing(service));
        conditions.extend(removable(self.now.time, self.knowledge, service));
        conditions
    }

    /// What the latest plan postpones, followed by the replicas that are to become ready.
    fn waits(&self, service: &ServiceState) -> Vec<v1::Wait> {
        let noted: BTreeSet<Ordinal> = service.waits.iter().filter_map(|wait| wait.ordinal).collect();
        let unready = service.counting().filter_map(|(ordinal, place)| {
            let health = place.health().filter(|health| !health.ready && health.unhealthy_since.is_none())?;
            let reason = Reason::NotReady { since: health.ready_changed };
            (service.is_awaited(place) && !noted.contains(&ordinal))
                .then_some(Wait { ordinal: Some(ordinal), reason })
        });
        service.waits.iter().cloned().chain(unready).map(|wait| self.wait(service, &wait)).collect()
    }

    fn wait(&self, service: &ServiceState, Wait { ordinal, reason }: &Wait) -> v1::Wait {
        let replica = ordinal.map(|ordinal| ReplicaId { service: service.name.clone(), ordinal });
        let note = || {
            let replica = replica.clone()?;
            let incarnation = service.places.get(&replica.ordinal)?.incarnation;
            self.notes.get(&(replica, incarnation))
        };
        let is_unready = matches!(reason, Reason::NotReady { .. });
        let message = match is_unready.then(note).flatten() {
            Some(note) => format!("{reason}: {note}"),
            None => {
                let place = ordinal.and_then(|ordinal| service.places.get(&ordinal));
                with_end(reason.to_string(), place.and_then(last_end))
            }
        };
        v1::Wait { replica: replica.map(|replica| replica.to_string()), message }
    }

    /// Whether replicas that fail their liveness probe are restarted.
    fn healing(&self, service: &ServiceState) -> v1::Condition {
        let Some(since) = service.healing.suspended else {
            let message = "replicas that fail their liveness probe are restarted";
            return v1::Condition::of_bool("Healing", true, "Active", message);
        };
        let message = "too many replicas fail their liveness probe at once, so none is restarted: the cause is overload or something shared";
        v1::Condition::of_bool("Healing", false, "Suspended", message).since(Some(self.at(since)))
    }

    /// Whether the proxy listens; `None` for a service that is not exposed.
    fn exposed(&self, service: &ServiceState) -> Option<v1::Condition> {
        let (status, reason, message) = exposed(service)?;
        let since = service.exposure.since().map(|time| self.at(time));
        Some(v1::Condition::new("Exposed", status, reason, message).since(since))
    }

    /// The conditions of a deleted service: only the progress of its termination.
    fn terminating(&self, service: &ServiceState) -> Vec<v1::Condition> {
        let left = service.places.values().filter(|place| place.is_occupied()).count();
        let message = match left {
            0 => "it is deleted, and its last replica has stopped".to_owned(),
            1 => "it is deleted, and its last replica is draining".to_owned(),
            left => format!("it is deleted, and {left} replicas are draining"),
        };
        let terminating = v1::Condition::of_bool(v1::TERMINATING, true, "Deleted", message);
        std::iter::once(terminating).chain(self.exposed(service)).collect()
    }

    /// Whether the service matches its declaration: the desired number of replicas, all of the declared version, and none being removed.
    fn complete(&self, service: &ServiceState, why: &str) -> v1::Condition {
        let (ready, desired) = (service.serving(), service.desired.unwrap_or(0));
        let counted = || service.places.values().filter(|place| place.counts());
        let outdated = counted().filter(|place| service.is_outdated(place)).count();
        let progress = format!("{ready} of {desired} desired replicas are ready");
        if ready < desired {
            return condition("Complete", false, "Growing", progress + why, self.since_missing(service));
        }
        if outdated > 0 {
            let unproven = service.unproven().map_or_else(String::new, |reason| format!(" ({reason})"));
            let until = self.next_available(service).map_or_else(String::new, |until| {
                format!("; the next is replaced at {until} at the earliest (spec.update.minReady)")
            });
            let message = format!(
                "{outdated} of {desired} replicas run an older version than the declared one{unproven}{until}{why}"
            );
            return condition("Complete", false, "Updating", message, self.since_missing(service));
        }
        if ready > desired {
            return condition("Complete", false, "Shrinking", progress + why, self.since_ready(service));
        }
        // Some are being removed, or there is a surplus replica that does not serve: a replacement, or one that cannot be removed yet.
        if service.count() > desired || service.places.len() > counted().count() + service.spares().count() {
            return condition("Complete", false, "Settling", progress + why, self.since_ready(service));
        }
        condition("Complete", true, "Settled", progress, self.since_ready(service))
    }

    /// When the next ready replica will have been ready for long enough to count for a rollout; `None` when all have been.
    fn next_available(&self, service: &ServiceState) -> Option<Time> {
        let min_ready = service.declared.as_ref()?.min_ready();
        let times = service.counting().filter_map(|(_, place)| place.available_at(min_ready));
        times.filter(|at| *at > self.now.time).min()
    }

    /// When the readiness of a replica last changed.
    fn since_ready(&self, service: &ServiceState) -> Option<String> {
        let counted = service.places.values().filter(|place| place.counts());
        counted
            .filter_map(|place| place.health().map(|health| health.ready_changed))
            .max()
            .map(|time| self.at(time))
    }

    /// When the stage of a replica that does not serve last changed.
    fn since_missing(&self, service: &ServiceState) -> Option<String> {
        let missing = service.places.values().filter(|place| place.counts() && !place.is_serving());
        missing.map(|place| stage_since(&place.stage)).max().map(|time| self.at(time))
    }

    fn place(&self, service: &ServiceState, ordinal: Ordinal, place: &Place) -> PlaceView {
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let window = self.settings.metric_window;
        let is_occupied = place.is_occupied();
        let fresh = |at: Time| is_occupied && self.now.time.since(at) <= self.settings.sample_age_max;
        let memory = place.memory.filter(|(at, _)| fresh(*at)).map(|(_, bytes)| bytes.0);
        let cpu = place.cpu.last().filter(|(at, _)| fresh(*at)).and_then(|_| place.cpu_share(window));
        let throttle = || place.throttle().filter(|throttle| fresh(throttle.latest().0));
        let rate =
            place.requests.last().filter(|(at, _)| fresh(*at)).and_then(|_| place.request_rate(window));
        let errors =
            place.errors.last().filter(|(at, _)| fresh(*at)).and_then(|_| place.errors.growth(window));
        let p99 = (is_occupied && !place.latency_p99.is_zero()).then_some(place.latency_p99.as_secs_f64());
        // Of a replica that is not ready, the failure of its probe is shown.
        let is_own =
            |wait: &&Wait| wait.ordinal == Some(ordinal) && !matches!(wait.reason, Reason::NotReady { .. });
        let wait = service.waits.iter().find(is_own);
        let status = v1::ReplicaStatus {
            service: service.name.to_string(),
            node: self.knowledge.node.as_ref().filter(|_| is_occupied).map(NodeName::to_string),
            pid: None,
            ports: Default::default(),
            phase: self.phase(place).into(),
            ready: place.is_ready(),
            restarts: place.restart.restarts,
            started_at: None,
            role: match place.role {
                Role::Active => "active",
                Role::Spare => "spare",
            }
            .into(),
            incarnation: place.incarnation.0,
            generation: place.generation.0,
            adopted: false,
            protected_until: service.protected_until(self.now.time, ordinal).map(|until| self.at(until)),
            message: match wait {
                Some(wait) => Some(with_end(wait.reason.to_string(), last_end(place))),
                None => last_end(place),
            },
            endpoint: None,
            traffic: v1::Traffic {
                requests_per_second: rate.map(MilliRps::per_second),
                errors_per_second: errors.map(|growth| MilliRps::mean(growth.by, growth.over).per_second()),
                in_flight: if fresh(place.in_flight.0) { place.in_flight.1 } else { 0 },
                latency_p99_seconds: p99,
            },
            usage: v1::Usage {
                cpu_millicores: cpu.map(|cpu| cpu.0),
                memory_bytes: memory,
                throttled_share: throttle().and_then(|throttle| throttle.share(window)),
            },
            throttling: throttle().map(|throttle| throttling(throttle.latest().1)),
        };
        let has_exited = matches!(place.stage, Stage::Empty { exit: Some(_), .. });
        PlaceView { replica, is_occupied, has_exited, status }
    }

    fn phase(&self, place: &Place) -> &'static str {
        match &place.stage {
            Stage::Empty { .. } if place.restart.not_before > self.now.time => "Backoff",
            Stage::Empty { .. } => "Pending",
            Stage::Starting { .. } | Stage::Running(Health { started: false, .. }) => "Starting",
            Stage::Running(Health { unhealthy_since: Some(_), .. }) => "Unhealthy",
            Stage::Running(_) => "Running",
            Stage::Draining { .. } => "Draining",
            Stage::Stopping { .. } => "Stopping",
        }
    }

    fn at(&self, time: Time) -> String {
        rfc3339(wall_of(self.now, time))
    }
}

fn condition(
    kind: &str,
    is_true: bool,
    reason: &str,
    message: String,
    since: Option<String>,
) -> v1::Condition {
    v1::Condition::of_bool(kind, is_true, reason, message).since(since)
}

fn stage_since(stage: &Stage) -> Time {
    match stage {
        Stage::Empty { since, .. }
        | Stage::Starting { since, .. }
        | Stage::Draining { since, .. }
        | Stage::Stopping { since, .. } => *since,
        Stage::Running(health) => health.ready_changed,
    }
}

/// What a replica waits for, and how the one before ended, or why it could not be started, unless that is already part of it.
pub(crate) fn with_end(wait: String, end: Option<String>) -> String {
    match end {
        Some(end) if !wait.contains(&end) => format!("{wait}; {end}"),
        Some(_) | None => wait,
    }
}

/// How the last replica of an empty place ended, or why it could not be started.
fn last_end(place: &Place) -> Option<String> {
    match &place.stage {
        Stage::Empty { exit: Some(exit), .. } => Some(exit_sentence(*exit)),
        Stage::Empty { exit: None, .. } => place.start_failure.as_deref().map(str::to_owned),
        Stage::Starting { .. } | Stage::Running(_) | Stage::Draining { .. } | Stage::Stopping { .. } => None,
    }
}

fn exit_sentence(exit: Exit) -> String {
    Reason::Exited(exit).to_string()
}

/// Status, reason and message; `None` for a service that is not exposed.
fn exposed(service: &ServiceState) -> Option<(&'static str, &'static str, String)> {
    let listen = service.last_declared.as_ref().and_then(|declared| declared.spec.expose.as_ref());
    let address = match listen.map(|expose| expose.listen) {
        Some(Some(listen)) => listen.to_string(),
        // It is reached over external balancers, which have their own condition: External.
        Some(None) => return None,
        None => String::new(),
    };
    match &service.exposure {
        Exposure::None if listen.is_none() || service.declared.is_none() => None,
        Exposure::None | Exposure::Opening { .. } => {
            Some(("Unknown", "Opening", format!("the proxy is about to listen on {address}")))
        }
        Exposure::Open { .. } => Some(("True", "Listening", format!("the proxy listens on {address}"))),
        Exposure::Failed { message, .. } => Some(("False", "Failed", message.to_string())),
        Exposure::Closing { .. } => Some(("False", "Closing", "the proxy is about to stop listening".into())),
    }
}

fn sum_of_traffic(places: &[PlaceView]) -> v1::Traffic {
    let traffic = || places.iter().map(|place| &place.status.traffic);
    v1::Traffic {
        requests_per_second: traffic().filter_map(|it| it.requests_per_second).reduce(|a, b| a + b),
        // A request can fail without reaching a replica, or at several: only the proxy can count failures as seen by clients.
        errors_per_second: None,
        in_flight: traffic().map(|it| it.in_flight).sum(),
        latency_p99_seconds: traffic().filter_map(|it| it.latency_p99_seconds).reduce(f64::max),
    }
}

fn throttling(counted: Throttling) -> v1::Throttling {
    let Throttling { windows, throttled, waited } = counted;
    v1::Throttling { windows, throttled_windows: throttled, waited_seconds: waited.as_secs_f64() }
}

fn sum_of_usage(places: &[PlaceView]) -> v1::Usage {
    let usage = || places.iter().map(|place| &place.status.usage);
    v1::Usage {
        cpu_millicores: usage().filter_map(|it| it.cpu_millicores).reduce(|a, b| a + b),
        memory_bytes: usage().filter_map(|it| it.memory_bytes).reduce(|a, b| a + b),
        throttled_share: usage().filter_map(|it| it.throttled_share).reduce(f64::max),
    }
}

/// The explanation of the latest decision on a service; `None` before the first decision.
pub(crate) fn explanation(
    view: &ServiceView,
    changes: Vec<v1::SizeChange>,
    asked: Option<AlternativeSize>,
) -> Option<v1::Explanation> {
    let explanation = &**view.decision.as_ref()?;
    let decision = explanation.decision();
    let guard = decision.guard.clone().or_else(|| view.refusal.clone());
    Some(v1::Explanation {
        target: format!("service/{}", view.name),
        at: rfc3339(decision.at.wall),
        desired: decision.desired,
        previous: decision.previous,
        policy: decision.policy.name().into(),
        metrics: decision::metrics(&decision),
        tolerance: decision::tolerance(&decision),
        limits: decision::limits(&decision),
        evidence: decision::evidence(&decision),
        prospects: decision::prospects(&explanation.prospects()),
        why_not: asked.map(|asked| decision::why_not(explanation, asked)),
        guard: guard.map(|reason| reason.to_string()),
        reasons: reasons(&decision),
        waits: view.waits.clone(),
        changes,
        kept: None,
        summary: decision.summary.to_string(),
        size_of_replica: view
            .status
            .recommendation
            .as_ref()
            .map(|found| format!("{}: {}", found.mode, found.message)),
        shadows: decision.shadows.iter().map(shadow_explanation).collect(),
    })
}

fn shadow_explanation(ShadowDecision { name, decision }: &ShadowDecision) -> v1::ShadowExplanation {
    v1::ShadowExplanation {
        name: name.to_string(),
        desired: decision.desired,
        previous: decision.previous,
        policy: decision.policy.name().into(),
        metrics: decision::metrics(decision),
        limits: decision::limits(decision),
        summary: decision.summary.to_string(),
    }
}

/// The conditions of an autoscaler, as in Kubernetes.
pub(crate) fn scaling_conditions(conditions: &[Condition]) -> Vec<v1::AutoscalerCondition> {
    let condition = |Condition { kind, holds, reason, message, since }: &Condition| {
        let last_transition_time = since.map(rfc3339);
        let condition =
            condition(kind.name(), *holds, reason, message.to_string(), last_transition_time.clone());
        v1::AutoscalerCondition { condition, last_transition_time }
    };
    conditions.iter().map(condition).collect()
}

fn reasons(decision: &Decision) -> Vec<v1::DecisionReason> {
    let reason = |code: &str, message: String| v1::DecisionReason { code: code.into(), message };
    let metrics = decision.metrics.iter().map(|metric| {
        reason(
            &metric.name,
            format!("{}: {} of {}; {}", metric.name, metric.current, metric.target, metric.note),
        )
    });
    let limits = decision
        .limits
        .iter()
        .map(|limit| reason(limit.name, format!("{} to {}: {}", limit.from, limit.to, limit.note)));
    let mut reasons: Vec<v1::DecisionReason> = metrics.chain(limits).collect();
    if reasons.is_empty() {
        reasons.push(reason("summary", decision.summary.to_string()));
    }
    reasons
}

/// Whether it is a reason of the guard.
fn is_from_guard(reason: &Reason) -> bool {
    match reason {
        Reason::StormLimit { .. }
        | Reason::Bounds { .. }
        | Reason::DisruptionBudget { .. }
        | Reason::BlastRadius { .. }
        | Reason::BelowMemoryUsage { .. } => true,
        Reason::Declared
        | Reason::Protected { .. }
        | Reason::MustStay { .. }
        | Reason::Paused { .. }
        | Reason::Resumed
        | Reason::Withdrawn
        | Reason::BelowDesired { .. }
        | Reason::AboveDesired { .. }
        | Reason::Autoscaled { .. }
        | Reason::Held { .. }
        | Reason::ScalingOff
        | Reason::Scheduled { .. }
        | Reason::Idle { .. }
        | Reason::RequestsWaiting { .. }
        | Reason::Exited(_)
        | Reason::StoppedAsRequested(_)
        | Reason::Unhealthy { .. }
        | Reason::NotReady { .. }
        | Reason::Outdated { .. }
        | Reason::Unproven { .. }
        | Reason::SpareWanted
        | Reason::TakesOver { .. }
        | Reason::StandsDown { .. }
        | Reason::Drained { .. }
        | Reason::DrainUnanswered { .. }
        | Reason::Backoff { .. }
        | Reason::CrashLoop { .. }
        | Reason::StartFailed { .. }
        | Reason::DependencyDown { .. }
        | Reason::Overload { .. }
        | Reason::ActionFailed(_)
        | Reason::VerticallyScaled { .. }
        | Reason::Adopted
        | Reason::Observed => false,
    }
}

/// An event, in the form of `/v1`.
pub(crate) fn event(event: &EventRecord) -> v1::Event {
    let replica = event.replica.map(|ordinal| ReplicaId { service: event.service.clone(), ordinal });
    v1::Event {
        id: event.id.to_string(),
        at: rfc3339(event.at),
        kind: if event.is_warning { "Warning" } else { "Normal" }.into(),
        reason: event.kind.clone(),
        service: event.service.to_string(),
        replica: replica.map(|replica| replica.to_string()),
        message: event.message.clone(),
    }
}

#[cfg(test)]
mod tests;
