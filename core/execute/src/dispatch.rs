//! Sends actions out and tells people about them.

use std::time::Duration;

use knowledge::ServiceState;
use model::action::ActionKind;
use model::event::EventKind;
use model::identity::{ActionId, Ordinal};
use model::reason::Reason;
use model::time::Now;

use crate::in_flight::InFlight;
use crate::outbox::Outbox;

/// What it takes to send an action out: the time, the actions in flight, and the outbox.
#[derive(Debug)]
pub struct Dispatch<'a> {
    /// The time of the input that is being answered.
    pub now: Now,
    /// After this time an action whose end is not known is sent again.
    pub timeout: Duration,
    /// The actions in flight.
    pub in_flight: &'a mut InFlight,
    /// The output of this step of the loop.
    pub out: &'a mut Outbox,
}

impl Dispatch<'_> {
    /// Sends a new action, and follows it until it ends.
    pub(crate) fn send(&mut self, kind: ActionKind, reason: &Reason) -> ActionId {
        self.in_flight.send(self.now.time, self.timeout, kind, reason.clone(), self.out)
    }

    /// Adds an event that says what happened to the replica in a place.
    pub(crate) fn record_event(
        &mut self,
        service: &ServiceState,
        ordinal: Ordinal,
        kind: EventKind,
        reason: &Reason,
    ) {
        if let Some(place) = service.places.get(&ordinal) {
            let whom = Some((ordinal, place.incarnation));
            self.out.record_event(self.now, &service.name, whom, kind, reason.clone());
        }
    }
}
