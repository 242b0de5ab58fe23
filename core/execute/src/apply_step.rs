//! Applies a step of a plan: the place enters its new stage, and the corresponding action is sent.

use std::sync::Arc;
use std::time::Duration;

use knowledge::{
    Exposure, Knowledge, PastRestart, Place, ResourceChange, ServiceState, Stage, UnansweredAction,
};
use model::action::{ActionKind, Admission};
use model::event::EventKind;
use model::identity::{Generation, Ordinal, ReplicaId};
use model::name::ServiceName;
use model::plan::{AfterStop, Change, Role, Step};
use model::reason::Reason;
use model::resource::{Resources, Stop};

use crate::dispatch::Dispatch;

/// The time from the stop signal to the kill for a replica without a known declaration: the default of `stop.grace`.
const GRACE_DEFAULT: Duration = Duration::from_secs(10);

/// How often the action that drains a replica is sent to the proxy before the replica is stopped without an answer.
///
/// 3: two consecutive messages may be lost. The wait is longer for a service whose times to drain and to stop are longer.
const DRAIN_SENDS_MAX: u32 = 3;

/// The weight of a replica that carries the share of another one besides its own.
const STAND_IN_WEIGHT: u32 = 2;

/// Applies one step that passed the guard.
///
/// A step has no effect when its place is closed or no longer in the stage that the step is for.
pub fn apply_step(
    dispatch: &mut Dispatch<'_>,
    knowledge: &mut Knowledge,
    service: &ServiceName,
    step: &Step,
) {
    if let Change::Start { ordinal, generation } = step.change
        && let Some(place) = knowledge.place(service, ordinal).filter(|place| place.is_restart(generation))
    {
        let was_healthy = place.had_been_healthy();
        knowledge.note_restart(service, PastRestart { at: dispatch.now.time, was_healthy });
    }
    let Some(service) = knowledge.service_mut(service) else { return };
    match step.change {
        Change::Resize { from, to } => {
            let kind = if service.desired.is_none() { EventKind::Sized } else { EventKind::Scaled };
            service.desired = Some(to);
            if from != to {
                dispatch.record_service_event(service, kind, &step.reason);
            }
        }
        Change::Open { ordinal, role } => {
            service.places.entry(ordinal).or_insert_with(|| Place::empty(role, dispatch.now.time));
        }
        Change::Start { ordinal, generation } => dispatch.start(service, (ordinal, generation), &step.reason),
        Change::Promote { spare, instead_of } => dispatch.promote(service, spare, instead_of, &step.reason),
        Change::StandIn { ordinal, instead_of } => {
            dispatch.stand_in(service, ordinal, Some(instead_of), &step.reason);
        }
        Change::StandDown { ordinal } => dispatch.stand_in(service, ordinal, None, &step.reason),
        Change::Readmit { ordinal } => dispatch.admit(service, ordinal, &step.reason),
        Change::Allot { ordinal, resources } => dispatch.allot(service, ordinal, resources, &step.reason),
        Change::Drain { ordinal, then } => dispatch.drain(service, ordinal, then, &step.reason),
        Change::Stop { ordinal, then } => dispatch.stop(service, ordinal, then, &step.reason),
        Change::Close { ordinal } => {
            if service.places.get(&ordinal).is_some_and(|place| !place.is_occupied()) {
                service.close(ordinal);
            }
        }
        Change::Expose => dispatch.expose(service, &step.reason),
        Change::Conceal => dispatch.conceal(service, &step.reason),
        Change::SuspendHealing => {
            service.healing.suspended = Some(dispatch.now.time);
            dispatch.record_service_event(service, EventKind::HealingSuspended, &step.reason);
        }
        Change::ResumeHealing => {
            service.healing.suspended = None;
            dispatch.record_service_event(service, EventKind::HealingResumed, &step.reason);
        }
    }
}

