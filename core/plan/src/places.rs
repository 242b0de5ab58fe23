//! The places of a service: how many there are, and which are removed.

use std::time::Duration;

use knowledge::{Exposure, Health, Place, ServiceState, Stage};
use model::identity::{ActionId, Ordinal};
use model::plan::{AfterStop, Change, Initiator, Role};
use model::reason::Reason;
use model::resource::Recover;
use model::time::Time;

use crate::context::PlanContext;
use crate::draft::Draft;
use crate::resize;
use crate::victims::{Victims, removal_order, victims};

/// Adds the steps that bring the number of places to what is wanted.
///
/// A newer declaration is rolled out one replica at a time: one more place than wanted is opened, and an outdated replica is removed only when the
/// wanted number serves without it. So a new version that never becomes ready removes nothing. Outdated replicas that do not serve are removed
/// first, as nothing is lost with them ([`Outdated::may_remove`] says when). A replica whose size cannot be changed in place is replaced in the same
/// way. [`versions`](crate::versions) says which version is started in a place.
pub(crate) fn adjust_places(context: PlanContext<'_>, desired: u32, draft: &mut Draft) {
    adjust_active(context, desired, draft);
    adjust_spares(context.service, draft);
}

/// Adds the steps that remove all places of a service that is no longer declared.
pub(crate) fn clear(service: &ServiceState, draft: &mut Draft) {
    for (ordinal, place) in &service.places {
        retire(service, *ordinal, place, Initiator::Operator, &Reason::Withdrawn, draft);
    }
}

/// Brings the number of active replicas to the one wanted, and replaces them one at a time.
fn adjust_active(context: PlanContext<'_>, desired: u32, draft: &mut Draft) {
    let service = context.service;
    let misfit = resize::to_replace(context, desired, draft).map(Replaced::of_other_size);
    let outdated = Outdated::of(context, desired);
    let replaced = outdated.next().or(misfit).filter(|_| desired > 0);
    let trial = service.proven_before().filter(|_| desired > 0);
    let have = service.count();
    // One more than wanted while one is replaced, or the declared version is tried out.
    let wanted = desired.saturating_add(u32::from(replaced.is_some() || trial.is_some()));
    if have < desired {
        let reason = Reason::BelowDesired { have, desired };
        open(service, desired - have, Role::Active, Initiator::ScaleOut, &reason, draft);
        return;
    }
    // If all excess replicas must stay, the replacement continues.
    if have > wanted && shrink(context, have - wanted, desired, draft) {
        return;
    }
    if have < wanted {
        let cause = replaced.map_or((Initiator::Rollout, Reason::Declared), |it| (it.initiator, it.reason));
        open(service, wanted - have, Role::Active, cause.0, &cause.1, draft);
        return;
    }
    let Some(Replaced { ordinal, initiator, reason, is_expendable }) = replaced else { return };
    if available(context, draft) > desired || is_expendable {
        retire(service, ordinal, &service.places[&ordinal], initiator, &reason, draft);
    } else if let Some(at) = outdated.next_given_up_at() {
        draft.again_at(at);
    }
}

/// How many replicas have been ready for long enough to count for a rollout. Those that have not yet are waited for.
fn available(context: PlanContext<'_>, draft: &mut Draft) -> u32 {
    let service = context.service;
    let min_ready = service.declared.as_ref().map_or(Duration::ZERO, |declared| declared.min_ready());
    let mut available = 0;
    for (_, place) in service.counting() {
        match place.available_at(min_ready) {
            Some(at) if at > context.now.time => draft.again_at(at),
            Some(_) => available += 1,
            None => {}
        }
    }
    available
}

/// Removes `excess` replicas and notes why others must stay; returns whether any is removed.
fn shrink(context: PlanContext<'_>, excess: u32, desired: u32, draft: &mut Draft) -> bool {
    let service = context.service;
    let reason =
        Reason::AboveDesired { have: service.count(), desired, first: removal_order(service).clone() };
    let Victims { removed, kept } = victims(context, excess);
    for ordinal in &removed {
        retire(service, *ordinal, &service.places[ordinal], Initiator::ScaleIn, &reason, draft);
    }
    for (ordinal, why) in kept {
        if let Reason::Protected { until } = why {
            draft.again_at(until);
        }
        draft.wait(Some(ordinal), why);
    }
    !removed.is_empty()
}

