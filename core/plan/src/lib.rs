//! Plan: findings and intent in, one immutable plan with reasons out.
//!
//! [`plan`] looks at one service as it is (level-triggered) and says what shall be done now, what is not done, and why.
//! It changes nothing: a dry run, a simulation and the real thing are the same call.

mod account;
mod arbiter;
mod doubt;
mod draft;
mod fit;
mod foreseen;
mod heal;
pub mod hindsight;
mod imagined;
pub mod learned;
mod measured;
mod mode;
mod moment;
mod newsvendor;
mod prospect;
mod refit;
mod rest;
mod roster;
mod ruling;
pub mod scale;
mod scene;
mod shadow;
mod size;
mod slo;
pub mod suppose;
mod taken;
mod term;
mod trial;
pub mod vertical;
mod victims;

pub use moment::Moment;
pub use trial::Trial;

use knowledge::Exposure;
use model::chance::Stream;
use model::decision::Account;
use model::plan::{Allotment, Change, Plan, Writer};
use model::reason::Reason;

use crate::draft::Draft;

/// The plan for the service of `moment`.
///
/// `chance` is drawn from only by services that recover by chance.
pub fn plan(moment: Moment<'_>, chance: &mut Stream) -> Plan {
    let Moment { now, service, settings, .. } = moment;
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
        look_again: now.time,
    };
    if service.declared.is_some() {
        let size = size::size(moment);
        if let Some(step) = size.step {
            draft.steps.push(step);
        }
        (plan.decision, plan.scaling, plan.shadows) = (size.decision, size.scaling, size.shadows);
        let decision = plan.decision.as_deref().or(service.decision.as_deref());
        let unmet = decision.and_then(Account::unmet);
        plan.allotment = vertical::allotment(now.time, service, unmet);
        roster::roster(moment, size.desired, &mut draft);
        refit::refit(moment, unmet, &mut draft);
    } else {
        roster::clear(service, &mut draft);
    }
    heal::heal(moment, chance, &mut draft);
    expose(moment, &mut draft);
    plan.steps = arbiter::arbitrate(draft.steps);
    plan.waits = draft.waits;
    plan.look_again = draft.look_again.max(now.time + LOOK_AGAIN_MIN);
    plan
}

/// No two plans of a service by the clock alone within this time: whatever is waited for, the loop does not spin.
const LOOK_AGAIN_MIN: std::time::Duration = std::time::Duration::from_millis(10);

/// Keeps the listener as declared.
fn expose(moment: Moment<'_>, draft: &mut Draft) {
    let (now, service) = (moment.now.time, moment.service);
    let wanted = service.declared.as_ref().filter(|declared| declared.spec.expose.is_some());
    match (wanted, &service.exposure) {
        (Some(_), Exposure::None) => draft.step(Writer::Human, Change::Expose, Reason::Declared),
        (Some(declared), Exposure::Telling { revision, .. } | Exposure::Shown { revision, .. })
            if *revision < declared.revision =>
        {
            draft.step(Writer::Human, Change::Expose, Reason::Declared);
        }
        (Some(declared), Exposure::Failed { revision, message, retry, .. }) => {
            if now >= *retry || *revision < declared.revision {
                draft.step(Writer::Human, Change::Expose, Reason::Declared);
            } else {
                draft.again_at(*retry);
                draft.wait(None, Reason::ActionFailed(message.clone()));
            }
        }
        // It is being told to stop listening, and will be told to listen once it has.
        (Some(_), Exposure::Telling { .. } | Exposure::Shown { .. } | Exposure::Concealing { .. })
        | (None, Exposure::None | Exposure::Concealing { .. }) => {}
        (None, Exposure::Telling { .. } | Exposure::Shown { .. } | Exposure::Failed { .. }) => {
            draft.step(Writer::Human, Change::Conceal, Reason::Withdrawn);
        }
    }
}

#[cfg(test)]
mod tests;