impl Dispatch<'_> {
    fn start(
        &mut self,
        service: &mut ServiceState,
        (ordinal, generation): (Ordinal, Generation),
        reason: &Reason,
    ) {
        let Some(version) = service.version(generation) else { return };
        let declared = version.with_allotment(service.allotment);
        let Some(place) = service.places.get(&ordinal).filter(|place| !place.is_occupied()) else { return };
        let incarnation = service.next_life(place);
        let Some(place) = service.places.get_mut(&ordinal) else { return };
        let admission = admission_of(place);
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let resources = declared.spec.resources;
        let action = self.send(ActionKind::Start { replica, incarnation, declared, admission }, reason);
        place.admission = Some(admission);
        place.begin_start(self.now.time, incarnation, generation, action);
        place.resources = Some(resources);
        self.record_event(service, ordinal, EventKind::Starting, reason);
    }

    fn promote(&mut self, service: &mut ServiceState, spare: Ordinal, instead_of: Ordinal, reason: &Reason) {
        let has_role = |ordinal, role| service.places.get(&ordinal).is_some_and(|place| place.role == role);
        if !has_role(spare, Role::Spare) || !has_role(instead_of, Role::Active) {
            return;
        }
        for (ordinal, role) in [(spare, Role::Active), (instead_of, Role::Spare)] {
            if let Some(place) = service.places.get_mut(&ordinal) {
                place.role = role;
            }
            self.admit(service, ordinal, reason);
        }
        self.record_event(service, spare, EventKind::TookOver, reason);
    }

    fn stand_in(
        &mut self,
        service: &mut ServiceState,
        ordinal: Ordinal,
        instead_of: Option<Ordinal>,
        reason: &Reason,
    ) {
        let Some(place) = service.places.get_mut(&ordinal) else { return };
        place.stands_in_for = instead_of;
        self.admit(service, ordinal, reason);
        let kind = if instead_of.is_some() { EventKind::TookOver } else { EventKind::StoodDown };
        self.record_event(service, ordinal, kind, reason);
    }

    /// Sends the admission of a running replica to the proxy when it has changed. A replica that does not run yet is admitted at its start.
    fn admit(&mut self, service: &mut ServiceState, ordinal: Ordinal, reason: &Reason) {
        let (Some(declared), Some(place)) = (&service.declared, service.places.get_mut(&ordinal)) else {
            return;
        };
        let admission = admission_of(place);
        if place.admission == Some(admission) || place.health().is_none() {
            return;
        }
        place.admission = Some(admission);
        let replica = ReplicaId { service: declared.name.clone(), ordinal };
        let (incarnation, declared) = (place.incarnation, Arc::clone(declared));
        self.send(ActionKind::Admit { replica, incarnation, declared, admission }, reason);
    }

    /// Changes the resources of a running replica, unless an earlier change is in progress.
    fn allot(&mut self, service: &mut ServiceState, ordinal: Ordinal, resources: Resources, reason: &Reason) {
        let Some(place) = service.places.get_mut(&ordinal).filter(|place| place.health().is_some()) else {
            return;
        };
        if matches!(place.resource_change, ResourceChange::InProgress { .. }) {
            return;
        }
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let kind = ActionKind::Allot { replica, incarnation: place.incarnation, resources };
        place.resource_change = ResourceChange::InProgress { action: self.send(kind, reason) };
    }

    fn drain(&mut self, service: &mut ServiceState, ordinal: Ordinal, then: AfterStop, reason: &Reason) {
        // Without a declaration the proxy cannot drain a replica: it is stopped once the proxy no longer listens for the service.
        let Some(declared) = service.declared.clone().or(service.last_declared.clone()) else {
            if service.exposure == Exposure::None {
                self.stop(service, ordinal, then, reason);
            }
            return;
        };
        let (drain_time, grace): (Duration, Duration) =
            (declared.spec.stop.drain.into(), declared.spec.stop.grace.into());
        let running = service.places.get_mut(&ordinal).filter(|place| place.health().is_some());
        let Some(place) = running else { return };
        let since = self.now.time;
        let admission = Admission::Draining;
        place.admission = Some(admission);
        place.stands_in_for = None;
        let (replica, incarnation) =
            (ReplicaId { service: declared.name.clone(), ordinal }, place.incarnation);
        let kind = ActionKind::Admit { replica, incarnation, declared, admission };
        let action = self.send(kind, reason);
        let until = since + (drain_time + grace).max(self.timeout * DRAIN_SENDS_MAX);
        let admit = Some(UnansweredAction { action, until });
        place.stage = Stage::Draining { admit, since, deadline: since + drain_time, then };
        self.record_event(service, ordinal, EventKind::Draining, reason);
    }

    fn stop(&mut self, service: &mut ServiceState, ordinal: Ordinal, then: AfterStop, reason: &Reason) {
        let grace = stop_of(service).map_or(GRACE_DEFAULT, |stop| stop.grace.into());
        let Some(place) = service.places.get_mut(&ordinal) else { return };
        match place.stage {
            Stage::Running(_) | Stage::Draining { .. } => {}
            Stage::Empty { .. } | Stage::Starting { .. } | Stage::Stopping { .. } => return,
        }
        // Its end removes it from the traffic, so the proxy need not be told.
        if let Stage::Draining { admit: Some(unanswered), .. } = place.stage {
            self.in_flight.finish(unanswered.action);
        }
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let action = self.send(ActionKind::Stop { replica, incarnation: place.incarnation, grace }, reason);
        place.stands_in_for = None;
        place.stage = Stage::Stopping { action, since: self.now.time, then };
        if matches!(reason, Reason::Unhealthy { .. }) {
            service.healing.liveness_restart = Some(self.now.time);
        }
        self.record_event(service, ordinal, EventKind::Stopping, reason);
    }

    fn expose(&mut self, service: &mut ServiceState, reason: &Reason) {
        let Some(declared) = service.declared.clone() else { return };
        self.supersede_listener(service);
        let revision = declared.revision;
        let action = self.send(ActionKind::Expose(declared), reason);
        service.exposure = Exposure::Opening { action, revision, since: self.now.time };
    }

    fn conceal(&mut self, service: &mut ServiceState, reason: &Reason) {
        self.supersede_listener(service);
        let action = self.send(ActionKind::Conceal(service.name.clone()), reason);
        service.exposure = Exposure::Closing { action, since: self.now.time };
    }

    /// Sends an unanswered action on the listener no more: after the next one, the agent might take it for a newer one.
    fn supersede_listener(&mut self, service: &ServiceState) {
        if let Exposure::Opening { action, .. } | Exposure::Closing { action, .. } = service.exposure {
            self.in_flight.finish(action);
        }
    }
}

/// The admission of a replica by its role and by the replica that it stands in for.
fn admission_of(place: &Place) -> Admission {
    match (place.role, place.stands_in_for) {
        (Role::Spare, _) => Admission::Spare,
        (Role::Active, None) => Admission::Serving { weight: 1 },
        (Role::Active, Some(_)) => Admission::Serving { weight: STAND_IN_WEIGHT },
    }
}

fn stop_of(service: &ServiceState) -> Option<Stop> {
    service.declared.as_ref().or(service.last_declared.as_ref()).map(|declared| declared.spec.stop)
}
