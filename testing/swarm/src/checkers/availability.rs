//! In a world without faults, no request fails.

use std::collections::BTreeSet;

use knowledge::ServiceState;
use model::input::{Input, Intent};
use model::name::ServiceName;
use model::reason::Reason;
use sim::{Cause, Effect};

use super::{Checker, Look};
use crate::config::Config;

/// In a world without faults, scaling, rollouts, drains and holds cost no request once a service has served.
#[derive(Debug)]
pub(crate) struct Availability {
    is_faultless: bool,
    served: BTreeSet<ServiceName>,
    /// Services whose operator has declared something that ends by itself.
    wobbly: BTreeSet<ServiceName>,
}

impl Availability {
    pub(crate) fn new(config: &Config) -> Self {
        Self { is_faultless: config.is_faultless(), served: BTreeSet::new(), wobbly: BTreeSet::new() }
    }
}

impl Checker for Availability {
    fn name(&self) -> &'static str {
        "availability"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        if !self.is_faultless {
            return Ok(());
        }
        // A service that is held at no replicas, or withdrawn, has to start anew.
        if let Some(Input::Intent(Intent::Withdraw(service) | Intent::Hold { service, replicas: 0, .. })) =
            look.input()
        {
            self.served.remove(service);
        }
        // A resting service that is declared anew without rest has to start anew as well.
        if let Some(Input::Intent(Intent::Declare(declared))) = look.input()
            && let Some(service) =
                look.control().and_then(|control| control.knowledge().service(&declared.name))
            && service.desired == Some(0)
        {
            self.served.remove(&declared.name);
        }
        for effect in look.sim.effects() {
            if let Effect::Ended { replica, cause: Cause::Itself, .. } = effect {
                self.wobbly.insert(replica.service.clone());
            }
        }
        for site in look.sim.node().sites() {
            let service = look.control().and_then(|control| control.knowledge().service(&site.name));
            // Requests to a resting service wait for it.
            if service.is_some_and(ServiceState::is_scaled_to_zero) {
                continue;
            }
            // A service that wakes while what it depends on is down waits for that first.
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
        for effect in look.sim.effects() {
            if let Effect::Unanswered { service, requests } = effect
                && self.served.contains(service)
                && !self.wobbly.contains(service)
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
