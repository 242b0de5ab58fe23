//! Conflicts between the writers of a plan: where two would change the same place, the more important one does; the other waits for the
//! next plan.

use std::collections::BTreeSet;

use model::identity::Ordinal;
use model::plan::{Change, Step};

/// Keeps for each place only the steps of its most important writer, in the order in which they are to be carried out.
///
/// A step that concerns two places (a promotion, a stand-in) needs both.
pub(crate) fn arbitrate(mut steps: Vec<Step>) -> Vec<Step> {
    if steps.len() < 2 {
        return steps;
    }
    // A stable sort: the steps of one writer keep their order.
    steps.sort_by_key(|step| step.initiator);
    let mut claimed = BTreeSet::new();
    steps.retain(|step| {
        let places = [step.change.ordinal(), other_place(&step.change)];
        // The same plan opens a place and starts a replica in it.
        let is_first = matches!(step.change, Change::Start { .. })
            || places.iter().flatten().all(|ordinal| !claimed.contains(ordinal));
        if is_first {
            claimed.extend(places.into_iter().flatten());
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
