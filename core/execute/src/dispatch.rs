//! Sends actions and records events about them.

use std::time::Duration;

use knowledge::ServiceState;
use model::action::ActionKind;
use model::event::EventKind;
use model::identity::{ActionId, Ordinal};
use model::reason::Reason;
use model::time::Now;

use crate::in_flight::InFlight;
use crate::outbox::Outbox;

/// The context for sending actions: the time, the actions in flight, and the outbox.
#[derive(Debug)]
pub struct Dispatch<'a> {
    /// The time of the current input.
    pub now: Now,
    /// The time after which an action without a known end is sent again.
    pub timeout: Duration,
    /// The actions in flight.
    pub in_flight: &'a mut InFlight,
    /// The output of this step of the loop.
    pub out: &'a mut Outbox,
}

impl Dispatch<'_> {
    /// Sends a new action, and tracks it until it ends.
    pub(crate) fn send(&mut self, kind: ActionKind, reason: &Reason) -> ActionId {
        self.in_flight.send(self.now.time, self.timeout, kind, reason.clone(), self.out)
    }

    /// Adds an event of a service.
    pub(crate) fn record_service_event(&mut self, service: &ServiceState, kind: EventKind, reason: &Reason) {
        self.out.record_event(self.now, &service.name, None, kind, reason.clone());
    }

    /// Adds an event of the replica in a place.
    pub(crate) fn record_event(
        &mut self,
        service: &ServiceState,
        ordinal: Ordinal,
        kind: EventKind,
        reason: &Reason,
    ) {
        if let Some(place) = service.places.get(&ordinal) {
            let replica = Some((ordinal, place.incarnation));
            self.out.record_event(self.now, &service.name, replica, kind, reason.clone());
        }
    }
}
