//! Carrying out a step: the picture takes the place's new stage, and the action that brings it about is told.

use std::sync::Arc;
use std::time::Duration;

use knowledge::{Exposure, Fitting, Knowledge, Place, Remembered, ServiceState, Stage, Unanswered};
use model::action::{ActionKind, Admission};
use model::event::EventKind;
use model::identity::{Ordinal, ReplicaId};
use model::memory::{CapacityMemory, Memory};
use model::name::ServiceName;
use model::plan::{Afterwards, Change, Role, Step};
use model::reason::Reason;
use model::resource::Resources;
use model::time::Now;

use crate::flight::Flight;
use crate::outbox::Outbox;

/// From the stop signal to the kill, for a replica of which no declaration is known: as `stop.grace` has by default.
const GRACE_OF_STRANGERS: Duration = Duration::from_secs(10);

/// How often a proxy is told that a replica gets no new requests before the replica goes without an answer.
///
/// 3, as one telling may be lost and the next as well. A service whose own times to finish and to stop are longer waits for
/// as long as they are.
const TELLINGS: u32 = 3;

/// The weight of a replica that carries another one's share besides its own.
const WEIGHT_OF_TWO: u32 = 2;

/// Where actions and events go, and by which clock.
#[derive(Debug)]
pub struct Hand<'a> {
    /// The time of the input that is being answered.
    pub now: Now,
    /// After which an action without an end is told again.
    pub timeout: Duration,
    /// The actions on their way.
    pub flight: &'a mut Flight,
    /// What this step of the loop puts out.
    pub out: &'a mut Outbox,
}

/// Carries out one step that passed the guard.
///
/// A step that the picture has overtaken does nothing: its place is gone, or is not in the stage that the step is for.
pub fn carry_out(hand: &mut Hand<'_>, knowledge: &mut Knowledge, service: &ServiceName, step: &Step) {
    if let Change::Start { ordinal } = step.change {
        let is_restart = knowledge.place(service, ordinal).is_some_and(|place| place.incarnation.0 > 0);
        if is_restart {
            knowledge.note_restart(service, hand.now.time);
        }
    }
    let Some(service) = knowledge.service_mut(service) else { return };
    match step.change {
        Change::Resize { from, to } => {
            let kind = if service.desired.is_none() { EventKind::Sized } else { EventKind::Scaled };
            service.desired = Some(to);
            if from != to {
                hand.out.tell(hand.now, &service.name, None, kind, step.reason.clone());
            }
        }
        Change::Open { ordinal, role } => {
            service.places.entry(ordinal).or_insert_with(|| Place::empty(role, hand.now.time));
        }
        Change::Start { ordinal } => hand.start(service, ordinal, &step.reason),
        Change::Promote { spare, instead_of } => hand.promote(service, spare, instead_of, &step.reason),
        Change::StandIn { ordinal, instead_of } => {
            hand.stand_in(service, ordinal, Some(instead_of), &step.reason);
        }
        Change::StandDown { ordinal } => hand.stand_in(service, ordinal, None, &step.reason),
        Change::Welcome { ordinal } => hand.admit(service, ordinal, &step.reason),
        Change::Allot { ordinal, resources } => hand.allot(service, ordinal, resources, &step.reason),
        Change::Drain { ordinal, then } => hand.drain(service, ordinal, then, &step.reason),
        Change::Stop { ordinal, then } => hand.stop(service, ordinal, then, &step.reason),
        Change::Close { ordinal } => {
            if service.places.get(&ordinal).is_some_and(|place| !place.is_occupied()) {
                service.close(ordinal);
            }
        }
        Change::Expose => hand.expose(service, &step.reason),
        Change::Conceal => {
            let action = hand.tell(ActionKind::Conceal(service.name.clone()), &step.reason);
            service.exposure = Exposure::Concealing { action, since: hand.now.time };
        }
        Change::SuspendHealing => {
            service.healing.suspended = Some(hand.now.time);
            hand.out.tell(hand.now, &service.name, None, EventKind::HealingSuspended, step.reason.clone());
        }
        Change::ResumeHealing => {
            service.healing.suspended = None;
            hand.out.tell(hand.now, &service.name, None, EventKind::HealingResumed, step.reason.clone());
        }
    }
}

