//! Guard: an independent check of a plan, which can only refuse steps.
//!
//! It judges each step by the state and its own limits alone. It shares no code with the planner and never changes a step: it lets it
//! pass, or refuses it with a reason. Steps are judged in order, each as if those before it were applied, so that a replica that is
//! about to be removed counts as missing.

mod budget;
mod projection;

use knowledge::Knowledge;
use model::plan::{Change, Plan, Step};
use model::reason::Reason;
use model::settings::GuardSettings;

use crate::projection::Projection;

/// The verdict of the guard on one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be applied.
    Pass,
    /// It may not be applied, for this reason; the other steps of the plan may.
    Refuse(Reason),
}

/// Judges each step of `plan`, in order.
pub fn judge(knowledge: &Knowledge, settings: &GuardSettings, plan: &Plan) -> Vec<Verdict> {
    // Most plans change nothing.
    if plan.steps.is_empty() {
        return Vec::new();
    }
    // Steps for an unknown service have no effect.
    let Some(service) = knowledge.service(&plan.service) else {
        return plan.steps.iter().map(|_| Verdict::Pass).collect();
    };
    let mut projection = Projection::of(knowledge, service, settings, plan.at);
    plan.steps.iter().map(|step| judge_step(&mut projection, step)).collect()
}

fn judge_step(projection: &mut Projection<'_>, step: &Step) -> Verdict {
    let refusal = match step.change {
        Change::Resize { to, .. } => budget::bounds(projection, to),
        Change::Open { role, .. } => budget::places(projection, role, step.initiator),
        Change::Start { ordinal, generation } => budget::restarts(projection, (ordinal, generation)),
        Change::Drain { ordinal, .. } | Change::Stop { ordinal, .. } => {
            budget::protection(projection, step, ordinal)
                .or_else(|| budget::disruption(projection, step, ordinal))
        }
        Change::Allot { ordinal, resources } => budget::memory(projection, ordinal, resources),
        // These remove nothing and use no resources.
        Change::Promote { .. }
        | Change::StandIn { .. }
        | Change::StandDown { .. }
        | Change::Readmit { .. }
        | Change::Close { .. }
        | Change::Expose
        | Change::Conceal
        | Change::SuspendHealing
        | Change::ResumeHealing => None,
    };
    match refusal {
        Some(reason) => Verdict::Refuse(reason),
        None => {
            projection.apply(&step.change);
            Verdict::Pass
        }
    }
}

#[cfg(test)]
mod tests;
