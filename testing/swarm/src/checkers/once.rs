//! Each place runs one life at a time, and each action takes effect once.

use std::collections::{BTreeMap, BTreeSet};

use model::action::ActionKind;
use model::identity::{ActionId, Incarnation, ReplicaId};
use sim::Effect;

use super::{Checker, View};

/// The number of ids and lives that are kept to be compared with later ones.
const KEPT_MAX: usize = 4096;

/// No action requests a second life in a place, or a life that was used before; no action takes effect twice, or under two ids.
#[derive(Debug, Default)]
pub(crate) struct Once {
    begun: BTreeSet<ActionId>,
    signalled: BTreeSet<ActionId>,
    /// The id under which each life was first started or stopped.
    ids: BTreeMap<(&'static str, ReplicaId, Incarnation), ActionId>,
}

impl Checker for Once {
    fn name(&self) -> &'static str {
        "once"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for effect in view.sim.effects() {
            match effect {
                Effect::SecondLife { by, replica, running, requested } => {
                    return Err(format!(
                        "action {by} requests life {requested} of {replica} while life {running} runs"
                    ));
                }
                Effect::UsedLife { by, replica, requested, latest } => {
                    return Err(format!(
                        "action {by} requests life {requested} of {replica} after life {latest}"
                    ));
                }
                Effect::Began { by, replica, .. } => note_effect(&mut self.begun, *by, replica)?,
                Effect::Signalled { by, replica, .. } => note_effect(&mut self.signalled, *by, replica)?,
                Effect::OrchestratorBegan { .. } => self.ids.clear(),
                // tidy: open match: each checker looks at the effects that concern it.
                _ => {}
            }
        }
        for action in view.actions() {
            let (verb, replica, incarnation) = match &action.kind {
                ActionKind::Start { replica, incarnation, .. } => ("start", replica, incarnation),
                ActionKind::Stop { replica, incarnation, .. } => ("stop", replica, incarnation),
                ActionKind::Admit { .. }
                | ActionKind::Allot { .. }
                | ActionKind::Expose(_)
                | ActionKind::Conceal(_)
                | ActionKind::Remember(_) => continue,
            };
            if self.ids.len() == KEPT_MAX {
                self.ids.clear();
            }
            let first = self.ids.entry((verb, replica.clone(), *incarnation)).or_insert(action.id);
            if *first != action.id {
                return Err(format!(
                    "action {} is to {verb} life {incarnation} of {replica}, as action {first} was",
                    action.id
                ));
            }
        }
        Ok(())
    }
}

fn note_effect(seen: &mut BTreeSet<ActionId>, by: ActionId, replica: &ReplicaId) -> Result<(), String> {
    if seen.len() == KEPT_MAX {
        seen.pop_first();
    }
    if seen.insert(by) { Ok(()) } else { Err(format!("action {by} took effect on {replica} twice")) }
}