impl Hand<'_> {
    fn tell(&mut self, kind: ActionKind, reason: &Reason) -> model::identity::ActionId {
        self.flight.tell(self.now.time, self.timeout, kind, reason.clone(), self.out)
    }

    fn note(&mut self, service: &ServiceState, ordinal: Ordinal, kind: EventKind, reason: &Reason) {
        if let Some(place) = service.places.get(&ordinal) {
            let whom = Some((ordinal, place.incarnation));
            self.out.tell(self.now, &service.name, whom, kind, reason.clone());
        }
    }

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
        let action = self.tell(ActionKind::Start { replica, incarnation, declared, admission }, reason);
        place.admission = Some(admission);
        let since = self.now.time;
        place.begin(since, incarnation, generation, (action, Stage::Starting { action, since }));
        place.resources = Some(resources);
        self.note(service, ordinal, EventKind::Starting, reason);
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
        self.note(service, spare, EventKind::TookOver, reason);
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
        self.note(service, ordinal, kind, reason);
    }

    /// Tells a running replica its traffic, when that is another than it was told; one that does not run is told with its
    /// start.
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
        self.tell(ActionKind::Admit { replica, incarnation, declared, admission }, reason);
    }

    /// Tells a running replica's platform what it may use. What is under way is waited for.
    fn allot(&mut self, service: &mut ServiceState, ordinal: Ordinal, resources: Resources, reason: &Reason) {
        let Some(place) = service.places.get_mut(&ordinal).filter(|place| place.health().is_some()) else {
            return;
        };
        if matches!(place.fitting, Fitting::Telling { .. }) {
            return;
        }
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let kind = ActionKind::Allot { replica, incarnation: place.incarnation, resources };
        place.fitting = Fitting::Telling { action: self.tell(kind, reason), resources };
    }

    fn drain(&mut self, service: &mut ServiceState, ordinal: Ordinal, then: Afterwards, reason: &Reason) {
        // Of a service that this run was never told of, the proxy cannot be told either what to do with a replica: it is stopped
        // once nobody listens for it.
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
        let action = self.tell(kind, reason);
        let until = since + (patience + grace).max(self.timeout * TELLINGS);
        let admit = Some(Unanswered { action, until });
        place.stage = Stage::Draining { admit, since, deadline: since + patience, then };
        self.note(service, ordinal, EventKind::Draining, reason);
    }

    fn stop(&mut self, service: &mut ServiceState, ordinal: Ordinal, then: Afterwards, reason: &Reason) {
        let grace = stop_of(service).map_or(GRACE_OF_STRANGERS, |stop| stop.grace.into());
        let Some(place) = service.places.get_mut(&ordinal) else { return };
        match place.stage {
            Stage::Running(_) | Stage::Draining { .. } => {}
            Stage::Empty { .. } | Stage::Starting { .. } | Stage::Stopping { .. } => return,
        }
        // Stopped, it leaves the traffic with its life: whatever the proxy was to be told before is over.
        if let Stage::Draining { admit: Some(unanswered), .. } = place.stage {
            self.flight.land(unanswered.action);
        }
        let replica = ReplicaId { service: service.name.clone(), ordinal };
        let action = self.tell(ActionKind::Stop { replica, incarnation: place.incarnation, grace }, reason);
        place.stands_in_for = None;
        place.stage = Stage::Stopping { action, since: self.now.time, then };
        if matches!(reason, Reason::Unhealthy { .. }) {
            service.healing.liveness_restart = Some(self.now.time);
        }
        self.note(service, ordinal, EventKind::Stopping, reason);
    }

    fn expose(&mut self, service: &mut ServiceState, reason: &Reason) {
        let Some(declared) = service.declared.clone() else { return };
        let revision = declared.revision;
        let action = self.tell(ActionKind::Expose(declared), reason);
        service.exposure = Exposure::Telling { action, revision, since: self.now.time };
    }
}

/// The traffic that a replica gets by its role and by whom it stands in for.
fn admission_of(place: &Place) -> Admission {
    match (place.role, place.stands_in_for) {
        (Role::Spare, _) => Admission::Spare,
        (Role::Active, None) => Admission::Serving { weight: 1 },
        (Role::Active, Some(_)) => Admission::Serving { weight: WEIGHT_OF_TWO },
    }
}

