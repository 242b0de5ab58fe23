//! Where everything is as it is wanted, nothing is done.

use model::action::ActionKind;

use super::convergence::REST;
use super::{Checker, Look};

/// A world at rest, under a constant load, is left alone.
#[derive(Debug)]
pub(crate) struct Quiet;

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
        match look.actions().iter().find(|action| disturbs(&action.kind)) {
            None => Ok(()),
            Some(action) => Err(format!(
                "after {} calm minutes the loop does something: {}",
                REST.as_secs() / 60,
                crate::story::action_line(action)
            )),
        }
    }
}
