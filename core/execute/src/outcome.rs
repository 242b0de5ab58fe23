//! Folds the outcomes of actions into the state.

use std::sync::Arc;

use knowledge::{Exposure, FailedChange, Health, Knowledge, Place, ResourceChange, ServiceState, Stage};
use model::action::{Action, ActionKind, Failure, FailureKind, Outcome, Refusal};
use model::event::EventKind;
use model::fact::Fact;
use model::identity::{ActionId, ReplicaId};
use model::name::ServiceName;
use model::reason::Reason;

use crate::dispatch::Dispatch;

/// What must be planned again because an action has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// Nothing: the action had ended before, or its end is no news.
    Nothing,
    /// The service of the action.
    Service(ServiceName),
    /// A replica whose start failed before its program ran.
    FailedStart(ReplicaId, FailureKind),
}

/// Folds the outcome of an action into the state.
///
/// An action that ended `Unknown` is sent again after the timeout, with the same id: repeating it is safe, assuming an outcome is not.
pub fn apply_outcome(
    dispatch: &mut Dispatch<'_>,
    knowledge: &mut Knowledge,
    id: ActionId,
    outcome: &Outcome,
) -> FollowUp {
    // Whatever the action was, there is a later epoch.
    if *outcome == Outcome::Refused(Refusal::StaleEpoch) {
        dispatch.in_flight.fence();
    }
    let Some(action) = dispatch.in_flight.finish(id) else { return FollowUp::Nothing };
    match outcome {
        Outcome::Applied => applied(dispatch, knowledge, &action),
        Outcome::Failed(failure) => failed(dispatch, knowledge, action, failure),
        Outcome::Refused(Refusal::StaleEpoch) => FollowUp::Nothing,
        Outcome::Refused(Refusal::OtherIncarnation) => superseded(dispatch, knowledge, &action),
        Outcome::Unknown => {
            dispatch.in_flight.resend_at(action, dispatch.now.time + dispatch.timeout);
            FollowUp::Nothing
        }
    }
}

fn applied(dispatch: &mut Dispatch<'_>, knowledge: &mut Knowledge, action: &Action) -> FollowUp {
    match &action.kind {
        ActionKind::Start { replica, .. } => {
            let Some(place) = knowledge.place_mut(replica) else { return FollowUp::Nothing };
            if place.stage.awaits(action.id) {
                let since = dispatch.now.time;
                let health = Health {
                    since,
                    started: false,
                    ready: false,
                    ready_changed: since,
                    unhealthy_since: None,
                };
                place.note_run();
                place.stage = Stage::Running(health);
            }
        }
        ActionKind::Admit { replica, .. } => {
            if let Some(place) = knowledge.place_mut(replica)
                && let Stage::Draining { admit, since, deadline, .. } = &mut place.stage
                && admit.is_some_and(|unanswered| unanswered.action == action.id)
            {
                // There are no new requests from now on: the time to drain begins.
                let drain_time = deadline.since(*since);
                *admit = None;
                *since = dispatch.now.time;
                *deadline = dispatch.now.time + drain_time;
            }
        }
        ActionKind::Allot { replica, resources, .. } => {
            let Some(place) = resized_by(knowledge, action.id, replica) else { return FollowUp::Nothing };
            place.resources = Some(*resources);
            place.resource_change = ResourceChange::Settled { since: dispatch.now.time };
            let life = Some((replica.ordinal, place.incarnation));
            dispatch.out.record_event(
                dispatch.now,
                &replica.service,
                life,
                EventKind::Allotted,
                action.reason.clone(),
            );
        }
        ActionKind::Expose(declared) => {
            if let Some(service) = exposed_by(knowledge, action.id, &declared.name) {
                service.exposure = Exposure::Open { revision: declared.revision, since: dispatch.now.time };
            }
        }
        ActionKind::Conceal(name) => {
            if let Some(service) = exposed_by(knowledge, action.id, name) {
                service.exposure = Exposure::None;
            }
        }
        // Its end was reported before; if that report was lost, the replica has ended nevertheless.
        ActionKind::Stop { replica, .. } => {
            let place = knowledge.place(&replica.service, replica.ordinal);
            if place.is_some_and(|place| place.stage.awaits(action.id)) {
                knowledge.fold(dispatch.now, &Fact::Vanished(replica.clone()), &mut dispatch.out.events);
            }
        }
        ActionKind::Remember(_) => {}
    }
    FollowUp::Service(action.kind.service().clone())
}

