//! One plan for one service: size, places, sizes of replicas, repair and listener, in this order.

use std::time::Duration;

use model::chance::Stream;
use model::decision::Explanation;
use model::plan::{Allotment, Plan};

use crate::context::PlanContext;
use crate::draft::Draft;
use crate::{arbiter, exposure, heal, places, resize, size, unready, versions, vertical};

/// The least time until the next plan that only time causes, so that the loop never spins.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(10);

/// The plan for the service of `context`.
///
/// Draws from `chance` only for services whose strategy is a random survivor.
pub fn plan(context: PlanContext<'_>, chance: &mut Stream) -> Plan {
    let PlanContext { now, service, settings, .. } = context;
    let mut draft = Draft::new(service.next_sync.max(now.time + settings.period));
    let mut plan = Plan {
        service: service.name.clone(),
        at: now,
        steps: Vec::new(),
        decision: None,
        scaling: None,
        shadows: None,
        allotment: Allotment::default(),
        waits: Vec::new(),
        next_check: now.time,
    };
    let mut desired = 0;
    if service.declared.is_some() {
        let size = size::size(context);
        desired = size.desired;
        if let Some(step) = size.step {
            draft.steps.push(step);
        }
        (plan.decision, plan.scaling, plan.shadows) = (size.decision, size.scaling, size.shadows);
        let decision = plan.decision.as_deref().or(service.decision.as_deref());
        let unmet = decision.and_then(Explanation::unmet);
        plan.allotment = vertical::allotment(now.time, service, unmet);
        places::adjust_places(context, desired, &mut draft);
        resize::resize(context, unmet, &mut draft);
    } else {
        places::clear(service, &mut draft);
    }
    heal::heal(context, chance, &mut draft);
    versions::start_proven(service, desired, &mut draft);
    unready::note_unready(context, &mut draft);
    exposure::expose(context, &mut draft);
    plan.steps = arbiter::arbitrate(draft.steps);
    plan.waits = draft.waits;
    plan.next_check = draft.next_check.max(now.time + LOOK_AGAIN_MIN);
    plan
}
