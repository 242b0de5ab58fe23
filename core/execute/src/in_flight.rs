//! Actions in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::action::{Action, ActionKind};
use model::identity::{ActionId, Epoch};
use model::reason::Reason;
use model::time::Time;

use crate::outbox::Outbox;

/// The sent actions whose end is not known yet.
///
/// At most one for each replica and two for each service (its listener, its memory), so their number is bounded by the bounds of the plan.
#[derive(Clone, Debug, Default)]
pub struct InFlight {
    epoch: Epoch,
    sent: u64,
    pending: BTreeMap<ActionId, PendingAction>,
    due: BTreeSet<(Time, ActionId)>,
    /// Set once a later epoch is known: nothing is sent afterwards.
    is_fenced: bool,
}

#[derive(Clone, Debug)]
struct PendingAction {
    action: Action,
    due: Time,
}

impl InFlight {
    /// Without actions, in `epoch`.
    pub fn of_epoch(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Sends a new action, and tracks it until it ends; if its end is not known after `timeout`, it is sent again.
    pub fn send(
        &mut self,
        now: Time,
        timeout: Duration,
        kind: ActionKind,
        reason: Reason,
        out: &mut Outbox,
    ) -> ActionId {
        self.sent += 1;
        let id = ActionId { epoch: self.epoch, sequence: self.sent };
        let action = Action { id, kind, reason };
        if !self.is_fenced {
            out.actions.push(action.clone());
        }
        self.track(action, now + timeout);
        id
    }

    /// Stops tracking an action, and returns it; `None` when it has ended before or belongs to an earlier run.
    pub fn finish(&mut self, id: ActionId) -> Option<Action> {
        let pending = self.pending.remove(&id)?;
        self.due.remove(&(pending.due, id));
        Some(pending.action)
    }

    /// Tracks an action again that has ended: it is sent again at `at`, with the same id.
    pub fn resend_at(&mut self, action: Action, at: Time) {
        self.track(action, at);
    }

    /// Sends overdue actions again.
    pub fn repeat_overdue(&mut self, now: Time, timeout: Duration, out: &mut Outbox) {
        while let Some((due, id)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            let Some(pending) = self.pending.get_mut(&id) else { continue };
            pending.due = now + timeout;
            self.due.insert((pending.due, id));
            if !self.is_fenced {
                out.actions.push(pending.action.clone());
            }
        }
    }

    /// When the next action is overdue.
    pub fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The number of actions in flight.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether no action is in flight.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Notes that there is a later epoch: this loop sends nothing afterwards.
    pub fn fence(&mut self) {
        self.is_fenced = true;
    }

    /// Whether a later epoch is known.
    pub fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    fn track(&mut self, action: Action, due: Time) {
        self.due.insert((due, action.id));
        self.pending.insert(action.id, PendingAction { action, due });
    }
}
