//! Carrying out a step of a plan: the place takes its new stage, and the action that brings it about is sent.

use std::sync::Arc;
use std::time::Duration;

use knowledge::{Exposure, Fitting, Knowledge, Place, ServiceState, Stage, UnansweredAction};
use model::action::{ActionKind, Admission};
use model::event::EventKind;
use model::identity::{Ordinal, ReplicaId};
use model::name::ServiceName;
use model::plan::{Afterwards, Change, Role, Step};
use model::reason::Reason;
use model::resource::{Resources, Stop};

use crate::dispatch::Dispatch;

/// The time from the stop signal to the kill for a replica whose declaration is not known: the default of `stop.grace`.
const GRACE_OF_UNKNOWN: Duration = Duration::from_secs(10);

/// How often the action that drains a replica is sent to the proxy before the replica is stopped without its answer.
///
/// 3: two messages in a row may be lost. A service waits longer when its own times to drain and to stop are longer.
const DRAIN_SENDS_MAX: u32 = 3;

/// The weight of a replica that carries another one's share as well as its own.
const WEIGHT_OF_TWO: u32 = 2;

/// Carries out one step that passed the guard.
///
/// A step does nothing when its place is gone or no longer in the stage that the step is for.
pub fn carry_out(dispatch: &mut Dispatch<'_>, knowledge: &mut Knowledge, service: &ServiceName, step: &Step) {
    if let Change::Start { ordinal } = step.change {
        let is_restart = knowledge.place(service, ordinal).is_some_and(|place| place.incarnation.0 > 0);
        if is_restart {
            knowledge.note_restart(service, dispatch.now.time);
        }
    }
    let Some(service) = knowledge.service_mut(service) else { return };
    match step.change {
        Change::Resize { from, to } => {
            let kind = if service.desired.is_none() { EventKind::Sized } else { EventKind::Scaled };
            service.desired = Some(to);
            if from != to {
                dispatch.out.record_event(dispatch.now, &service.name, None, kind, step.reason.clone());
            }
        }
        Change::Open { ordinal, role } => {
            service.places.entry(ordinal).or_insert_with(|| Place::empty(role, dispatch.now.time));
        }
        Change::Start { ordinal } => dispatch.start(service, ordinal, &step.reason),
        Change::Promote { spare, instead_of } => dispatch.promote(service, spare, instead_of, &step.reason),
        Change::StandIn { ordinal, instead_of } => {
            dispatch.stand_in(service, ordinal, Some(instead_of), &step.reason);
        }
        Change::StandDown { ordinal } => dispatch.stand_in(service, ordinal, None, &step.reason),
        Change::Welcome { ordinal } => dispatch.admit(service, ordinal, &step.reason),
        Change::Allot { ordinal, resources } => dispatch.allot(service, ordinal, resources, &step.reason),
        Change::Drain { ordinal, then } => dispatch.drain(service, ordinal, then, &step.reason),
        Change::Stop { ordinal, then } => dispatch.stop(service, ordinal, then, &step.reason),
        Change::Close { ordinal } => {
            if service.places.get(&ordinal).is_some_and(|place| !place.is_occupied()) {
                service.close(ordinal);
            }
        }
        Change::Expose => dispatch.expose(service, &step.reason),
        Change::Conceal => {
            let action = dispatch.send(ActionKind::Conceal(service.name.clone()), &step.reason);
            service.exposure = Exposure::Concealing { action, since: dispatch.now.time };
        }
        Change::SuspendHealing => {
            service.healing.suspended = Some(dispatch.now.time);
            dispatch.out.record_event(
                dispatch.now,
                &service.name,
                None,
                EventKind::HealingSuspended,
                step.reason.clone(),
            );
        }
        Change::ResumeHealing => {
            service.healing.suspended = None;
            dispatch.out.record_event(
                dispatch.now,
                &service.name,
                None,
                EventKind::HealingResumed,
                step.reason.clone(),
            );
        }
    }
}

