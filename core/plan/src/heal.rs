//! Healing: what is done for replicas that are lost, fail their probes, or wait to be started.

use std::time::Duration;

use knowledge::{Place, ServiceState, Stage};
use model::chance::Stream;
use model::fact::Finding;
use model::identity::{ActionId, Ordinal};
use model::input::Exit;
use model::plan::{AfterStop, Change, Initiator, Role};
use model::reason::Reason;
use model::resource::Recover;
use model::time::Time;

use crate::context::PlanContext;
use crate::draft::Draft;

/// Adds the steps that replace what was lost: first another replica takes over the traffic, then the place is filled again.
pub(crate) fn heal(context: PlanContext<'_>, chance: &mut Stream, draft: &mut Draft) {
    let service = context.service;
    readmit_adopted(service, draft);
    take_over(service, chance, draft);
    restart_sick(context, draft);
    fill_empty(context, draft);
    stop_drained(context.now.time, service, draft);
}

/// Sets the admission of replicas that an earlier run started, as it is not known what that run set.
fn readmit_adopted(service: &ServiceState, draft: &mut Draft) {
    for (ordinal, place) in &service.places {
        if place.admission.is_none() && place.health().is_some() && !draft.removes(*ordinal) {
            draft.step(Initiator::Heal, Change::Readmit { ordinal: *ordinal }, Reason::Adopted);
        }
    }
}

/// Has a spare or a survivor take over from each lost replica, by the strategy of the service. One that tried out an unproven version carried no
/// share.
fn take_over(service: &ServiceState, chance: &mut Stream, draft: &mut Draft) {
    let Some(declared) = &service.declared else { return };
    stand_down(service, draft);
    for (lost, _) in service.counting().filter(|(_, place)| is_lost(place) && !service.is_on_trial(place)) {
        let is_covered = service.places.values().any(|place| place.stands_in_for == Some(lost));
        let change = match declared.spec.recover {
            Recover::Standby { .. } => {
                ready_spare(service, draft).map(|spare| Change::Promote { spare, instead_of: lost })
            }
            Recover::MostActive if !is_covered => {
                most_active(service, draft).map(|ordinal| Change::StandIn { ordinal, instead_of: lost })
            }
            Recover::Random if !is_covered => any_survivor(service, chance, draft)
                .map(|ordinal| Change::StandIn { ordinal, instead_of: lost }),
            Recover::Reschedule | Recover::MostActive | Recover::Random => None,
        };
        if let Some(change) = change {
            draft.step(Initiator::Heal, change, Reason::TakesOver { from: lost });
        }
    }
}

/// Ends stand-ins for replicas that serve again, or whose places are gone.
fn stand_down(service: &ServiceState, draft: &mut Draft) {
    for (ordinal, place) in &service.places {
        let Some(from) = place.stands_in_for else { continue };
        if service.places.get(&from).is_none_or(|other| other.is_serving() || !other.counts()) {
            draft.step(Initiator::Heal, Change::StandDown { ordinal: *ordinal }, Reason::StandsDown { from });
        }
    }
}

/// Whether the replica of this place has ended or fails its liveness probe.
fn is_lost(place: &Place) -> bool {
    match &place.stage {
        Stage::Empty { exit, .. } => exit.is_some(),
        Stage::Running(health) => health.unhealthy_since.is_some(),
        Stage::Starting { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => false,
    }
}

fn ready_spare(service: &ServiceState, draft: &Draft) -> Option<Ordinal> {
    service
        .spares()
        .find(|(ordinal, place)| place.is_ready() && is_free(*ordinal, draft))
        .map(|(ordinal, _)| ordinal)
}

fn survivors<'a>(service: &'a ServiceState, draft: &'a Draft) -> impl Iterator<Item = (Ordinal, &'a Place)> {
    service.counting().filter(|(ordinal, place)| {
        place.is_serving() && place.stands_in_for.is_none() && is_free(*ordinal, draft)
    })
}

/// The survivor that has answered most requests: it is known to work, and its connections are warm.
fn most_active(service: &ServiceState, draft: &Draft) -> Option<Ordinal> {
    let served = |place: &Place| place.requests.last().map_or(0, |(_, requests)| requests);
    survivors(service, draft)
        .max_by_key(|(ordinal, place)| (served(place), std::cmp::Reverse(*ordinal)))
        .map(|(ordinal, _)| ordinal)
}

