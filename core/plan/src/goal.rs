//! Goals: outcomes other than the decided one, whose conditions are searched.

use model::decision::{AlternativeSize, Prospect};

/// Another outcome than the decided one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// The outcome that was asked for.
    pub(crate) asked: AlternativeSize,
    /// The number that was decided.
    decided: u32,
}

impl Goal {
    pub(crate) fn new(asked: AlternativeSize, decided: u32) -> Self {
        Self { asked, decided }
    }

    /// Whether more replicas than decided are looked for.
    pub(crate) fn is_out(self) -> bool {
        match self.asked {
            AlternativeSize::Larger => true,
            AlternativeSize::Smaller => false,
            AlternativeSize::Exactly(replicas) => replicas > self.decided,
        }
    }

    /// Whether `desired` replicas are the outcome, or one that goes further in its direction.
    pub(crate) fn is_met(self, desired: u32) -> bool {
        let nearest = self.nearest();
        if self.is_out() { desired >= nearest } else { desired <= nearest && desired < self.decided }
    }

    /// The number that is looked for, or the next one in its direction.
    pub(crate) fn nearest(self) -> u32 {
        match self.asked {
            AlternativeSize::Larger => self.decided.saturating_add(1),
            AlternativeSize::Smaller => self.decided.saturating_sub(1),
            AlternativeSize::Exactly(replicas) => replicas,
        }
    }

    /// The prospect, with a note when it leads beyond the number that is looked for.
    pub(crate) fn with_note(self, mut prospect: Prospect) -> Prospect {
        if let AlternativeSize::Exactly(wanted) = self.asked
            && wanted != prospect.desired
        {
            prospect.note = format!("{}; it never becomes {wanted}", prospect.note).into();
        }
        prospect
    }
}
