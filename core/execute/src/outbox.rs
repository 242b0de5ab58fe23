//! The output of one step of the loop.

use std::hash::{Hash, Hasher};

use model::action::{Action, ActionKind};
use model::decision::DecisionEntry;
use model::event::{Event, EventKind};
use model::identity::{Incarnation, Ordinal};
use model::name::ServiceName;
use model::reason::Reason;
use model::time::Now;

/// Actions, events and decisions, each in the order of their creation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// To be journaled, then executed.
    pub actions: Vec<Action>,
    /// To be published.
    pub events: Vec<Event>,
    /// To be kept for later explanations: every decision on a size, including those that changed nothing. Not part of the digest, which
    /// covers only effects.
    pub decisions: Vec<DecisionEntry>,
}

impl Outbox {
    /// Empties it, and keeps its capacity.
    pub fn clear(&mut self) {
        self.actions.clear();
        self.events.clear();
        self.decisions.clear();
    }

    /// Whether it has no effect.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.events.is_empty()
    }

    /// Adds an event of a service or of one of its replicas.
    pub fn record_event(
        &mut self,
        at: Now,
        service: &ServiceName,
        replica: Option<(Ordinal, Incarnation)>,
        kind: EventKind,
        reason: Reason,
    ) {
        self.events.push(Event { at, service: service.clone(), replica, kind, reason });
    }

    /// A digest of the contents; two different outboxes have the same digest with a probability of 2⁻⁶⁴.
    ///
    /// XXH3 over ids, verbs, targets and reasons; a declaration counts by its name and revision. The journal keeps it: a different digest
    /// at a replay means that a decision depends on something that is not in the journal.
    pub fn digest(&self) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        for action in &self.actions {
            (action.id, action.kind.verb(), &action.reason).hash(&mut hasher);
            hash_target(&action.kind, &mut hasher);
        }
        for event in &self.events {
            event.hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn hash_target(kind: &ActionKind, hasher: &mut impl Hasher) {
    match kind {
        ActionKind::Start { replica, incarnation, declared, admission } => {
            (replica, incarnation, &declared.name, declared.revision, admission).hash(hasher);
        }
        ActionKind::Stop { replica, incarnation, grace } => (replica, incarnation, grace).hash(hasher),
        ActionKind::Admit { replica, incarnation, declared, admission } => {
            (replica, incarnation, declared.revision, admission).hash(hasher);
        }
        ActionKind::Allot { replica, incarnation, resources } => {
            (replica, incarnation, resources).hash(hasher);
        }
        ActionKind::Expose(declared) => (&declared.name, declared.revision).hash(hasher),
        ActionKind::Conceal(service) => service.hash(hasher),
        ActionKind::Remember(memory) => memory.hash(hasher),
    }
}
