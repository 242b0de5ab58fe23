//! The whole picture.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::identity::{Epoch, Ordinal, ReplicaId};
use model::name::{NodeName, ServiceName};
use model::time::Time;

use crate::place::Place;
use crate::service::{ServiceState, as_count};

/// Times of restarts kept for the limits on them: twenty times the default of 50 a minute over the cluster.
const RESTARTS_MAX: usize = 1000;

/// Everything that the loop knows.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The epoch of this run.
    pub epoch: Epoch,
    /// The node that this run keeps; `None` before the run has begun.
    pub node: Option<NodeName>,
    /// Whether it was seen what runs: before that, nothing is started, as it may be there already.
    pub inventory_seen: bool,
    services: BTreeMap<ServiceName, ServiceState>,
    dependents: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
    restarts: VecDeque<Time>,
}

impl Knowledge {
    /// The service, when anything is known of it.
    pub fn service(&self, name: &ServiceName) -> Option<&ServiceState> {
        self.services.get(name)
    }

    /// The service, to fold something into.
    pub fn service_mut(&mut self, name: &ServiceName) -> Option<&mut ServiceState> {
        self.services.get_mut(name)
    }

    /// The service, made when nothing is known of it yet.
    pub fn service_or_new(&mut self, name: &ServiceName) -> &mut ServiceState {
        self.services.entry(name.clone()).or_insert_with(|| ServiceState::named(name.clone()))
    }

    /// Forgets a service of which nothing is left.
    pub fn forget(&mut self, name: &ServiceName) {
        self.services.remove(name);
    }

    /// All services by name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceState> {
        self.services.values()
    }

    /// The place of a replica.
    pub fn place(&self, service: &ServiceName, ordinal: Ordinal) -> Option<&Place> {
        self.services.get(service)?.places.get(&ordinal)
    }

    /// The place of a replica, to fold something into.
    pub fn place_mut(&mut self, replica: &ReplicaId) -> Option<&mut Place> {
        self.services.get_mut(&replica.service)?.places.get_mut(&replica.ordinal)
    }

    /// Notes whom a service depends on, in place of what was noted before.
    pub fn depend(&mut self, service: &ServiceName, before: &[ServiceName], now: &[ServiceName]) {
        for needed in before {
            if let Some(dependents) = self.dependents.get_mut(needed) {
                dependents.remove(service);
            }
        }
        for needed in now {
            self.dependents.entry(needed.clone()).or_default().insert(service.clone());
        }
    }

    /// The services that depend on `service`.
    pub fn dependents(&self, service: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        self.dependents.get(service).into_iter().flatten()
    }

    /// Notes a restart, for the limits on restarts.
    pub fn note_restart(&mut self, at: Time) {
        if self.restarts.len() == RESTARTS_MAX {
            self.restarts.pop_front();
        }
        self.restarts.push_back(at);
    }

    /// Restarts within the last `window`, and when the oldest of them was.
    pub fn restarts_within(&self, now: Time, window: Duration) -> (u32, Option<Time>) {
        let begin = now - window;
        let recent = self.restarts.iter().rev().take_while(|at| **at > begin);
        let count = recent.clone().count();
        (as_count(count), recent.last().copied())
    }
}
