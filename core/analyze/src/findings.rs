//! The findings of one service.

use knowledge::{Knowledge, Place, ServiceState, Stage};
use model::fact::Finding;
use model::identity::Ordinal;
use model::resource::DependencyStage;
use model::settings::RestartSettings;
use model::time::Time;

use crate::restarts::is_crash_loop;

/// Appends the findings of `service` at `now`.
pub fn findings(
    now: Time,
    knowledge: &Knowledge,
    service: &ServiceState,
    settings: &RestartSettings,
    out: &mut Vec<Finding>,
) {
    dependencies(now, knowledge, service, out);
    sickness(now, service, settings, out);
    for (ordinal, place) in service.places.iter().filter(|(_, place)| !place.is_occupied()) {
        if let Some(exits) = is_crash_loop(now, &place.restart, settings) {
            out.push(Finding::CrashLoop { ordinal: *ordinal, exits });
        }
    }
}

fn dependencies(now: Time, knowledge: &Knowledge, service: &ServiceState, out: &mut Vec<Finding>) {
    let Some(declared) = &service.declared else { return };
    for dependency in &declared.spec.depends_on {
        let is_there = knowledge.service(&dependency.service).is_some_and(|needed| match dependency.when {
            DependencyStage::Started => {
                needed.places.values().any(|place| place.health().is_some_and(|h| h.begun))
            }
            DependencyStage::Ready => needed.serving() > 0,
        });
        // A resting service wakes up with the first request.
        let rests = |needed: &ServiceState| needed.rests() && needed.held(now).is_none();
        let is_there = is_there || knowledge.service(&dependency.service).is_some_and(rests);
        if !is_there {
            out.push(Finding::DependencyDown { needs: dependency.service.clone() });
        }
    }
}

/// Replicas that fail their liveness probe: each by itself, and, when they are many, an overload as well.
///
/// Many failures at once point to something shared (a dependency, the network, too much load); restarting the replicas would take
/// away the capacity that is left.
fn sickness(now: Time, service: &ServiceState, settings: &RestartSettings, out: &mut Vec<Finding>) {
    let mut sick =
        service.places.iter().filter_map(|(ordinal, place)| Some((*ordinal, sick_since(place)?))).peekable();
    if sick.peek().is_none() {
        return;
    }
    let sick: Vec<(Ordinal, Time)> = sick.collect();
    let of = u32::try_from(service.places.values().filter(|p| runs(p)).count()).unwrap_or(u32::MAX);
    let failing = u32::try_from(sick.len()).unwrap_or(u32::MAX);
    if failing >= 2 && failing * 100 >= of * settings.overload_percent {
        out.push(Finding::Overload { failing, of });
    }
    out.extend(sick.into_iter().map(|(ordinal, since)| {
        let until = since + settings.liveness_grace;
        if now >= until { Finding::Sick { ordinal, since } } else { Finding::Ailing { ordinal, until } }
    }));
}

fn sick_since(place: &Place) -> Option<Time> {
    place.health()?.sick_since
}

fn runs(place: &Place) -> bool {
    matches!(place.stage, Stage::Running(_))
}
