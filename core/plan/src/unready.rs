//! Replicas that do not become ready, so that a start or a rollout does not go on.

use knowledge::start_time;
use model::reason::Reason;

use crate::context::PlanContext;
use crate::draft::Draft;

/// Notes each replica of a version that is started now that has not been ready yet, once it has run for long: for the grace of a failing probe, and for
/// twice the time that starts of the service take.
pub(crate) fn note_unready(context: PlanContext<'_>, draft: &mut Draft) {
    let PlanContext { service, settings, .. } = context;
    let unready = service.places.iter().filter_map(|(ordinal, place)| {
        let is_awaited = place.was_never_ready() && service.is_awaited(place);
        // One whose liveness probe fails is restarted for that reason.
        let health = place.health().filter(|health| is_awaited && health.unhealthy_since.is_none())?;
        Some((*ordinal, health.since))
    });
    let since: Vec<_> = unready.collect();
    if since.is_empty() || service.declared.is_none() {
        return;
    }
    let usual = start_time(&service.starts).unwrap_or_default();
    let patience = settings.restart.liveness_grace.max(usual * 2);
    for (ordinal, since) in since {
        if context.now.time < since + patience {
            draft.again_at(since + patience);
        } else if !draft.removes(ordinal) {
            draft.wait(Some(ordinal), Reason::NotReady { since });
        }
    }
}
