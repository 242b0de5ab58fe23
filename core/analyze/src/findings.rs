//! The findings of one service.

use knowledge::{Knowledge, Place, ServiceState, Stage};
use model::fact::Finding;
use model::identity::Ordinal;
use model::resource::DependencyStage;
use model::settings::RestartSettings;
use model::time::Time;

use crate::restarts::crash_loop;

/// Appends the findings of `service` at `now`.
pub fn findings(
    now: Time,
    knowledge: &Knowledge,
    service: &ServiceState,
    settings: &RestartSettings,
    out: &mut Vec<Finding>,
) {
    dependencies(now, knowledge, service, out);
    liveness_failures(now, service, settings, out);
    for (ordinal, place) in service.places.iter().filter(|(_, place)| !place.is_occupied()) {
        if let Some(exits) = crash_loop(now, &place.restart, settings) {
            out.push(Finding::CrashLoop { ordinal: *ordinal, exits });
        }
    }
}

fn dependencies(now: Time, knowledge: &Knowledge, service: &ServiceState, out: &mut Vec<Finding>) {
    let Some(declared) = &service.declared else { return };
    for dependency in &declared.spec.depends_on {
        let is_there = knowledge.service(&dependency.service).is_some_and(|needed| match dependency.when {
            DependencyStage::Started => {
                needed.places.values().any(|place| place.health().is_some_and(|health| health.started))
            }
            DependencyStage::Ready => needed.serving() > 0,
        });
        // A service that is scaled to zero starts with the first request.
        let starts_on_request =
            |needed: &ServiceState| needed.is_scaled_to_zero() && needed.active_hold(now).is_none();
        let is_there = is_there || knowledge.service(&dependency.service).is_some_and(starts_on_request);
        if !is_there {
            out.push(Finding::DependencyDown { needs: dependency.service.clone() });
        }
    }
}

/// The replicas that fail their liveness probe, and an overload when they are many.
///
/// Many failures at once have a common cause (a dependency, the network, too much load); restarting the replicas would remove the
/// remaining capacity.
fn liveness_failures(now: Time, service: &ServiceState, settings: &RestartSettings, out: &mut Vec<Finding>) {
    let mut failing = service
        .places
        .iter()
        .filter_map(|(ordinal, place)| Some((*ordinal, unhealthy_since(place)?)))
        .peekable();
    if failing.peek().is_none() {
        return;
    }
    let failing: Vec<(Ordinal, Time)> = failing.collect();
    let of = u32::try_from(service.places.values().filter(|place| runs(place)).count()).unwrap_or(u32::MAX);
    let count = u32::try_from(failing.len()).unwrap_or(u32::MAX);
    if count >= 2 && count * 100 >= of * settings.overload_percent {
        out.push(Finding::Overload { failing: count, of });
    }
    out.extend(failing.into_iter().map(|(ordinal, since)| {
        let until = since + settings.liveness_grace;
        if now >= until {
            Finding::Unhealthy { ordinal, since }
        } else {
            Finding::UnhealthyInGrace { ordinal, until }
        }
    }));
}

fn unhealthy_since(place: &Place) -> Option<Time> {
    place.health()?.unhealthy_since
}

fn runs(place: &Place) -> bool {
    matches!(place.stage, Stage::Running(_))
}
