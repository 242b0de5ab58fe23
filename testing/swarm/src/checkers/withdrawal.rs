//! A change to one service removes no replica of another.

use model::action::{Action, ActionKind, Admission};
use model::input::Input;
use model::reason::Reason;

use super::{Checker, View};

/// Only withdrawn services lose replicas as withdrawn, and an intent removes replicas only of its own service and of those that depend on it.
#[derive(Debug)]
pub(crate) struct Withdrawal;

impl Checker for Withdrawal {
    fn name(&self) -> &'static str {
        "withdrawal"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for action in view.actions() {
            let service = action.kind.service();
            let known = view.sim.control().and_then(|control| control.knowledge().service(service));
            let declared = known.and_then(|service| service.declared.as_ref());
            if action.reason == Reason::Withdrawn && is_removal(action) && declared.is_some() {
                return Err(format!("{service} is declared, and loses a replica as withdrawn"));
            }
            let Some(Input::Intent(intent)) = view.input() else { continue };
            let target = intent.service();
            let needs_it = declared.is_some_and(|declared| {
                declared.spec.depends_on.iter().any(|needs| needs.service == *target)
            });
            let is_due = matches!(action.reason, Reason::Declared | Reason::Withdrawn | Reason::Held { .. });
            if service != target && !needs_it && is_due && is_removal(action) {
                return Err(format!("an intent for {target} removes a replica of {service}"));
            }
        }
        Ok(())
    }
}

fn is_removal(action: &Action) -> bool {
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
