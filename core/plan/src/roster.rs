//! How many places a service has, and which of them go.

use std::time::Duration;

use knowledge::{Exposure, Health, Place, ServiceState, Stage};
use model::identity::{ActionId, Ordinal};
use model::plan::{Afterwards, Change, Role, Writer};
use model::reason::Reason;
use model::resource::Recover;
use model::time::Time;

use crate::draft::Draft;
use crate::moment::Moment;
use crate::refit;
use crate::victims::{Victims, first_to_go, victims};

/// Adds the steps that bring the number of places to what is wanted.
///
/// A newer declaration is rolled out one replica at a time: one more place than wanted is opened, and an outdated replica goes
/// only when the number wanted serves without it. A new version that never becomes ready so takes nothing away; when a newer
/// one replaces it, those of it that have not become ready within the grace of a failing probe go first, as nothing is lost with them. Those
/// that stopped being ready for as long go once a newer one serves: until then what both need may be what is missing. A replica of a size that cannot be changed as it runs is replaced in the same way.
pub(crate) fn roster(moment: Moment<'_>, desired: u32, draft: &mut Draft) {
    let misfit = refit::to_replace(moment, desired, draft).filter(|_| desired > 0);
    actives(moment, (desired, misfit), draft);
    spares(moment.service, draft);
}

/// Adds the steps that take everything away: nobody wants the service any more.
pub(crate) fn clear(service: &ServiceState, draft: &mut Draft) {
    for (ordinal, place) in &service.places {
        retire(service, *ordinal, place, Writer::Human, &Reason::Withdrawn, draft);
    }
}

fn actives(moment: Moment<'_>, (desired, misfit): (u32, Option<(Ordinal, Reason)>), draft: &mut Draft) {
    let (now, service) = (moment.now.time, moment.service);
    let patience = moment.settings.restart.liveness_grace;
    let have = service.count();
    let is_proved = service.counting().any(|(_, place)| place.is_serving() && !service.is_outdated(place));
    let failed_at = |place: &Place| failed_at(place, patience, is_proved);
    let failed = |place: &Place| failed_at(place).is_some_and(|at| at <= now);
    let outdated_all = || service.counting().filter(|(_, place)| service.is_outdated(place));
    let outdated = outdated_all().find(|(_, place)| failed(place)).or_else(|| outdated_all().next());
    let surge = u32::from((outdated.is_some() || misfit.is_some()) && desired > 0);
    let wanted = if have >= desired { desired.saturating_add(surge) } else { desired };
    if have < wanted {
        let (writer, reason) = match (outdated.zip(service.declared.as_ref()), &misfit) {
            _ if have < desired => (Writer::ScaleOut, Reason::BelowDesired { have, desired }),
            (Some(((_, place), declared)), _) => {
                (Writer::Rollout, Reason::Outdated { runs: place.generation, wanted: declared.generation })
            }
            (None, Some((_, reason))) => (Writer::Fit, reason.clone()),
            (None, None) => (Writer::ScaleOut, Reason::BelowDesired { have, desired }),
        };
        open(service, wanted - have, Role::Active, writer, &reason, draft);
    } else if have > wanted && shrink(moment, (have, wanted, desired), draft) {
    } else if let Some((ordinal, place)) = outdated
        && surge > 0
        && let Some(declared) = &service.declared
    {
        if service.serving() > desired || failed(place) {
            let reason = Reason::Outdated { runs: place.generation, wanted: declared.generation };
            retire(service, ordinal, place, Writer::Rollout, &reason, draft);
        } else if let Some(at) = outdated_all().filter_map(|(_, place)| failed_at(place)).min() {
            draft.again_at(at);
        }
    } else if let Some((ordinal, reason)) = misfit
        && service.serving() > desired
    {
        retire(service, ordinal, &service.places[&ordinal], Writer::Fit, &reason, draft);
    }
}

/// Takes away what is too many, and says of whom must stay why; whether any goes. Where none may, whatever else there is to do goes on.
fn shrink(moment: Moment<'_>, (have, wanted, desired): (u32, u32, u32), draft: &mut Draft) -> bool {
    let service = moment.service;
    let reason = Reason::AboveDesired { have, desired, first: first_to_go(service).clone() };
    let Victims { go, kept } = victims(moment, have - wanted);
    for ordinal in &go {
        retire(service, *ordinal, &service.places[ordinal], Writer::ScaleIn, &reason, draft);
    }
    for (ordinal, why) in kept {
        if let Reason::Protected { until } = why {
            draft.again_at(until);
        }
        draft.wait(Some(ordinal), why);
    }
    !go.is_empty()
}

