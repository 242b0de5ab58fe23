//! An empty selector selects nothing: a change to one service touches no other.

use model::action::{Action, ActionKind, Admission};
use model::input::Input;
use model::reason::Reason;

use super::{Checker, Look};

/// Only withdrawn services are taken away as withdrawn, and an intent disturbs no service but its own and those that depend on it.
#[derive(Debug)]
pub(crate) struct Withdrawal;

impl Checker for Withdrawal {
    fn name(&self) -> &'static str {
        "withdrawal"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        for action in look.actions() {
            let service = action.kind.service();
            let known = look.sim.control().and_then(|control| control.knowledge().service(service));
            let declared = known.and_then(|service| service.declared.as_ref());
            if action.reason == Reason::Withdrawn && takes_away(action) && declared.is_some() {
                return Err(format!("{service} is declared, and loses a replica as if it were not"));
            }
            let Some(Input::Intent(intent)) = look.input() else { continue };
            let meant = intent.service();
            let needs_it = declared
                .is_some_and(|declared| declared.spec.depends_on.iter().any(|needs| needs.service == *meant));
            let is_due = matches!(action.reason, Reason::Declared | Reason::Withdrawn | Reason::Held { .. });
            if service != meant && !needs_it && is_due && takes_away(action) {
                return Err(format!("an intent for {meant} takes a replica of {service} away"));
            }
        }
        Ok(())
    }
}

fn takes_away(action: &Action) -> bool {
    match &action.kind {
        ActionKind::Stop { .. } => true,
        ActionKind::Admit { admission, .. } => *admission == Admission::Draining,
        ActionKind::Start { .. }
        | ActionKind::Allot { .. }
        | ActionKind::Expose(_)
        | ActionKind::Conceal(_)
        | ActionKind::Remember(_) => false,
    }
}
