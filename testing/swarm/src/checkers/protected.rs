//! A protected replica is not removed by a scale-in.

use knowledge::{Place, Stage};
use model::action::{ActionKind, Admission};
use model::reason::Reason;
use model::time::Time;

use super::{Checker, View};

/// No replica is removed as superfluous while this life of it is protected.
#[derive(Debug, Default)]
pub(crate) struct Protected;

impl Checker for Protected {
    fn name(&self) -> &'static str {
        "protected"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        let now = view.sim.now();
        let Some(control) = view.control() else { return Ok(()) };
        for action in view.actions() {
            let (ActionKind::Stop { replica, incarnation, .. }
            | ActionKind::Admit { replica, incarnation, admission: Admission::Draining, .. }) = &action.kind
            else {
                continue;
            };
            if !matches!(action.reason, Reason::AboveDesired { .. }) {
                continue;
            }
            let Some(service) = control.knowledge().service(&replica.service) else { continue };
            let is_protected = service
                .protections
                .get(&replica.ordinal)
                .is_some_and(|protection| protection.incarnation == *incarnation && now < protection.until);
            // The stop of a replica that was leaving before it was protected may be sent again.
            let is_leaving_now =
                service.places.get(&replica.ordinal).is_some_and(|place| began_to_leave(place, now));
            if is_protected && is_leaving_now {
                return Err(format!("{replica} is removed though it is protected"));
            }
        }
        Ok(())
    }
}

fn began_to_leave(place: &Place, now: Time) -> bool {
    match &place.stage {
        Stage::Draining { since, .. } | Stage::Stopping { since, .. } => *since == now,
        Stage::Empty { .. } | Stage::Starting { .. } | Stage::Running(_) => false,
    }
}
