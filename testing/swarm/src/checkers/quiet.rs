//! When everything is as desired, the loop does nothing.

use std::collections::BTreeMap;

use knowledge::ServiceState;
use model::action::ActionKind;
use model::memory::ScaleDirection;
use model::name::ServiceName;

use super::convergence::CONVERGENCE_MAX;
use super::{Checker, View};

/// In a converged world under a constant load the loop changes nothing.
///
/// The capacity of a replica keeps being learned: a service that is sized by it may still change by a few replicas in one direction, and back once from a
/// size that was tried and did not suffice, but does not oscillate.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// The changes, since convergence, of services that are sized by the capacity of a replica.
    size_changes: BTreeMap<ServiceName, SizeChanges>,
}

/// How the size of a service has changed.
#[derive(Debug)]
struct SizeChanges {
    replicas: u32,
    direction: Option<ScaleDirection>,
    turns: u32,
    changes: u32,
}

/// Changes of size that learning may cause in a quarter of an hour.
const CHANGES_MAX: u32 = 3;

/// Changes of direction: the capacity of a replica is extrapolated by a bounded factor; once that was tried, it is known.
const TURNS_MAX: u32 = 1;

impl SizeChanges {
    /// Records the present number of replicas; fails if it has changed too often.
    fn record(&mut self, replicas: u32) -> Result<(), String> {
        let direction = match replicas.cmp(&self.replicas) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Less => ScaleDirection::In,
            std::cmp::Ordering::Greater => ScaleDirection::Out,
        };
        let from = std::mem::replace(&mut self.replicas, replicas);
        self.changes += 1;
        self.turns += u32::from(self.direction.replace(direction).is_some_and(|before| before != direction));
        if self.turns > TURNS_MAX {
            return Err(format!("goes from {from} to {replicas}, and oscillates"));
        }
        if self.changes > CHANGES_MAX {
            return Err(format!("goes from {from} to {replicas}, its change number {}", self.changes));
        }
        Ok(())
    }
}

/// Whether a service is sized by the capacity of its replicas.
fn is_learning(service: &ServiceState) -> bool {
    let acting = service.declared.as_ref().and_then(|declared| declared.autoscaler.as_ref());
    acting.is_some_and(|acting| acting.policy.slo().is_some())
}

impl Quiet {
    fn check_size_changes(&mut self, view: &View<'_>) -> Result<(), String> {
        let services = view.control().into_iter().flat_map(|control| control.knowledge().services());
        for service in services.filter(|service| is_learning(service)) {
            let Some(replicas) = service.desired else { continue };
            let begun = || SizeChanges { replicas, direction: None, turns: 0, changes: 0 };
            let changes = self.size_changes.entry(service.name.clone()).or_insert_with(begun);
            changes.record(replicas).map_err(|problem| format!("{} {problem}", service.name))?;
        }
        Ok(())
    }

    /// Whether learning has changed the size of a service.
    fn is_resized(&self, service: &ServiceName) -> bool {
        self.size_changes.get(service).is_some_and(|changes| changes.changes > 0)
    }
}

impl Checker for Quiet {
    fn name(&self) -> &'static str {
        "quiet"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        if view.calm_for().is_none_or(|calm| calm < CONVERGENCE_MAX) {
            self.size_changes.clear();
            return Ok(());
        }
        let minutes = CONVERGENCE_MAX.as_secs() / 60;
        self.check_size_changes(view)
            .map_err(|problem| format!("after {minutes} minutes without faults {problem}"))?;
        let disturbs = |kind: &ActionKind| match kind {
            ActionKind::Start { .. }
            | ActionKind::Stop { .. }
            | ActionKind::Admit { .. }
            | ActionKind::Expose(_)
            | ActionKind::Conceal(_) => true,
            // The sizes of replicas keep being learned, and resizing one in place is not a disruption.
            ActionKind::Allot { .. } | ActionKind::Remember(_) => false,
        };
        let mut found = view.actions().iter().filter(|action| disturbs(&action.kind));
        match found.find(|action| !self.is_resized(action.kind.service())) {
            None => Ok(()),
            Some(action) => Err(format!(
                "after {minutes} minutes without faults the loop still acts: {}",
                crate::story::action_line(view.sim.now(), action)
            )),
        }
    }
}