impl Dispatch<'_> {
    fn start(&mut self, service: &mut ServiceState, ordinal: Ordinal, reason: &Reason) {
        let Some(declared) = service.declared.as_ref() else { return };
        let declared = declared.allotted(service.allotment);
        let Some(place) = service.places.get(&ordinal).filter(|place| !place.is_occupied()) else { return };
        let incarnation = service.next_life(place);
        let Some(place) = service.places.get_mut(&ordinal) else { return };
        if place.incarnation.0 > 0 {
            place.restart.restarts = place.restart.restarts.saturating_add(1);
        }
        let admission = admission_of(place);
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let (generation, resources) = (declared.generation, declared.spec.resources);
        let action = self.send(ActionKind::Start { replica, incarnation, declared, admission }, reason);
        place.admission = Some(admission);
        let since = self.now.time;
        place.begin(since, incarnation, generation, (action, Stage::Starting { action, since }));
        place.resources = Some(resources);
        self.record_event(service, ordinal, EventKind::Starting, reason);
    }

    fn promote(&mut self, service: &mut ServiceState, spare: Ordinal, instead_of: Ordinal, reason: &Reason) {
        let is_meant = |ordinal, role| service.places.get(&ordinal).is_some_and(|place| place.role == role);
        if !is_meant(spare, Role::Spare) || !is_meant(instead_of, Role::Active) {
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

    /// Tells a running replica what traffic it gets, when that has changed. One that does not run yet is told with its start.
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

    /// Tells the platform what a running replica may use, unless an earlier change is still under way.
    fn allot(&mut self, service: &mut ServiceState, ordinal: Ordinal, resources: Resources, reason: &Reason) {
        let Some(place) = service.places.get_mut(&ordinal).filter(|place| place.health().is_some()) else {
            return;
        };
        if matches!(place.fitting, Fitting::Telling { .. }) {
            return;
        }
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let kind = ActionKind::Allot { replica, incarnation: place.incarnation, resources };
        place.fitting = Fitting::Telling { action: self.send(kind, reason), resources };
    }

    fn drain(&mut self, service: &mut ServiceState, ordinal: Ordinal, then: Afterwards, reason: &Reason) {
        // Without a declaration the proxy cannot be told anything about a replica: it is stopped once the proxy no longer listens for the service.
        let Some(declared) = service.declared.clone().or(service.last_declared.clone()) else {
            if service.exposure == Exposure::None {
                self.stop(service, ordinal, then, reason);
            }
            return;
        };
        let (patience, grace): (Duration, Duration) =
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
        let until = since + (patience + grace).max(self.timeout * DRAIN_SENDS_MAX);
        let admit = Some(UnansweredAction { action, until });
        place.stage = Stage::Draining { admit, since, deadline: since + patience, then };
        self.record_event(service, ordinal, EventKind::Draining, reason);
    }

    fn stop(&mut self, service: &mut ServiceState, ordinal: Ordinal, then: Afterwards, reason: &Reason) {
        let grace = stop_of(service).map_or(GRACE_OF_UNKNOWN, |stop| stop.grace.into());
        let Some(place) = service.places.get_mut(&ordinal) else { return };
        match place.stage {
            Stage::Running(_) | Stage::Draining { .. } => {}
            Stage::Empty { .. } | Stage::Starting { .. } | Stage::Stopping { .. } => return,
        }
        // Its end takes it out of the traffic, so the proxy need not be told.
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
        let revision = declared.revision;
        let action = self.send(ActionKind::Expose(declared), reason);
        service.exposure = Exposure::Telling { action, revision, since: self.now.time };
    }
}

/// The traffic that a replica gets, by its role and by the replica that it stands in for.
fn admission_of(place: &Place) -> Admission {
    match (place.role, place.stands_in_for) {
        (Role::Spare, _) => Admission::Spare,
        (Role::Active, None) => Admission::Serving { weight: 1 },
        (Role::Active, Some(_)) => Admission::Serving { weight: WEIGHT_OF_TWO },
    }
}

fn stop_of(service: &ServiceState) -> Option<Stop> {
    service.declared.as_ref().or(service.last_declared.as_ref()).map(|declared| declared.spec.stop)
}
