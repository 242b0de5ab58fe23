//! No action of an older epoch has an effect.

use std::collections::BTreeMap;

use model::action::{Action, Outcome, Refusal};
use model::identity::{ActionId, Epoch};
use model::input::Input;
use sim::{Effect, Turn};

use super::{Checker, View};

/// The number of actions that are kept to be compared with a repetition, which comes within minutes.
const IDS_MAX: usize = 4096;

/// An action has the epoch of its run; an action of an older epoch has no effect; a loop whose action was refused for its epoch sends nothing more.
#[derive(Debug, Default)]
pub(crate) struct Fencing {
    fence: Epoch,
    run: Epoch,
    sent: BTreeMap<ActionId, Action>,
    latest: ActionId,
    /// The epoch of a run that was refused as stale.
    refused: Option<Epoch>,
}

impl Checker for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for action in view.actions() {
            self.check_id(action)?;
        }
        for effect in view.sim.effects() {
            match effect {
                Effect::Fenced { epoch } => self.fence = *epoch,
                Effect::OrchestratorBegan { epoch } => self.run = *epoch,
                Effect::Began { by, .. } | Effect::Signalled { by, .. } | Effect::Admitted { by, .. }
                    if by.epoch < self.fence =>
                {
                    return Err(format!("action {by} had an effect after epoch {} had begun", self.fence));
                }
                // tidy: open match: each checker looks at the effects that concern it.
                _ => {}
            }
        }
        let is_fenced =
            matches!(view.sim.input(), Input::Ended { outcome: Outcome::Refused(Refusal::StaleEpoch), .. });
        let Turn::Zombie { epoch } = view.turn else { return Ok(()) };
        if is_fenced {
            self.refused = Some(epoch);
        }
        if self.refused == Some(epoch)
            && let Some(action) = view.sim.out().actions.first()
        {
            return Err(format!("the loop of epoch {epoch} sent action {} after it was refused", action.id));
        }
        Ok(())
    }
}

impl Fencing {
    fn check_id(&mut self, action: &Action) -> Result<(), String> {
        if action.id.epoch != self.run {
            return Err(format!("action {} was sent in epoch {}", action.id, self.run));
        }
        if action.id > self.latest {
            self.latest = action.id;
            if self.sent.len() == IDS_MAX {
                self.sent.pop_first();
            }
            self.sent.insert(action.id, action.clone());
            return Ok(());
        }
        match self.sent.get(&action.id) {
            Some(first) if first == action => Ok(()),
            Some(first) => {
                Err(format!("action {} was {:?} first and is {:?} now", action.id, first.kind, action.kind))
            }
            None => Err(format!("action {} was sent for the first time after {}", action.id, self.latest)),
        }
    }
}
