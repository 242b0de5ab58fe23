//! A protected replica is not removed because its service shrinks.

use knowledge::{Place, Stage};
use model::action::{ActionKind, Admission};
use model::reason::Reason;
use model::time::Time;

use super::{Checker, Look};

/// No replica is removed as superfluous while a person protects this life of it.
#[derive(Debug, Default)]
pub(crate) struct Protected;

impl Checker for Protected {
    fn name(&self) -> &'static str {
        "protected"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let now = look.sim.now();
        let Some(control) = look.control() else { return Ok(()) };
        for action in look.actions() {
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
            // A replica that was leaving before it was protected gets its stop again.
            let goes_now =
                service.places.get(&replica.ordinal).is_some_and(|place| began_to_leave(place, now));
            if is_protected && goes_now {
                return Err(format!("{replica} is removed, and is protected"));
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
