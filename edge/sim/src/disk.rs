//! What survives the orchestrator: intents, what the loop asked to remember, and the number of the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::identity::{Epoch, ReplicaId};
use model::input::{Declared, Intent};
use model::memory::Memory;
use model::name::ServiceName;

/// The rows of the store, as whoever opens it next would read them.
///
/// What is acknowledged is here; what was on its way when the orchestrator died may be here or not. An older epoch writes
/// nothing once a newer one has begun.
#[derive(Debug, Default)]
pub struct Disk {
    /// The largest epoch that has begun.
    pub epoch: Epoch,
    /// What is declared.
    pub declared: BTreeMap<ServiceName, Arc<Declared>>,
    /// What is held by hand.
    pub holds: BTreeMap<ServiceName, Intent>,
    /// Whose autoscaler is paused.
    pub pauses: BTreeMap<ServiceName, Intent>,
    /// Which replicas are protected from being removed.
    pub protections: BTreeMap<ReplicaId, Intent>,
    /// What is remembered.
    pub memories: BTreeMap<ServiceName, Arc<Memory>>,
}

impl Disk {
    /// Keeps what people want.
    pub(crate) fn keep(&mut self, intent: &Intent) {
        match intent {
            Intent::Declare(declared) => {
                self.declared.insert(declared.name.clone(), Arc::clone(declared));
            }
            Intent::Withdraw(service) => {
                self.declared.remove(service);
                self.holds.remove(service);
                self.pauses.remove(service);
                self.protections.retain(|replica, _| replica.service != *service);
            }
            Intent::Hold { service, .. } => {
                self.holds.insert(service.clone(), intent.clone());
            }
            Intent::Release(service) => {
                self.holds.remove(service);
            }
            Intent::Pause { service, .. } => {
                self.pauses.insert(service.clone(), intent.clone());
            }
            Intent::Resume(service) => {
                self.pauses.remove(service);
            }
            Intent::Protect { replica, .. } => {
                self.protections.insert(replica.clone(), intent.clone());
            }
            Intent::Unprotect(replica) => {
                self.protections.remove(replica);
            }
        }
    }

    /// What people want beside what they declare, to be told to a run that begins.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &Intent> {
        self.holds.values().chain(self.pauses.values()).chain(self.protections.values())
    }

    /// Forgets a service of which nothing is left; one that is declared again is kept.
    pub(crate) fn forget(&mut self, service: &ServiceName) {
        if !self.declared.contains_key(service) {
            self.memories.remove(service);
        }
    }
}
