//! When each service is reconciled next.

use std::collections::{BTreeMap, BTreeSet};

use model::name::ServiceName;
use model::time::Time;

/// One due time for each service, earliest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    by_time: BTreeSet<(Time, ServiceName)>,
    by_service: BTreeMap<ServiceName, Time>,
}

impl Agenda {
    /// Sets the due time of a service, replacing an earlier one.
    pub(crate) fn set(&mut self, service: &ServiceName, due: Time) {
        match self.by_service.get_mut(service) {
            Some(old) if *old == due => {}
            Some(old) => {
                // The key is taken out and put back, so that its name is not copied.
                if let Some((_, name)) = self.by_time.take(&(*old, service.clone())) {
                    self.by_time.insert((due, name));
                }
                *old = due;
            }
            None => {
                self.by_time.insert((due, service.clone()));
                self.by_service.insert(service.clone(), due);
            }
        }
    }

    /// Removes a service.
    pub(crate) fn remove(&mut self, service: &ServiceName) {
        if let Some(due) = self.by_service.remove(service) {
            self.by_time.remove(&(due, service.clone()));
        }
    }

    /// The earliest due time.
    pub(crate) fn first(&self) -> Option<Time> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Appends the services that are due at `now`; each stays due until another time is set.
    pub(crate) fn due(&self, now: Time, out: &mut Vec<ServiceName>) {
        out.extend(
            self.by_time.iter().take_while(|(due, _)| *due <= now).map(|(_, service)| service.clone()),
        );
    }
}
