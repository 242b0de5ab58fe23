//! A voluntary disruption leaves enough serving replicas.

use std::collections::{BTreeMap, BTreeSet};

use model::action::{Action, ActionKind, Admission};
use model::identity::{ActionId, Ordinal, ReplicaId};
use model::input::{Input, ReplicaState, Report};
use model::name::ServiceName;
use model::reason::Reason;

use super::{Checker, View};

/// A serving replica is removed for scaling, a rollout or resizing only if as many as desired go on serving without it.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    serving: BTreeMap<ServiceName, BTreeSet<Ordinal>>,
    /// The latest action seen. An earlier one that is sent again has been checked before.
    latest: ActionId,
}

impl Checker for Budgets {
    fn name(&self) -> &'static str {
        "budgets"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        let Some(control) = view.control() else {
            self.serving.clear();
            return Ok(());
        };
        let latest = self.latest;
        self.latest = view.actions().iter().map(|action| action.id).fold(latest, ActionId::max);
        let new = view.actions().iter().filter(|action| action.id > latest);
        for replica in new.filter_map(voluntarily_removed) {
            let Some(service) = control.knowledge().service(&replica.service) else { continue };
            let before = self.serving.get(&replica.service);
            let has_served = before.is_some_and(|serving| serving.contains(&replica.ordinal));
            // A replica that is reported as failing in this very step did not serve any more.
            if !has_served || view.input().is_some_and(|input| is_failing(input, replica)) {
                continue;
            }
            let (left, wanted) = (service.serving(), service.desired.unwrap_or(0));
            if left < wanted {
                return Err(format!("{replica} was removed though only {left} of {wanted} serve without it"));
            }
        }
        for service in control.knowledge().services() {
            let serving =
                service.places.iter().filter(|(_, place)| place.is_serving()).map(|(ordinal, _)| *ordinal);
            let known = self.serving.entry(service.name.clone()).or_default();
            known.clear();
            known.extend(serving);
        }
        Ok(())
    }
}

/// Whether an input reports that a replica does not serve.
fn is_failing(input: &Input, replica: &ReplicaId) -> bool {
    let Input::Report(report) = input else { return false };
    let seen = match report {
        Report::Replica(seen) => std::slice::from_ref(seen),
        Report::Inventory { replicas, .. } => replicas,
        Report::Usage(_)
        | Report::Traffic(_)
        | Report::Latencies(_)
        | Report::Demand(_)
        | Report::Measured(_)
        | Report::Allotted(_)
        | Report::Ejected(_) => return false,
    };
    let serves = |state: ReplicaState| matches!(state, ReplicaState::Running { ready: true, live: true });
    seen.iter().any(|seen| seen.replica == *replica && !serves(seen.state))
}

/// The replica that an action removes for scaling, a rollout or resizing.
fn voluntarily_removed(action: &Action) -> Option<&ReplicaId> {
    let replica = match &action.kind {
        ActionKind::Stop { replica, .. }
        | ActionKind::Admit { replica, admission: Admission::Draining, .. } => replica,
        ActionKind::Start { .. }
        | ActionKind::Admit { .. }
        | ActionKind::Allot { .. }
        | ActionKind::Expose(_)
        | ActionKind::Conceal(_)
        | ActionKind::Remember(_) => return None,
    };
    let is_voluntary = matches!(
        action.reason,
        Reason::AboveDesired { .. } | Reason::Outdated { .. } | Reason::VerticallyScaled { .. }
    );
    is_voluntary.then_some(replica)
}
