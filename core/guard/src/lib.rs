//! Guard: a second pair of eyes on a plan, which can only refuse.
//!
//! It judges each step by the picture and its own limits alone. It shares no code with the planner and never changes a step: it
//! lets it pass, or refuses it with a reason. Steps are judged in order, each as if those before it had been done, so that a
//! replica that is about to be taken away counts as missing.

mod budget;
mod tally;

use knowledge::Knowledge;
use model::plan::{Change, Plan, Step};
use model::reason::Reason;
use model::settings::GuardSettings;

use crate::tally::Tally;

/// What the guard says to one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be done.
    Pass,
    /// It may not, for this reason; the other steps of the plan may go on.
    Refuse(Reason),
}

/// Judges each step of `plan`, in order.
pub fn judge(knowledge: &Knowledge, settings: &GuardSettings, plan: &Plan) -> Vec<Verdict> {
    // Most plans change nothing.
    if plan.steps.is_empty() {
        return Vec::new();
    }
    // Steps for a service of which nothing is known have no effect.
    let Some(service) = knowledge.service(&plan.service) else {
        return plan.steps.iter().map(|_| Verdict::Pass).collect();
    };
    let mut tally = Tally::of(knowledge, service, settings, plan.at);
    plan.steps.iter().map(|step| judge_step(&mut tally, step)).collect()
}

fn judge_step(tally: &mut Tally<'_>, step: &Step) -> Verdict {
    let refusal = match step.change {
        Change::Resize { to, .. } => budget::bounds(tally, to),
        Change::Open { role, .. } => budget::room(tally, role, step.writer),
        Change::Start { ordinal } => budget::storm(tally, ordinal),
        Change::Drain { ordinal, .. } | Change::Stop { ordinal, .. } => {
            budget::protection(tally, step, ordinal).or_else(|| budget::disruption(tally, step, ordinal))
        }
        Change::Allot { ordinal, resources } => budget::squeeze(tally, ordinal, resources),
        // These take nothing away and fill no machine.
        Change::Promote { .. }
        | Change::StandIn { .. }
        | Change::StandDown { .. }
        | Change::Welcome { .. }
        | Change::Close { .. }
        | Change::Expose
        | Change::Conceal
        | Change::SuspendHealing
        | Change::ResumeHealing => None,
    };
    match refusal {
        Some(reason) => Verdict::Refuse(reason),
        None => {
            tally.count(&step.change);
            Verdict::Pass
        }
    }
}

#[cfg(test)]
mod tests;
