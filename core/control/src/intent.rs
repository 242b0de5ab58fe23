//! Folding what people want into the picture.

use execute::Outbox;
use knowledge::{Hold, Knowledge, Place};
use model::event::EventKind;
use model::input::{Declared, Intent};
use model::memory::Memory;
use model::name::ServiceName;
use model::plan::Role;
use model::reason::Reason;
use model::time::{Now, Time};

/// Folds one change of intent; a new plan for its service is due at once.
pub(crate) fn fold(now: Now, knowledge: &mut Knowledge, intent: &Intent, out: &mut Outbox) {
    match intent {
        Intent::Declare(declared) => {
            let needs = |declared: &Declared| -> Vec<ServiceName> {
                declared.spec.depends_on.iter().map(|dependency| dependency.service.clone()).collect()
            };
            let service = knowledge.service_or_new(&declared.name);
            let before = service.declared.as_deref().map(needs).unwrap_or_default();
            service.declared = Some(declared.clone());
            service.last_declared = Some(declared.clone());
            service.next_sync = now.time;
            knowledge.depend(&declared.name, &before, &needs(declared));
            out.tell(now, &declared.name, None, EventKind::Declared, Reason::Declared);
        }
        Intent::Withdraw(name) => {
            let Some(service) = knowledge.service_mut(name) else { return };
            if service.declared.take().is_some() {
                out.tell(now, name, None, EventKind::Withdrawn, Reason::Withdrawn);
            }
        }
        Intent::Hold { service, replicas, until } => {
            let service = knowledge.service_or_new(service);
            service.hold = Some(Hold { replicas: *replicas, until: *until });
            service.next_sync = now.time;
        }
        Intent::Release(service) => {
            let Some(service) = knowledge.service_mut(service) else { return };
            service.hold = None;
            service.next_sync = now.time;
        }
    }
}

/// Takes up what an earlier run remembered of a service.
///
/// Its places are made, empty, so that what their replicas' ends have taught is there when the inventory fills them. What the
/// inventory does not fill is begun anew, which is no restart: the whole machine may have been restarted.
pub(crate) fn recall(now: Time, knowledge: &mut Knowledge, memory: &Memory) {
    let service = knowledge.service_or_new(&memory.service);
    service.desired = memory.desired;
    service.scaling = memory.scaling.clone();
    for (ordinal, restart) in &memory.restarts {
        let place = service.places.entry(*ordinal).or_insert_with(|| Place::empty(Role::Active, now));
        place.restart = restart.clone();
    }
}
