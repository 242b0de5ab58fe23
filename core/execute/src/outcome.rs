//! How an action ended, folded into the picture.

use std::sync::Arc;

use knowledge::{Exposure, Fitting, Health, Knowledge, Place, Stage};
use model::action::{Action, ActionKind, Failure, FailureKind, Outcome, Refusal};
use model::event::EventKind;
use model::fact::Fact;
use model::identity::{ActionId, ReplicaId};
use model::reason::Reason;

use crate::carry::Hand;
use crate::flight::Landed;

/// What must be looked at because an action has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing: it had ended before, or says nothing new.
    Nothing,
    /// The service of the action.
    Service,
    /// A start that failed before the program ran.
    FailedStart(ReplicaId, FailureKind),
}

/// Folds the end of an action into the picture.
///
/// An `Unknown` end is told again after the timeout, by the same id: asking twice is safe, believing is not.
pub fn settle(
    hand: &mut Hand<'_>,
    knowledge: &mut Knowledge,
    id: ActionId,
    outcome: &Outcome,
) -> (Option<Action>, Settled) {
    // Whatever action it was of: a later epoch has spoken.
    if *outcome == Outcome::Refused(Refusal::StaleEpoch) {
        hand.flight.depose();
    }
    let Landed::Known(action) = hand.flight.land(id) else { return (None, Settled::Nothing) };
    let settled = match outcome {
        Outcome::Applied => applied(hand, knowledge, &action),
        Outcome::Failed(failure) => failed(hand, knowledge, &action, failure),
        Outcome::Refused(Refusal::StaleEpoch) => Settled::Nothing,
        Outcome::Refused(Refusal::OtherIncarnation) => overtaken(hand, knowledge, &action),
        Outcome::Unknown => {
            hand.flight.postpone(action.clone(), hand.now.time + hand.timeout);
            Settled::Nothing
        }
    };
    (Some(action), settled)
}

fn applied(hand: &mut Hand<'_>, knowledge: &mut Knowledge, action: &Action) -> Settled {
    match &action.kind {
        ActionKind::Start { replica, .. } => {
            let Some(place) = knowledge.place_mut(replica) else { return Settled::Nothing };
            let is_awaited = matches!(place.stage, Stage::Starting { action: told, .. } if told == action.id);
            if is_awaited {
                let since = hand.now.time;
                let health =
                    Health { since, begun: false, ready: false, ready_changed: since, sick_since: None };
                place.stage = Stage::Running(health);
            }
        }
        ActionKind::Admit { replica, .. } => {
            if let Some(place) = knowledge.place_mut(replica)
                && let Stage::Draining { admit, since, deadline, .. } = &mut place.stage
                && admit.is_some_and(|unanswered| unanswered.action == action.id)
            {
                // The time to finish begins when no new request comes any more.
                let patience = deadline.since(*since);
                *admit = None;
                *since = hand.now.time;
                *deadline = hand.now.time + patience;
            }
        }
        ActionKind::Allot { replica, resources, .. } => {
            let Some(place) = awaited(knowledge, action.id, replica) else { return Settled::Nothing };
            place.resources = Some(*resources);
            place.fitting = Fitting::Done { since: hand.now.time };
            let whom = Some((replica.ordinal, place.incarnation));
            hand.out.tell(hand.now, &replica.service, whom, EventKind::Allotted, action.reason.clone());
        }
        ActionKind::Expose(declared) => {
            if let Some(service) = knowledge.service_mut(&declared.name)
                && matches!(service.exposure, Exposure::Telling { action: told, .. } if told == action.id)
            {
                service.exposure = Exposure::Shown { revision: declared.revision, since: hand.now.time };
            }
        }
        ActionKind::Conceal(name) => {
            if let Some(service) = knowledge.service_mut(name)
                && matches!(service.exposure, Exposure::Concealing { action: told, .. } if told == action.id)
            {
                service.exposure = Exposure::None;
            }
        }
        // Its end is reported before; should that report be lost, it is gone all the same.
        ActionKind::Stop { replica, .. } => {
            let place = knowledge.place(&replica.service, replica.ordinal);
            if place
                .is_some_and(|p| matches!(p.stage, Stage::Stopping { action: told, .. } if told == action.id))
            {
                knowledge.fold(hand.now, &Fact::Vanished(replica.clone()), &mut hand.out.events);
            }
        }
        ActionKind::Remember(_) => {}
    }
    Settled::Service
}

