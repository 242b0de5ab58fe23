//! Which version is started in the empty places of a service.
//!
//! Usually the declared one. While that has not proven itself and another version has, the wanted number of replicas runs the other one, and one
//! replica more tries out the declared one: a version that does not start then costs nothing, whatever happens to the other replicas meanwhile.
//! Kubernetes' Deployments do the same with two ReplicaSets, of which the old one keeps its size until the new one has available replicas.

use std::collections::BTreeSet;

use knowledge::{Place, ServiceState, Stage};
use model::identity::{ActionId, Ordinal};
use model::plan::{AfterStop, Change, Role, Step};

use crate::draft::Draft;

/// Has the draft start the proven version, instead of the declared one, in the places that are needed for the wanted number or for a spare.
pub(crate) fn start_proven(service: &ServiceState, desired: u32, draft: &mut Draft) {
    let (Some(proven), Some(reason)) = (service.proven_before(), service.unproven()) else { return };
    let spares = opened_spares(&draft.steps);
    let is_active = |ordinal: Ordinal| match service.places.get(&ordinal) {
        Some(place) => place.role == Role::Active,
        None => !spares.contains(&ordinal),
    };
    let mut starts: Vec<Ordinal> = draft.steps.iter().filter_map(started).collect();
    // A version returns to its own places, which remember its failures. What is needed is not left to places that may not be opened.
    starts.sort_by_key(|ordinal| match service.places.get(ordinal) {
        Some(place) if place.generation == proven.generation => 0,
        Some(place) if service.is_on_trial(place) => 3,
        Some(_) => 1,
        None => 2,
    });
    let closed = closed_places(&draft.steps);
    let kept = || service.counting().filter(|(it, _)| !closed.contains(it) && !starts.contains(it));
    let mut shares = kept().filter(|(_, place)| carries_share(service, place)).count();
    let mut is_tried = kept().any(|(_, place)| service.is_on_trial(place));
    let mut of_proven = BTreeSet::new();
    for ordinal in starts {
        if is_active(ordinal) && shares >= desired as usize && !is_tried {
            is_tried = true;
        } else {
            shares += usize::from(is_active(ordinal));
            of_proven.insert(ordinal);
        }
    }
    for step in &mut draft.steps {
        if let Change::Start { ordinal, generation } = &mut step.change
            && of_proven.contains(ordinal)
        {
            *generation = proven.generation;
            step.reason = reason.clone();
        }
    }
}

/// The place in which a step starts a replica.
fn started(step: &Step) -> Option<Ordinal> {
    if let Change::Start { ordinal, .. } = step.change { Some(ordinal) } else { None }
}

/// The places that steps close, at once or when their replicas have stopped. One that is refilled is still there, also if the guard refuses the
/// stop.
fn closed_places(steps: &[Step]) -> BTreeSet<Ordinal> {
    let closed = steps.iter().filter_map(|step| {
        if let Change::Close { ordinal }
        | Change::Stop { ordinal, then: AfterStop::Close }
        | Change::Drain { ordinal, then: AfterStop::Close } = step.change
        {
            Some(ordinal)
        } else {
            None
        }
    });
    closed.collect()
}

/// The places that are opened for spares.
fn opened_spares(steps: &[Step]) -> BTreeSet<Ordinal> {
    let opened = steps.iter().filter_map(|step| {
        if let Change::Open { ordinal, role: Role::Spare } = step.change { Some(ordinal) } else { None }
    });
    opened.collect()
}

/// Whether a place carries one of the wanted shares, or will: its replica is of the proven version, or of an older one that still runs. A version
/// that was declared in between and has never become ready carries nothing.
fn carries_share(service: &ServiceState, place: &Place) -> bool {
    let is_proven = service.proven.as_ref().is_some_and(|proven| proven.generation == place.generation);
    match &place.stage {
        Stage::Empty { .. } | Stage::Starting { .. } => is_proven,
        Stage::Running(_) => {
            let is_failing = place.was_never_ready() && place.started_by != ActionId::default();
            is_proven || (service.is_outdated(place) && !is_failing)
        }
        Stage::Draining { .. } | Stage::Stopping { .. } => service.is_outdated(place),
    }
}