/// A replica that is replaced by another one.
struct Replaced {
    ordinal: Ordinal,
    initiator: Initiator,
    reason: Reason,
    /// Whether it may be removed although fewer than the wanted number serve, as nothing is lost with it.
    is_expendable: bool,
}

impl Replaced {
    fn of_other_size((ordinal, reason): (Ordinal, Reason)) -> Self {
        Self { ordinal, initiator: Initiator::Vertical, reason, is_expendable: false }
    }
}

/// The replicas of a service that run an older declaration.
struct Outdated<'s> {
    context: PlanContext<'s>,
    /// Whether a replica of the current declaration serves, and has for long enough.
    is_proven: bool,
    /// Whether there are more replicas than wanted even without those of the current declaration that do not serve.
    has_surplus: bool,
    /// Whether the proven version has more replicas than wanted, so that none is left for trying out the declared one.
    lacks_trial: bool,
}

impl<'s> Outdated<'s> {
    fn of(context: PlanContext<'s>, desired: u32) -> Self {
        let service = context.service;
        let current = || service.counting().filter(|(_, place)| !service.is_outdated(place));
        let min_ready = service.declared.as_ref().map_or(Duration::ZERO, |declared| declared.min_ready());
        let unproven = current().filter(|(_, place)| !place.is_serving()).count();
        Self {
            context,
            is_proven: current().any(|(_, place)| place.is_available(context.now.time, min_ready)),
            has_surplus: service.counting().count() > desired as usize + unproven,
            lacks_trial: {
                let kept = service.counting().filter(|(_, place)| is_kept(service, place)).count();
                kept > desired as usize && !service.counting().any(|(_, place)| service.is_on_trial(place))
            },
        }
    }

