//! A plan under construction.

use model::identity::Ordinal;
use model::plan::{Change, Step, Wait, Writer};
use model::reason::Reason;
use model::time::Time;

/// Steps and waits so far, and when the next plan is due.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) steps: Vec<Step>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) look_again: Time,
}

impl Draft {
    /// An empty draft; `look_again` is when the next plan is due in any case.
    pub(crate) fn new(look_again: Time) -> Self {
        Self { steps: Vec::new(), waits: Vec::new(), look_again }
    }

    /// Adds a step.
    pub(crate) fn step(&mut self, writer: Writer, change: Change, reason: Reason) {
        self.steps.push(Step { change, reason, writer });
    }

    /// Notes that something is not done, and why.
    pub(crate) fn wait(&mut self, ordinal: Option<Ordinal>, reason: Reason) {
        self.waits.push(Wait { ordinal, reason });
    }

    /// Asks for a new plan at `at`, if none comes before.
    pub(crate) fn again_at(&mut self, at: Time) {
        self.look_again = self.look_again.min(at);
    }

    /// Whether a step drains, stops or closes this place.
    pub(crate) fn removes(&self, ordinal: Ordinal) -> bool {
        self.steps.iter().any(|step| {
            step.change.ordinal() == Some(ordinal)
                && (step.change.is_disruptive() || matches!(step.change, Change::Close { .. }))
        })
    }
}
