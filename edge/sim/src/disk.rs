//! What survives the orchestrator: intents, the memories of the loop, and the number of the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::identity::{Epoch, ReplicaId};
use model::input::{Declared, Intent};
use model::memory::Memory;
use model::name::ServiceName;

/// The rows of the store, as the next process that opens it would read them.
///
/// Acknowledged writes are here; a write in flight when the orchestrator died may be here or not. An older epoch writes
/// nothing once a newer one has begun.
#[derive(Debug, Default)]
pub struct Disk {
    /// The largest epoch that has begun.
    pub epoch: Epoch,
    /// The declared services.
    pub declared: BTreeMap<ServiceName, Arc<Declared>>,
    /// The services whose size is held by hand.
    pub holds: BTreeMap<ServiceName, Intent>,
    /// The services whose autoscaler is paused.
    pub pauses: BTreeMap<ServiceName, Intent>,
    /// The replicas that are protected from being removed.
    pub protections: BTreeMap<ReplicaId, Intent>,
    /// The latest memory of each service.
    pub memories: BTreeMap<ServiceName, Arc<Memory>>,
}

impl Disk {
    /// Stores an intent, or removes what it revokes.
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

    /// The intents beside declarations, which a new run receives when it begins.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &Intent> {
        self.holds.values().chain(self.pauses.values()).chain(self.protections.values())
    }

    /// Deletes the memory of a service of which nothing is left, unless it was declared again.
    pub(crate) fn forget(&mut self, service: &ServiceName) {
        if !self.declared.contains_key(service) {
            self.memories.remove(service);
        }
    }
}