    fn all(&self) -> impl Iterator<Item = (Ordinal, &'s Place)> + use<'s> {
        let service = self.context.service;
        service.counting().filter(|(_, place)| service.is_outdated(place))
    }

    /// The replica that is replaced next: one that may be removed now, or else the first of those with which least is lost.
    fn next(&self) -> Option<Replaced> {
        let (ordinal, place) = self.all().min_by_key(|(_, place)| (!self.may_remove(place), loss(place)))?;
        let runs = place.generation;
        let wanted = self.context.service.declared.as_ref()?.generation;
        Some(Replaced {
            ordinal,
            initiator: Initiator::Rollout,
            reason: Reason::Outdated { runs, wanted },
            is_expendable: self.may_remove(place),
        })
    }

    /// Whether a replica may be removed although fewer than wanted serve: it does not serve, and
    /// - it is more than wanted, so that each is removed only when the successor of the one before serves; or
    /// - it has never been ready, and a replica of the current declaration is; or
    /// - its time is over ([`Self::given_up_at`]).
    ///
    /// Only the last applies to a replica of an earlier run that has not been ready in this one: its probes have begun again, and it may serve.
    /// One of the version that is started until the declared one has proven itself is only removed for the trial of that.
    fn may_remove(&self, place: &Place) -> bool {
        if place.health().is_none() || place.is_serving() {
            return false;
        }
        if is_kept(self.context.service, place) {
            return self.lacks_trial;
        }
        let was_never_ready = place.was_never_ready();
        let is_known = !was_never_ready || place.started_by != ActionId::default();
        let is_superseded = self.is_proven && was_never_ready;
        let is_given_up = self.given_up_at(place).is_some_and(|at| at <= self.context.now.time);
        is_given_up || (is_known && (self.has_surplus || is_superseded))
    }

    fn next_given_up_at(&self) -> Option<Time> {
        self.all().filter_map(|(_, place)| self.given_up_at(place)).min()
    }

    /// When a replica that is not ready is given up for a newer one: after the grace of a failing probe. `None` for one that is ready, or does not
    /// run, or was ready while no newer one serves: the cause may be something that both versions need. `None` also for one of the version that is
    /// started until the newer one has proven itself: its successor would be the same.
    fn given_up_at(&self, place: &Place) -> Option<Time> {
        let health = place.health()?;
        if is_kept(self.context.service, place) {
            return None;
        }
        let patience = self.context.settings.restart.liveness_grace;
        (!health.ready && (self.is_proven || place.was_never_ready()))
            .then(|| health.ready_changed + patience)
    }
}

/// Whether a place runs the version that is started until the declared one has proven itself.
fn is_kept(service: &ServiceState, place: &Place) -> bool {
    service.proven_before().is_some_and(|proven| proven.generation == place.generation)
}

/// What is lost with an outdated replica, in ascending order: it runs and has never been ready; it runs and does not serve; it serves or is
/// starting.
fn loss(place: &Place) -> u8 {
    match &place.stage {
        Stage::Running(_) if place.was_never_ready() => 0,
        Stage::Running(_) if !place.is_serving() => 1,
        Stage::Running(_)
        | Stage::Empty { .. }
        | Stage::Starting { .. }
        | Stage::Draining { .. }
        | Stage::Stopping { .. } => 2,
    }
}

/// Brings the number of spares to the declared one, and replaces outdated ones one at a time once the declared version has proven itself. A service
/// at zero has none: there is no replica in whose place one could step.
fn adjust_spares(service: &ServiceState, draft: &mut Draft) {
    let wanted = match service.declared.as_ref().map(|declared| declared.spec.recover) {
        Some(Recover::Standby { spares }) if service.desired != Some(0) => spares as usize,
        Some(Recover::Standby { .. } | Recover::Reschedule | Recover::MostActive | Recover::Random)
        | None => 0,
    };
    let have = service.spares().count();
    if have < wanted {
        let missing = u32::try_from(wanted - have).unwrap_or(u32::MAX);
        open(service, missing, Role::Spare, Initiator::Heal, &Reason::SpareWanted, draft);
        return;
    }
    let excess = service.spares().skip(wanted);
    let is_replaced = |place: &Place| service.is_outdated(place) && service.proven_before().is_none();
    let outdated = service.spares().take(wanted).filter(|(_, place)| is_replaced(place)).take(1);
    for (ordinal, place) in excess.chain(outdated) {
        retire(service, ordinal, place, Initiator::ScaleIn, &Reason::Declared, draft);
    }
}

/// Most places that one plan opens for a service; the next plan opens more.
///
/// 100: more than a machine can start before the first of them is reported, which is when the next plan is made. Without a limit, a size with some
/// digits too many made a plan that filled the memory before the guard could refuse it.
const OPENINGS_MAX: u32 = 100;

/// Opens `missing` places at the smallest free numbers, at most [`OPENINGS_MAX`].
fn open(
    service: &ServiceState,
    missing: u32,
    role: Role,
    initiator: Initiator,
    reason: &Reason,
    draft: &mut Draft,
) {
    let opened = draft.steps.iter().filter(|s| matches!(s.change, Change::Open { .. })).count();
    let free = (0..).map(Ordinal).filter(|ordinal| !service.places.contains_key(ordinal));
    for ordinal in free.skip(opened).take(missing.min(OPENINGS_MAX) as usize) {
        draft.step(initiator, Change::Open { ordinal, role }, reason.clone());
        draft.start(service, ordinal, initiator, reason.clone());
    }
}

/// Removes a place in the gentlest way that its stage allows.
fn retire(
    service: &ServiceState,
    ordinal: Ordinal,
    place: &Place,
    initiator: Initiator,
    reason: &Reason,
    draft: &mut Draft,
) {
    let then = AfterStop::Close;
    match &place.stage {
        Stage::Empty { .. } => draft.step(initiator, Change::Close { ordinal }, reason.clone()),
        Stage::Running(health) if may_have_requests(service, place, health) => {
            draft.step(initiator, Change::Drain { ordinal, then }, reason.clone());
        }
        Stage::Running(_) => draft.step(initiator, Change::Stop { ordinal, then }, reason.clone()),
        Stage::Starting { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => {}
    }
}

/// Whether requests may be open at a replica. One that stopped being ready keeps those that were routed to it, and a count from before that
/// does not say how many they are.
fn may_have_requests(service: &ServiceState, place: &Place, health: &Health) -> bool {
    let was_ready = health.ready_changed > health.since;
    let is_counted_since = place.in_flight.0 > health.ready_changed;
    let may_be_open = health.ready || (was_ready && !is_counted_since);
    place.in_flight.1 > 0 || (may_be_open && may_be_routed_to(service, place))
}

/// Whether the proxy may route to a ready replica: it does so at once, and its counts come later. It is not known what an earlier run
/// did with a spare.
fn may_be_routed_to(service: &ServiceState, place: &Place) -> bool {
    let was_adopted = place.started_by == ActionId::default();
    let is_reachable = service.exposure != Exposure::None;
    place.in_flight.0 > Time::ZERO || (is_reachable && (place.role == Role::Active || was_adopted))
}