fn failed(
    dispatch: &mut Dispatch<'_>,
    knowledge: &mut Knowledge,
    action: Action,
    failure: &Failure,
) -> FollowUp {
    let retry = dispatch.now.time + dispatch.timeout;
    let message = Arc::clone(&failure.message);
    let reason = Reason::ActionFailed(Arc::clone(&message));
    let service = action.kind.service().clone();
    match &action.kind {
        ActionKind::Start { replica, .. } => {
            let Some(place) = knowledge.place_mut(replica) else { return FollowUp::Nothing };
            if !place.stage.awaits(action.id) {
                return FollowUp::Nothing;
            }
            place.stage = Stage::Empty { since: dispatch.now.time, exit: None };
            place.start_failure = Some(message);
            let life = Some((replica.ordinal, place.incarnation));
            dispatch.out.record_event(dispatch.now, &service, life, EventKind::ActionFailed, reason);
            return FollowUp::FailedStart(replica.clone(), failure.kind);
        }
        ActionKind::Allot { replica, .. } => {
            let Some(place) = resized_by(knowledge, action.id, replica) else { return FollowUp::Nothing };
            place.resource_change = match failure.kind {
                FailureKind::Unsupported => ResourceChange::Unsupported { message },
                FailureKind::Declaration
                | FailureKind::AddressInUse
                | FailureKind::DiskFull
                | FailureKind::Other => ResourceChange::Failed(Box::new(FailedChange { message, retry })),
            };
            let life = Some((replica.ordinal, place.incarnation));
            dispatch.out.record_event(dispatch.now, &service, life, EventKind::ActionFailed, reason);
        }
        ActionKind::Expose(declared) => {
            let Some(state) = knowledge.service_mut(&service) else { return FollowUp::Nothing };
            let (revision, since) = (declared.revision, dispatch.now.time);
            state.exposure = Exposure::Failed { revision, since, message, retry };
            dispatch.out.record_event(dispatch.now, &service, None, EventKind::ActionFailed, reason);
        }
        // An action that must succeed eventually is sent again later; a newer memory replaces one that waits.
        ActionKind::Stop { .. }
        | ActionKind::Admit { .. }
        | ActionKind::Conceal(_)
        | ActionKind::Remember(_) => {
            dispatch.out.record_event(dispatch.now, &service, None, EventKind::ActionFailed, reason);
            dispatch.in_flight.resend_at(action, retry);
        }
    }
    FollowUp::Service(service)
}

/// The replica of the action no longer exists: it has ended or has a successor. Reports show which.
fn superseded(dispatch: &mut Dispatch<'_>, knowledge: &mut Knowledge, action: &Action) -> FollowUp {
    match &action.kind {
        ActionKind::Admit { replica, .. } => {
            if let Some(place) = knowledge.place_mut(replica)
                && let Stage::Draining { admit, .. } = &mut place.stage
                && admit.is_some_and(|unanswered| unanswered.action == action.id)
            {
                *admit = None;
            }
        }
        ActionKind::Allot { replica, .. } => {
            if let Some(place) = resized_by(knowledge, action.id, replica) {
                place.resource_change = ResourceChange::Settled { since: dispatch.now.time };
            }
        }
        ActionKind::Start { replica, incarnation, .. } => {
            if let Some(place) = knowledge.place_mut(replica).filter(|place| place.stage.awaits(action.id)) {
                place.refuse_start(dispatch.now.time);
                // By then there is a new inventory, which lists the lives that the node knows.
                place.restart.not_before = place.restart.not_before.max(dispatch.now.time + dispatch.timeout);
                let message: Arc<str> = format!(
                    "could not start {replica} as life {incarnation}: its node knows a later life, or another one still runs"
                )
                .into();
                place.start_failure = Some(Arc::clone(&message));
                let (life, reason) = (Some((replica.ordinal, *incarnation)), Reason::ActionFailed(message));
                let service = &replica.service;
                dispatch.out.record_event(dispatch.now, service, life, EventKind::ActionFailed, reason);
            }
        }
        ActionKind::Stop { .. }
        | ActionKind::Expose(_)
        | ActionKind::Conceal(_)
        | ActionKind::Remember(_) => {}
    }
    FollowUp::Service(action.kind.service().clone())
}

/// The place whose resources are being changed by this action.
fn resized_by<'k>(knowledge: &'k mut Knowledge, id: ActionId, replica: &ReplicaId) -> Option<&'k mut Place> {
    let place = knowledge.place_mut(replica)?;
    let is_awaited = matches!(place.resource_change, ResourceChange::InProgress { action } if action == id);
    is_awaited.then_some(place)
}

/// The service whose listener is being opened or closed by this action.
fn exposed_by<'k>(
    knowledge: &'k mut Knowledge,
    id: ActionId,
    name: &ServiceName,
) -> Option<&'k mut ServiceState> {
    knowledge.service_mut(name).filter(|service| service.exposure.awaits(id))
}
