//! Which initiator may change a replica when two want to: the more important one; the step of the other waits for the next plan.

use std::collections::BTreeSet;

use model::identity::Ordinal;
use model::plan::{Change, Step};

/// Leaves for each place only the steps of its most important initiator, in the order in which they are to be done.
///
/// A step that concerns two places (a promotion, a stand-in) needs both.
pub(crate) fn arbitrate(mut steps: Vec<Step>) -> Vec<Step> {
    if steps.len() < 2 {
        return steps;
    }
    // Stable: what one initiator wants keeps its order.
    steps.sort_by_key(|step| step.initiator);
    let mut claimed = BTreeSet::new();
    steps.retain(|step| {
        let wants = [step.change.ordinal(), other_place(&step.change)];
        // A place that is opened is started by the same plan: those two go together.
        let is_first = matches!(step.change, Change::Start { .. })
            || wants.iter().flatten().all(|ordinal| !claimed.contains(ordinal));
        if is_first {
            claimed.extend(wants.into_iter().flatten());
        }
        is_first
    });
    steps
}

/// The second place of a change that concerns two.
fn other_place(change: &Change) -> Option<Ordinal> {
    match change {
        Change::Promote { instead_of, .. } | Change::StandIn { instead_of, .. } => Some(*instead_of),
        Change::Resize { .. }
        | Change::Open { .. }
        | Change::Start { .. }
        | Change::StandDown { .. }
        | Change::Readmit { .. }
        | Change::Allot { .. }
        | Change::Drain { .. }
        | Change::Stop { .. }
        | Change::Close { .. }
        | Change::Expose
        | Change::Conceal
        | Change::SuspendHealing
        | Change::ResumeHealing => None,
    }
}
