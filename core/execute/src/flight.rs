//! Actions on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::action::{Action, ActionKind};
use model::identity::{ActionId, Epoch};
use model::reason::Reason;
use model::time::Time;

use crate::outbox::Outbox;

/// Actions that were sent and whose end is not known yet.
///
/// At most one for each replica and two for each service (its listener, its memory), so the bounds of the plan bound their number.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    epoch: Epoch,
    told: u64,
    aloft: BTreeMap<ActionId, Aloft>,
    due: BTreeSet<(Time, ActionId)>,
    /// Set once a later epoch was heard of: from then on nothing is sent any more.
    deposed: bool,
}

#[derive(Clone, Debug)]
struct Aloft {
    action: Action,
    due: Time,
}

impl Flight {
    /// No action yet, in `epoch`.
    pub fn of_epoch(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Sends a new action, and follows it until it lands; if its end is not known after `timeout`, it is sent again.
    pub fn tell(
        &mut self,
        now: Time,
        timeout: Duration,
        kind: ActionKind,
        reason: Reason,
        out: &mut Outbox,
    ) -> ActionId {
        self.told += 1;
        let id = ActionId { epoch: self.epoch, sequence: self.told };
        let action = Action { id, kind, reason };
        if !self.deposed {
            out.actions.push(action.clone());
        }
        self.follow(action, now + timeout);
        id
    }

    /// Stops following an action, and returns it; `None` when it has landed before or belongs to an earlier run.
    pub fn land(&mut self, id: ActionId) -> Option<Action> {
        let aloft = self.aloft.remove(&id)?;
        self.due.remove(&(aloft.due, id));
        Some(aloft.action)
    }

    /// Follows an action again that has landed: it is sent again at `at`, with the same id.
    pub fn postpone(&mut self, action: Action, at: Time) {
        self.follow(action, at);
    }

    /// Sends overdue actions again.
    pub fn repeat_overdue(&mut self, now: Time, timeout: Duration, out: &mut Outbox) {
        while let Some((due, id)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            let Some(aloft) = self.aloft.get_mut(&id) else { continue };
            aloft.due = now + timeout;
            self.due.insert((aloft.due, id));
            if !self.deposed {
                out.actions.push(aloft.action.clone());
            }
        }
    }

    /// When the next action is overdue.
    pub fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    /// How many actions are on their way.
    pub fn len(&self) -> usize {
        self.aloft.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.aloft.is_empty()
    }

    /// Notes that there is a later epoch: this loop sends nothing any more (fencing).
    pub fn depose(&mut self) {
        self.deposed = true;
    }

    /// Whether a later epoch was heard of.
    pub fn is_deposed(&self) -> bool {
        self.deposed
    }

    fn follow(&mut self, action: Action, due: Time) {
        self.due.insert((due, action.id));
        self.aloft.insert(action.id, Aloft { action, due });
    }
}
