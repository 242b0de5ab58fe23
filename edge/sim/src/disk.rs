//! What survives the orchestrator: intents, what the loop asked to remember, and the number of the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::identity::Epoch;
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
            }
            Intent::Hold { service, .. } => {
                self.holds.insert(service.clone(), intent.clone());
            }
            Intent::Release(service) => {
                self.holds.remove(service);
            }
        }
    }

    /// Forgets a service of which nothing is left; one that is declared again is kept.
    pub(crate) fn forget(&mut self, service: &ServiceName) {
        if !self.declared.contains_key(service) {
            self.memories.remove(service);
        }
    }
}
