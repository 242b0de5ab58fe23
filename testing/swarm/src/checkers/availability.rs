//! In a world without faults, no request fails.

use std::collections::BTreeSet;

use knowledge::ServiceState;
use model::input::{Input, Intent};
use model::name::ServiceName;
use model::reason::Reason;
use sim::{Cause, Effect};

use super::{Checker, View};
use crate::config::Config;

/// In a world without faults, scaling, rollouts, drains and holds cost no request once a service has served.
#[derive(Debug)]
pub(crate) struct Availability {
    is_faultless: bool,
    served: BTreeSet<ServiceName>,
    /// Services with a program that has ended by itself.
    unstable: BTreeSet<ServiceName>,
}

impl Availability {
    pub(crate) fn new(config: &Config) -> Self {
        Self { is_faultless: config.is_faultless(), served: BTreeSet::new(), unstable: BTreeSet::new() }
    }
}

impl Checker for Availability {
    fn name(&self) -> &'static str {
        "availability"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        if !self.is_faultless {
            return Ok(());
        }
        // A service that is held at zero replicas, or withdrawn, has to start again.
        if let Some(Input::Intent(Intent::Withdraw(service) | Intent::Hold { service, replicas: 0, .. })) =
            view.input()
        {
            self.served.remove(service);
        }
        // So has a service that is scaled to zero and declared again without scaling to zero.
        if let Some(Input::Intent(Intent::Declare(declared))) = view.input()
            && let Some(service) =
                view.control().and_then(|control| control.knowledge().service(&declared.name))
            && service.desired == Some(0)
        {
            self.served.remove(&declared.name);
        }
        for effect in view.sim.effects() {
            if let Effect::Ended { replica, cause: Cause::Itself, .. } = effect {
                self.unstable.insert(replica.service.clone());
            }
        }
        for site in view.sim.node().sites() {
            let service = view.control().and_then(|control| control.knowledge().service(&site.name));
            // Requests to a service that is scaled to zero wait until it has started.
            if service.is_some_and(ServiceState::is_scaled_to_zero) {
                continue;
            }
            // A service that starts from zero waits for its dependencies.
            let is_routed = site.alive().any(sim::Life::is_routed);
            if !is_routed && service.is_some_and(waits_for_another) {
                self.served.remove(&site.name);
                continue;
            }
            let desired = service.and_then(|service| service.desired);
            if desired.is_none_or(|desired| desired == 0) {
                self.served.remove(&site.name);
            } else if !self.served.contains(&site.name) && is_routed {
                self.served.insert(site.name.clone());
            }
        }
        for effect in view.sim.effects() {
            if let Effect::Unanswered { service, requests } = effect
                && self.served.contains(service)
                && !self.unstable.contains(service)
            {
                return Err(format!(
                    "{requests} requests to {service} found no replica though nothing is wrong"
                ));
            }
        }
        Ok(())
    }
}

fn waits_for_another(service: &ServiceState) -> bool {
    service.waits.iter().any(|wait| matches!(wait.reason, Reason::DependencyDown { .. }))
}
