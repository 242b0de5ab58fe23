//! Each place runs one life at a time, and each action has its effect once.

use std::collections::{BTreeMap, BTreeSet};

use model::action::ActionKind;
use model::identity::{ActionId, Incarnation, ReplicaId};
use sim::Effect;

use super::{Checker, Look};

/// Ids and lives that are kept to be compared with later ones.
const KEPT_MAX: usize = 4096;

/// No place is asked to run two lives at once, or the same life twice; no action has its effect twice, or under two ids.
#[derive(Debug, Default)]
pub(crate) struct Once {
    begun: BTreeSet<ActionId>,
    signalled: BTreeSet<ActionId>,
    names: BTreeMap<(&'static str, ReplicaId, Incarnation), ActionId>,
}

impl Checker for Once {
    fn name(&self) -> &'static str {
        "once"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        for effect in look.sim.effects() {
            match effect {
                Effect::SecondLife { by, replica, running, asked } => {
                    return Err(format!(
                        "action {by} asks for life {asked} of {replica} while life {running} runs"
                    ));
                }
                Effect::UsedLife { by, replica, asked, latest } => {
                    return Err(format!(
                        "action {by} asks for life {asked} of {replica} after life {latest}"
                    ));
                }
                Effect::Began { by, replica, .. } => first(&mut self.begun, *by, replica)?,
                Effect::Signalled { by, replica, .. } => first(&mut self.signalled, *by, replica)?,
                Effect::OrchestratorBegan { .. } => self.names.clear(),
                // tidy: open match: each checker looks at the effects that concern it.
                _ => {}
            }
        }
        for action in look.actions() {
            let (verb, replica, incarnation) = match &action.kind {
                ActionKind::Start { replica, incarnation, .. } => ("start", replica, incarnation),
                ActionKind::Stop { replica, incarnation, .. } => ("stop", replica, incarnation),
                ActionKind::Admit { .. }
                | ActionKind::Allot { .. }
                | ActionKind::Expose(_)
                | ActionKind::Conceal(_)
                | ActionKind::Remember(_) => continue,
            };
            if self.names.len() == KEPT_MAX {
                self.names.clear();
            }
            let name = self.names.entry((verb, replica.clone(), *incarnation)).or_insert(action.id);
            if *name != action.id {
                return Err(format!(
                    "action {} is to {verb} life {incarnation} of {replica}, as action {name} was",
                    action.id
                ));
            }
        }
        Ok(())
    }
}

fn first(seen: &mut BTreeSet<ActionId>, by: ActionId, replica: &ReplicaId) -> Result<(), String> {
    if seen.len() == KEPT_MAX {
        seen.pop_first();
    }
    if seen.insert(by) { Ok(()) } else { Err(format!("action {by} had its effect on {replica} twice")) }
}
