//! Where everything is as it is wanted, nothing is done.

use model::action::ActionKind;
use model::name::ServiceName;

use super::convergence::REST;
use super::{Checker, Look};

/// A world at rest, under a constant load, is left alone.
#[derive(Debug)]
pub(crate) struct Quiet;

/// Whether a service is sized by what one of its replicas carries, which goes on being learned in calm times.
fn is_resized(look: &Look<'_>, service: &ServiceName) -> bool {
    let brain = look.sim.brain();
    let declared = brain.and_then(|brain| brain.knowledge().service(service)?.declared.as_ref());
    declared
        .and_then(|declared| declared.autoscaler.as_ref())
        .is_some_and(|acting| acting.policy.slo().is_some())
}

impl Checker for Quiet {
    fn name(&self) -> &'static str {
        "quiet"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        if look.calm_for().is_none_or(|calm| calm < REST) {
            return Ok(());
        }
        let disturbs = |kind: &ActionKind| match kind {
            ActionKind::Start { .. }
            | ActionKind::Stop { .. }
            | ActionKind::Admit { .. }
            | ActionKind::Expose(_)
            | ActionKind::Conceal(_) => true,
            // What replicas use goes on being learned, and a change of what one may use disturbs nobody.
            ActionKind::Allot { .. } | ActionKind::Remember(_) => false,
        };
        let mut found = look.actions().iter().filter(|action| disturbs(&action.kind));
        match found.find(|action| !is_resized(look, action.kind.service())) {
            None => Ok(()),
            Some(action) => Err(format!(
                "after {} calm minutes the loop does something: {}",
                REST.as_secs() / 60,
                crate::story::action_line(action)
            )),
        }
    }
}