fn failed(hand: &mut Hand<'_>, knowledge: &mut Knowledge, action: &Action, failure: &Failure) -> Settled {
    let retry = hand.now.time + hand.timeout;
    let reason = Reason::ActionFailed(Arc::clone(&failure.message));
    match &action.kind {
        ActionKind::Start { replica, .. } => {
            let Some(place) = knowledge.place_mut(replica) else { return Settled::Nothing };
            if !matches!(place.stage, Stage::Starting { action: told, .. } if told == action.id) {
                return Settled::Nothing;
            }
            place.stage = Stage::Empty { since: hand.now.time, exit: None };
            place.start_failure = Some(Arc::clone(&failure.message));
            let whom = Some((replica.ordinal, place.incarnation));
            hand.out.tell(hand.now, &replica.service, whom, EventKind::ActionFailed, reason);
            return Settled::FailedStart(replica.clone(), failure.kind);
        }
        ActionKind::Allot { replica, .. } => {
            let Some(place) = awaited(knowledge, action.id, replica) else { return Settled::Nothing };
            let message = Arc::clone(&failure.message);
            place.fitting = match failure.kind {
                FailureKind::Unsupported => Fitting::Fixed { message },
                FailureKind::Declaration
                | FailureKind::AddressInUse
                | FailureKind::DiskFull
                | FailureKind::Other => Fitting::Failed { message, retry },
            };
            let whom = Some((replica.ordinal, place.incarnation));
            hand.out.tell(hand.now, &replica.service, whom, EventKind::ActionFailed, reason);
        }
        ActionKind::Expose(declared) => {
            let Some(service) = knowledge.service_mut(&declared.name) else { return Settled::Nothing };
            let message = Arc::clone(&failure.message);
            let (revision, since) = (declared.revision, hand.now.time);
            service.exposure = Exposure::Failed { revision, since, message, retry };
            hand.out.tell(hand.now, &declared.name, None, EventKind::ActionFailed, reason);
        }
        // What must happen in the end is told again, after a while; a newer memory takes the place of one that waits.
        ActionKind::Stop { .. }
        | ActionKind::Admit { .. }
        | ActionKind::Conceal(_)
        | ActionKind::Remember(_) => {
            hand.out.tell(hand.now, action.kind.service(), None, EventKind::ActionFailed, reason);
            hand.flight.postpone(action.clone(), retry);
        }
    }
    Settled::Service
}

/// The place that waits for the platform to have changed what its replica may use, by this action.
fn awaited<'k>(knowledge: &'k mut Knowledge, id: ActionId, replica: &ReplicaId) -> Option<&'k mut Place> {
    let place = knowledge.place_mut(replica)?;
    let is_awaited = matches!(place.fitting, Fitting::Telling { action, .. } if action == id);
    is_awaited.then_some(place)
}

/// The life meant is not there: it has ended, or another one is there. What is observed says which.
fn overtaken(hand: &Hand<'_>, knowledge: &mut Knowledge, action: &Action) -> Settled {
    if let ActionKind::Admit { replica, .. } = &action.kind
        && let Some(place) = knowledge.place_mut(replica)
        && let Stage::Draining { admit, .. } = &mut place.stage
        && admit.is_some_and(|unanswered| unanswered.action == action.id)
    {
        *admit = None;
    }
    if let ActionKind::Allot { replica, .. } = &action.kind
        && let Some(place) = awaited(knowledge, action.id, replica)
    {
        place.fitting = Fitting::Done { since: hand.now.time };
    }
    if let ActionKind::Start { replica, .. } = &action.kind
        && let Some(place) = knowledge.place_mut(replica)
        && matches!(place.stage, Stage::Starting { action: told, .. } if told == action.id)
    {
        place.stage = Stage::Empty { since: hand.now.time, exit: None };
        place.restart.not_before = place.restart.not_before.max(hand.now.time + hand.timeout);
    }
    Settled::Service
}