fn any_survivor(service: &ServiceState, chance: &mut Stream, draft: &Draft) -> Option<Ordinal> {
    let all: Vec<Ordinal> = survivors(service, draft).map(|(ordinal, _)| ordinal).collect();
    // Nothing is drawn without a choice, so that the number of plans before one does not change which replica is chosen.
    if all.is_empty() {
        return None;
    }
    let index = usize::try_from(chance.below(all.len() as u64)).unwrap_or(0);
    all.get(index).copied()
}

fn is_free(ordinal: Ordinal, draft: &Draft) -> bool {
    draft.steps.iter().all(|step| step.change.ordinal() != Some(ordinal))
}

/// How long restarts are suspended for one overload.
///
/// 10 min, as long as the wait in a crash loop: by then slow replicas have caught up, and a failed dependency is back. Replicas that still
/// fail do not recover by themselves, and are restarted one at a time.
const OVERLOAD_PATIENCE: Duration = Duration::from_mins(10);

/// How long the health of a replica from an earlier run may be unknown to this one.
///
/// 1 min: a probe counts as failed after three failures, ten seconds apart; doubled.
const UNPROBED_MAX: Duration = Duration::from_mins(1);

/// Until when the absence of failures proves nothing, as the probes of replicas from an earlier run have begun again. `None` when this run
/// started all replicas.
fn unprobed_until(service: &ServiceState) -> Option<Time> {
    let adopted = service.places.values().filter(|place| place.started_by == ActionId::default());
    adopted.filter_map(|place| Some(place.health()?.since + UNPROBED_MAX)).max()
}

/// Restarts one sick replica, unless so many are sick that the cause is shared, or a dependency is missing.
fn restart_sick(context: PlanContext<'_>, draft: &mut Draft) {
    if is_suspended(context, draft) {
        return;
    }
    let PlanContext { service, findings, settings, .. } = context;
    let now = context.now.time;
    let next = service.healing.liveness_restart.map_or(now, |last| last + settings.restart.liveness_interval);
    let missing = missing_dependency(findings);
    for finding in findings {
        match finding {
            Finding::Unhealthy { ordinal, since } => {
                if let Some(reason) = &missing {
                    draft.wait(Some(*ordinal), reason.clone());
                } else if now < next {
                    draft.again_at(next);
                    let restarts = restarts(service, *ordinal);
                    draft.wait(Some(*ordinal), Reason::Backoff { until: next, restarts });
                } else if !draft.steps.iter().any(|step| matches!(step.change, Change::Stop { .. })) {
                    let change = Change::Stop { ordinal: *ordinal, then: AfterStop::Refill };
                    draft.step(Initiator::Heal, change, Reason::Unhealthy { since: *since });
                }
            }
            Finding::UnhealthyInGrace { until, .. } => draft.again_at(*until),
            Finding::Overload { .. } | Finding::CrashLoop { .. } | Finding::DependencyDown { .. } => {}
        }
    }
}

/// Suspends restarts while many replicas fail at once, and resumes them afterwards; returns whether they are suspended.
fn is_suspended(context: PlanContext<'_>, draft: &mut Draft) -> bool {
    let (now, service) = (context.now.time, context.service);
    let suspended = service.healing.suspended;
    let Some(reason) = overload(context.findings) else {
        if suspended.is_some() {
            match unprobed_until(service).filter(|until| now < *until) {
                Some(until) => draft.again_at(until),
                None => draft.step(Initiator::Heal, Change::ResumeHealing, Reason::Observed),
            }
        }
        return false;
    };
    if suspended.is_none() {
        draft.step(Initiator::Heal, Change::SuspendHealing, reason);
    } else {
        draft.wait(None, reason);
    }
    let until = suspended.unwrap_or(now) + OVERLOAD_PATIENCE;
    let is_early = now < until;
    if is_early {
        draft.again_at(until);
    }
    is_early
}

fn overload(findings: &[Finding]) -> Option<Reason> {
    findings.iter().find_map(|finding| match finding {
        Finding::Overload { failing, of } => Some(Reason::Overload { failing: *failing, of: *of }),
        Finding::Unhealthy { .. }
        | Finding::UnhealthyInGrace { .. }
        | Finding::CrashLoop { .. }
        | Finding::DependencyDown { .. } => None,
    })
}

