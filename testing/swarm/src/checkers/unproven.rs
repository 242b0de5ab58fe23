//! A version that has never been ready costs no replica of the version that is known to work.

use std::collections::{BTreeMap, BTreeSet};

use knowledge::{ServiceState, Stage};
use model::action::ActionKind;
use model::identity::{Generation, Ordinal};
use model::input::{Input, Intent};
use model::name::ServiceName;
use sim::Effect;

use super::{Checker, View};

/// While no replica of the declared version has been ready and another version has, one replica at a time runs the declared one, and as many
/// places as are desired belong to others: whatever exits is started again as the version that works.
#[derive(Debug, Default)]
pub(crate) struct Unproven {
    /// The version of each service that was declared and ready last.
    known_to_work: BTreeMap<ServiceName, Generation>,
    /// The services of which no replica was desired before this turn.
    at_zero: BTreeSet<ServiceName>,
}

impl Checker for Unproven {
    fn name(&self) -> &'static str {
        "unproven"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for effect in view.sim.effects() {
            if let Effect::OrchestratorBegan { .. } = effect {
                self.recall(view);
            }
        }
        if let Some(Input::Intent(Intent::Withdraw(service))) = view.input() {
            self.known_to_work.remove(service);
        }
        let Some(control) = view.control() else { return Ok(()) };
        for service in control.knowledge().services() {
            self.note(service);
        }
        for action in view.actions() {
            let ActionKind::Start { replica, declared, .. } = &action.kind else { continue };
            let Some(service) = control.knowledge().service(&replica.service) else { continue };
            let begins =
                |stage: &Stage| matches!(stage, Stage::Starting { since, .. } if *since == view.sim.now());
            let is_new = service.places.get(&replica.ordinal).is_some_and(|place| begins(&place.stage));
            if is_new && self.is_on_trial(service, declared.generation) {
                check_trial(service, replica.ordinal).map_err(|broken| format!("{replica} {broken}"))?;
            }
        }
        Ok(())
    }
}

impl Unproven {
    /// A new run knows what was stored: the last write may have been lost.
    fn recall(&mut self, view: &View<'_>) {
        let stored = view
            .sim
            .disk()
            .memories
            .values()
            .filter_map(|memory| Some((memory.service.clone(), memory.proven.as_ref()?.generation)));
        self.known_to_work = stored.collect();
    }

    fn note(&mut self, service: &ServiceState) {
        let declared = service.declared.as_ref().map(|declared| declared.generation);
        let is_ready = |generation| {
            service.places.values().any(|place| place.generation == generation && place.is_ready())
        };
        match declared.filter(|generation| is_ready(*generation)) {
            Some(ready) => {
                self.known_to_work.insert(service.name.clone(), ready);
            }
            // Nothing is lost with any version.
            None if declared.is_none() || self.at_zero.contains(&service.name) => {
                self.known_to_work.remove(&service.name);
            }
            None => {}
        }
        if service.desired == Some(0) {
            self.at_zero.insert(service.name.clone());
        } else {
            self.at_zero.remove(&service.name);
        }
    }

    fn is_on_trial(&self, service: &ServiceState, started: Generation) -> bool {
        let declared = service.declared.as_ref().map(|declared| declared.generation);
        let works = self.known_to_work.get(&service.name);
        declared == Some(started) && works.is_some_and(|works| *works != started)
    }
}

/// A replica of an unproven version is started in a place only where no other one tries it out, and none is missing.
fn check_trial(service: &ServiceState, started: Ordinal) -> Result<(), String> {
    let declared = service.declared.as_ref().map(|declared| declared.generation);
    let others = || service.counting().filter(|(ordinal, _)| *ordinal != started).map(|(_, place)| place);
    if others().any(|place| place.is_occupied() && Some(place.generation) == declared) {
        return Err("is the second of a version that has never been ready".to_owned());
    }
    let (working, desired) = (others().count(), service.desired.unwrap_or(0));
    if working < desired as usize {
        return Err(format!(
            "is started as a version that has never been ready, where {working} of {desired} replicas are of others"
        ));
    }
    Ok(())
}
