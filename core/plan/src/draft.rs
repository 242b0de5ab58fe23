//! A plan under construction.

use knowledge::ServiceState;
use model::identity::Ordinal;
use model::plan::{Change, Initiator, Step, Wait};
use model::reason::Reason;
use model::time::Time;

/// Steps and waits so far, and when the next plan is due.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) steps: Vec<Step>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) next_check: Time,
}

impl Draft {
    /// An empty draft; `next_check` is when the next plan is due in any case.
    pub(crate) fn new(next_check: Time) -> Self {
        Self { steps: Vec::new(), waits: Vec::new(), next_check }
    }

    /// Adds a step.
    pub(crate) fn step(&mut self, initiator: Initiator, change: Change, reason: Reason) {
        self.steps.push(Step { change, reason, initiator });
    }

    /// Starts a replica of the declared version in a place.
    pub(crate) fn start(
        &mut self,
        service: &ServiceState,
        ordinal: Ordinal,
        initiator: Initiator,
        reason: Reason,
    ) {
        if let Some(declared) = &service.declared {
            self.step(initiator, Change::Start { ordinal, generation: declared.generation }, reason);
        }
    }

    /// Notes that something is not done, and why.
    pub(crate) fn wait(&mut self, ordinal: Option<Ordinal>, reason: Reason) {
        self.waits.push(Wait { ordinal, reason });
    }

    /// Asks for a new plan at `at`, if none comes before.
    pub(crate) fn again_at(&mut self, at: Time) {
        self.next_check = self.next_check.min(at);
    }

    /// Whether a step drains, stops or closes this place.
    pub(crate) fn removes(&self, ordinal: Ordinal) -> bool {
        self.steps.iter().any(|step| {
            step.change.ordinal() == Some(ordinal)
                && (step.change.is_disruptive() || matches!(step.change, Change::Close { .. }))
        })
    }
}
