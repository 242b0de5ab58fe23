//! When everything is as it is wanted, nothing is done.

use std::collections::BTreeMap;

use knowledge::ServiceState;
use model::action::ActionKind;
use model::memory::ScaleDirection;
use model::name::ServiceName;

use super::convergence::REST;
use super::{Checker, Look};

/// A world at rest, under a constant load, is left alone.
///
/// The capacity of a replica goes on being learned: a service that is sized by it may still move on by a few replicas in the direction that it goes, and back once from a
/// size that was tried and did not suffice, but does not go to and fro.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// The changes, since all is at rest, of services that are sized by the capacity of a replica.
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

/// Changes of direction: a replica is believed to carry more than was seen, by a bounded factor; once that was tried, it is known.
const TURNS_MAX: u32 = 1;

impl SizeChanges {
    /// Takes the present number of replicas; returns what is wrong with it.
    fn take(&mut self, replicas: u32) -> Result<(), String> {
        let direction = match replicas.cmp(&self.replicas) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Less => ScaleDirection::In,
            std::cmp::Ordering::Greater => ScaleDirection::Out,
        };
        let from = std::mem::replace(&mut self.replicas, replicas);
        self.changes += 1;
        self.turns += u32::from(self.direction.replace(direction).is_some_and(|before| before != direction));
        if self.turns > TURNS_MAX {
            return Err(format!("goes from {from} to {replicas}, to and fro"));
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
    fn follow(&mut self, look: &Look<'_>) -> Result<(), String> {
        let services = look.control().into_iter().flat_map(|control| control.knowledge().services());
        for service in services.filter(|service| is_learning(service)) {
            let Some(replicas) = service.desired else { continue };
            let begun = || SizeChanges { replicas, direction: None, turns: 0, changes: 0 };
            let changes = self.size_changes.entry(service.name.clone()).or_insert_with(begun);
            changes.take(replicas).map_err(|what| format!("{} {what}", service.name))?;
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

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        if look.calm_for().is_none_or(|calm| calm < REST) {
            self.size_changes.clear();
            return Ok(());
        }
        let minutes = REST.as_secs() / 60;
        self.follow(look).map_err(|what| format!("after {minutes} calm minutes {what}"))?;
        let disturbs = |kind: &ActionKind| match kind {
            ActionKind::Start { .. }
            | ActionKind::Stop { .. }
            | ActionKind::Admit { .. }
            | ActionKind::Expose(_)
            | ActionKind::Conceal(_) => true,
            // The usage of replicas goes on being learned, and resizing one as it runs disturbs nobody.
            ActionKind::Allot { .. } | ActionKind::Remember(_) => false,
        };
        let mut found = look.actions().iter().filter(|action| disturbs(&action.kind));
        match found.find(|action| !self.is_resized(action.kind.service())) {
            None => Ok(()),
            Some(action) => Err(format!(
                "after {minutes} calm minutes the loop does something: {}",
                crate::story::action_line(action)
            )),
        }
    }
}