fn stop_of(service: &ServiceState) -> Option<model::resource::Stop> {
    service.declared.as_ref().or(service.last_declared.as_ref()).map(|declared| declared.spec.stop)
}

/// What replicas use is learned with every sample; by itself that is written at most so often.
///
/// 10 min, as Kubernetes' recommender writes its checkpoints: a restart forgets less than a hundredth of a half-life.
const USAGE_REFRESH: Duration = Duration::from_mins(10);

/// Tells what must survive a restart, when it differs from what was written down last.
///
/// The times of old recommendations, and what policies have measured, move with each period; by themselves they are written at most
/// every `refresh`, so that the loop remembers none as older than it is by more than that.
pub fn remember(hand: &mut Hand<'_>, service: &mut ServiceState, refresh: Duration) {
    let is_kept = service.remembered.as_ref().is_some_and(|last| {
        let age = hand.now.time.since(last.at);
        let slack = if age < refresh { refresh } else { Duration::ZERO };
        is_written(service, &last.memory, slack)
            && is_usage_written(service, &last.memory, age)
            && is_throttling_written(service, &last.memory, age)
            && is_capacity_written(service, &last.memory, age)
    });
    if is_kept {
        return;
    }
    // An older one that is still on its way must not be told again over the newer.
    if let Some(last) = &service.remembered {
        hand.flight.land(last.by);
    }
    let memory = Arc::new(service.memory());
    let by = hand.tell(ActionKind::Remember(Arc::clone(&memory)), &Reason::Observed);
    service.remembered = Some(Remembered { at: hand.now.time, memory, by });
}

/// Whether `last` says what is to be remembered now, but for times of recommendations that have moved by less than `slack`, and for what
/// policies have measured while there is any.
/// Makes nothing: this is asked in each period of each service.
fn is_written(service: &ServiceState, last: &Memory, slack: Duration) -> bool {
    let (now, then) = (&service.scaling, &last.scaling);
    last.desired == service.desired
        && then.scale_out == now.scale_out
        && then.scale_in == now.scale_in
        && then.scaled_to_zero == now.scaled_to_zero
        && (then.policy == now.policy || (!slack.is_zero() && now.policy.is_as(&then.policy)))
        && then.flaps == now.flaps
        && then.failing == now.failing
        && then.conditions == now.conditions
        && last.healing == service.healing
        && last.starts == service.starts
        && last.losses == service.losses
        && is_load_written(service, last)
        && last.shadows.len() == service.shadows.len()
        && service.shadows.iter().zip(&last.shadows).all(|(now, then)| now.is_kept_by(then, slack))
        && then.recommendations.len() == now.recommendations.len()
        && then.recommendations.iter().zip(&now.recommendations).all(|(then, now)| {
            then.replicas == now.replicas && (then.at == now.at || now.at.since(then.at) < slack)
        })
        && service.taught().eq(last.restarts.iter().map(|(ordinal, restart)| (*ordinal, restart)))
}

/// Whether `last` is what is to be written down of the load: that is another one each time that it is to be written anew.
fn is_load_written(service: &ServiceState, last: &Memory) -> bool {
    match (&last.load, service.foresight.as_ref()) {
        (Some(last), Some(foresight)) => Arc::ptr_eq(last, foresight.remembered()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether `last`, written `age` ago, is near enough to what replicas use by now. What is to be forgotten is written at once.
fn is_usage_written(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let is_added_to = service.usage.samples >= last.usage.samples;
    (is_added_to && age < USAGE_REFRESH) || last.usage == service.usage
}

/// Whether `last`, written `age` ago, is near enough to how replicas fare with their limit by now. What is to be forgotten is written at once.
fn is_throttling_written(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let is_added_to = service.throttling.limit == last.throttling.limit;
    (is_added_to && age < USAGE_REFRESH) || last.throttling == service.throttling
}

/// Whether `last`, written `age` ago, is near enough to what replicas carry by now. What is to be forgotten is written at once.
fn is_capacity_written(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let of_promise = |memory: &CapacityMemory| (memory.below, memory.quantile);
    let (now, then) = (service.capacity.as_deref(), last.capacity.as_deref());
    let is_added_to = now.is_some() && now.map(of_promise) == then.map(of_promise);
    (is_added_to && age < USAGE_REFRESH) || now == then
}
