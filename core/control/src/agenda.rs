//! When each service is looked at next.

use std::collections::{BTreeMap, BTreeSet};

use model::name::ServiceName;
use model::time::Time;

/// One date for each service, earliest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    by_date: BTreeSet<(Time, ServiceName)>,
    by_service: BTreeMap<ServiceName, Time>,
}

impl Agenda {
    /// Sets the date of a service, in place of the one it had.
    pub(crate) fn set(&mut self, service: &ServiceName, date: Time) {
        match self.by_service.get_mut(service) {
            Some(old) if *old == date => {}
            Some(old) => {
                // The key is taken out and put back, so that its name is not copied.
                if let Some((_, name)) = self.by_date.take(&(*old, service.clone())) {
                    self.by_date.insert((date, name));
                }
                *old = date;
            }
            None => {
                self.by_date.insert((date, service.clone()));
                self.by_service.insert(service.clone(), date);
            }
        }
    }

    /// Forgets a service.
    pub(crate) fn remove(&mut self, service: &ServiceName) {
        if let Some(date) = self.by_service.remove(service) {
            self.by_date.remove(&(date, service.clone()));
        }
    }

    /// The earliest date.
    pub(crate) fn first(&self) -> Option<Time> {
        self.by_date.first().map(|(date, _)| *date)
    }

    /// Appends the services whose date has come; they keep it until it is set anew.
    pub(crate) fn due(&self, now: Time, out: &mut Vec<ServiceName>) {
        out.extend(
            self.by_date.iter().take_while(|(date, _)| *date <= now).map(|(_, service)| service.clone()),
        );
    }
}