/// Starts a replica in each empty place whose wait is over and whose dependencies are available.
fn fill_empty(context: PlanContext<'_>, draft: &mut Draft) {
    let PlanContext { knowledge, service, findings, .. } = context;
    if !knowledge.inventory_seen || service.declared.is_none() {
        return;
    }
    let missing = missing_dependency(findings);
    for (ordinal, place) in &service.places {
        let Stage::Empty { exit, .. } = &place.stage else { continue };
        if draft.removes(*ordinal) {
            continue;
        }
        if let Some(reason) = &missing {
            draft.wait(Some(*ordinal), reason.clone());
        } else if context.now.time < place.restart.not_before {
            draft.again_at(place.restart.not_before);
            draft.wait(Some(*ordinal), wait_reason(place, *ordinal, findings));
        } else {
            draft.start(service, *ordinal, Initiator::Heal, start_reason(service, place, *exit));
        }
    }
    if let Some(reason) = missing {
        hold_opened(&reason, draft);
    }
}

/// Why an empty place is filled: its replica ended with `exit`, or there was none of this version yet.
fn start_reason(service: &ServiceState, place: &Place, exit: Option<Exit>) -> Reason {
    let is_restart = service.declared.as_ref().is_some_and(|it| place.is_restart(it.generation));
    match (exit, place.role) {
        (Some(exit), _) if is_restart => Reason::Exited(exit),
        (_, Role::Spare) => Reason::SpareWanted,
        (_, Role::Active) => {
            Reason::BelowDesired { have: service.serving(), desired: service.desired.unwrap_or(0) }
        }
    }
}

/// Drops the starts of places that this plan opens, as they wait for missing dependencies as well.
fn hold_opened(reason: &Reason, draft: &mut Draft) {
    let mut held = Vec::new();
    draft.steps.retain(|step| {
        if let Change::Start { ordinal, .. } = step.change {
            held.push(ordinal);
        }
        !matches!(step.change, Change::Start { .. })
    });
    for ordinal in held {
        draft.wait(Some(ordinal), reason.clone());
    }
}

/// Why an empty place waits. The cause of a failed start says more than how often it was tried.
fn wait_reason(place: &Place, ordinal: Ordinal, findings: &[Finding]) -> Reason {
    let until = place.restart.not_before;
    if let Some(cause) = &place.start_failure {
        return Reason::StartFailed { cause: cause.clone(), until };
    }
    let crash_loop = findings.iter().find_map(|finding| match finding {
        Finding::CrashLoop { ordinal: looping, exits } if *looping == ordinal => Some(*exits),
        Finding::CrashLoop { .. }
        | Finding::Unhealthy { .. }
        | Finding::UnhealthyInGrace { .. }
        | Finding::Overload { .. }
        | Finding::DependencyDown { .. } => None,
    });
    match crash_loop {
        Some(exits) => Reason::CrashLoop { exits, until },
        None => Reason::Backoff { until, restarts: place.restart.restarts },
    }
}

/// Stops replicas that have finished draining, or have reached the deadline.
fn stop_drained(now: Time, service: &ServiceState, draft: &mut Draft) {
    for (ordinal, place) in &service.places {
        let Stage::Draining { admit, since, deadline, then } = &place.stage else { continue };
        let (counted_at, in_flight) = place.in_flight;
        // A count from before the proxy stopped routing to it does not include what was routed since.
        let is_empty = counted_at > *since && in_flight == 0;
        // Until the proxy confirms that it no longer routes to the replica, new requests may arrive, and the action is sent again. A proxy that
        // never answers must not keep the replica for ever.
        if let Some(unanswered) = admit {
            if now >= unanswered.until {
                let change = Change::Stop { ordinal: *ordinal, then: *then };
                draft.step(Initiator::ScaleIn, change, Reason::DrainUnanswered { since: *since });
            } else {
                draft.again_at(unanswered.until);
            }
            continue;
        }
        if is_empty || now >= *deadline {
            let in_flight = if is_empty { 0 } else { in_flight };
            draft.step(
                Initiator::ScaleIn,
                Change::Stop { ordinal: *ordinal, then: *then },
                Reason::Drained { in_flight },
            );
        } else {
            draft.again_at(*deadline);
        }
    }
}

fn missing_dependency(findings: &[Finding]) -> Option<Reason> {
    findings.iter().find_map(|finding| match finding {
        Finding::DependencyDown { needs } => Some(Reason::DependencyDown { needs: needs.clone() }),
        Finding::Unhealthy { .. }
        | Finding::UnhealthyInGrace { .. }
        | Finding::Overload { .. }
        | Finding::CrashLoop { .. } => None,
    })
}

fn restarts(service: &ServiceState, ordinal: Ordinal) -> u32 {
    service.places.get(&ordinal).map_or(0, |place| place.restart.restarts)
}
