//! Nobody who could be answered is cut off.

use std::collections::BTreeMap;

use model::action::{ActionKind, Admission};
use model::identity::ActionId;
use model::reason::Reason;
use sim::Effect;

use super::{Checker, Look};

/// Stops that are kept until they have their effect.
const STOPS_MAX: usize = 1024;

/// A replica is stopped with requests in hand only when its time to finish them is over, or when it could not answer them;
/// and what the loop has taken out of the traffic gets none.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    stops: BTreeMap<ActionId, Reason>,
}

impl Checker for Drained {
    fn name(&self) -> &'static str {
        "drained"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        for action in look.actions() {
            if matches!(action.kind, ActionKind::Stop { .. }) {
                if self.stops.len() == STOPS_MAX {
                    self.stops.pop_first();
                }
                self.stops.insert(action.id, action.reason.clone());
            }
        }
        for effect in look.sim.effects() {
            let Effect::Signalled { by, replica, in_flight, was_well: true, .. } = effect else { continue };
            let is_excused = match self.stops.get(by) {
                None => true,
                Some(Reason::Drained { in_flight }) => *in_flight > 0,
                Some(Reason::Unhealthy { .. }) => true,
                // tidy: open match: no other reason excuses it.
                Some(_) => false,
            };
            if *in_flight > 0 && !is_excused {
                return Err(format!(
                    "{replica} was stopped with {in_flight} requests in hand that it could answer"
                ));
            }
        }
        routed(look)
    }
}

/// What is known to be out of the traffic is out of it.
fn routed(look: &Look<'_>) -> Result<(), String> {
    let Some(brain) = look.brain() else { return Ok(()) };
    for site in look.sim.node().sites() {
        let Some(service) = brain.knowledge().service(&site.name) else { continue };
        for (ordinal, life) in site.places().filter(|(_, life)| life.is_alive()) {
            use knowledge::Stage;
            let Some(place) = service.places.get(&ordinal) else { continue };
            let is_out = matches!(place.stage, Stage::Draining { admit: None, .. });
            let is_served = matches!(life.admission, Some(Admission::Serving { .. }));
            if is_out && is_served && place.incarnation == life.incarnation {
                return Err(format!("{}-{ordinal} is drained and still gets requests", site.name));
            }
        }
    }
    Ok(())
}