/// When a replica that is not ready is given up for a newer one; `None` for one that is ready, or does not run, and while
/// the newer version `is_proved` by none that serves also for one that has been ready.
fn failed_at(place: &Place, patience: Duration, is_proved: bool) -> Option<Time> {
    let health = place.health()?;
    let was_ready = health.ready_changed > health.since;
    (!health.ready && (is_proved || !was_ready)).then(|| health.ready_changed + patience)
}

fn spares(service: &ServiceState, draft: &mut Draft) {
    let wanted = match service.declared.as_ref().map(|declared| declared.spec.recover) {
        Some(Recover::Standby { spares }) if !service.rests() => spares as usize,
        Some(Recover::Standby { .. } | Recover::Reschedule | Recover::MostActive | Recover::Random)
        | None => 0,
    };
    let have = service.spares().count();
    if have < wanted {
        let missing = u32::try_from(wanted - have).unwrap_or(u32::MAX);
        open(service, missing, Role::Spare, Writer::Heal, &Reason::SpareWanted, draft);
        return;
    }
    let excess = service.spares().skip(wanted);
    let outdated = service.spares().take(wanted).filter(|(_, place)| service.is_outdated(place)).take(1);
    for (ordinal, place) in excess.chain(outdated) {
        retire(service, ordinal, place, Writer::ScaleIn, &Reason::Declared, draft);
    }
}

/// Most places that one plan opens for a service; the next plan opens more.
///
/// 100: more than a machine can begin before the first of them is heard of, which is when the next plan is made. Without it a
/// slip of some digits in a size made a plan that filled the memory before the guard could refuse it.
const OPENINGS_MAX: u32 = 100;

/// Opens `missing` places at the smallest free numbers, at most [`OPENINGS_MAX`].
fn open(
    service: &ServiceState,
    missing: u32,
    role: Role,
    writer: Writer,
    reason: &Reason,
    draft: &mut Draft,
) {
    let opened = draft.steps.iter().filter(|s| matches!(s.change, Change::Open { .. })).count();
    let free = (0..).map(Ordinal).filter(|ordinal| !service.places.contains_key(ordinal));
    for ordinal in free.skip(opened).take(missing.min(OPENINGS_MAX) as usize) {
        draft.step(writer, Change::Open { ordinal, role }, reason.clone());
        draft.step(writer, Change::Start { ordinal }, reason.clone());
    }
}

/// Takes a place away in the gentlest way that its stage allows.
fn retire(
    service: &ServiceState,
    ordinal: Ordinal,
    place: &Place,
    writer: Writer,
    reason: &Reason,
    draft: &mut Draft,
) {
    let then = Afterwards::Close;
    match &place.stage {
        Stage::Empty { .. } => draft.step(writer, Change::Close { ordinal }, reason.clone()),
        Stage::Running(health) if may_have_requests(service, place, health) => {
            draft.step(writer, Change::Drain { ordinal, then }, reason.clone());
        }
        Stage::Running(_) => draft.step(writer, Change::Stop { ordinal, then }, reason.clone()),
        Stage::Starting { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => {}
    }
}

/// Whether requests may be open at a replica. One that stopped being ready keeps those that it had been given, and a count
/// from before that moment does not tell how many they are.
fn may_have_requests(service: &ServiceState, place: &Place, health: &Health) -> bool {
    let was_ready = health.ready_changed > health.since;
    let is_counted_since = place.in_flight.0 > health.ready_changed;
    let may_be_open = health.ready || (was_ready && !is_counted_since);
    place.in_flight.1 > 0 || (may_be_open && may_be_asked(service, place))
}

/// Whether a ready replica may have requests to finish: the proxy routes to it at once, and its counts come later. What an
/// earlier run made of a spare is not known.
fn may_be_asked(service: &ServiceState, place: &Place) -> bool {
    let was_adopted = place.begun_by == ActionId::default();
    let is_reachable = service.exposure != Exposure::None;
    place.in_flight.0 > Time::ZERO || (is_reachable && (place.role == Role::Active || was_adopted))
}
