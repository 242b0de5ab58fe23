//! No request that could still be answered is aborted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::action::{ActionKind, Admission};
use model::event::EventKind;
use model::identity::{ActionId, Ordinal, ReplicaId};
use model::name::ServiceName;
use model::reason::Reason;
use model::time::Time;
use sim::{Effect, Turn};

use super::{Checker, View};

/// Stops that are kept until they take effect.
const STOPS_MAX: usize = 1024;

/// A replica with requests in flight is stopped only when its drain timeout is over, or when it could not answer them;
/// and a replica that the loop knows to be drained gets no requests.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    stops: BTreeMap<ActionId, Reason>,
    /// Since when a replica gets no new requests.
    drained: BTreeMap<ReplicaId, Time>,
    /// The replicas that were reported to the loop as ready. It cannot know that any other has requests.
    ready: BTreeSet<(ServiceName, Ordinal)>,
}

/// The drain timeout of all services of the swarm.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the loop waits for a proxy that does not answer.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

impl Checker for Drained {
    fn name(&self) -> &'static str {
        "drained"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for action in view.actions() {
            if matches!(action.kind, ActionKind::Stop { .. }) {
                if self.stops.len() == STOPS_MAX {
                    self.stops.pop_first();
                }
                self.stops.insert(action.id, action.reason.clone());
            }
        }
        self.note_events(view);
        let now = view.sim.now();
        for effect in view.sim.effects() {
            if let Effect::Admitted { replica, admission: Admission::Draining, .. } = effect {
                self.drained.insert(replica.clone(), now);
            }
            let Effect::Signalled { by, replica, in_flight, was_well: true, .. } = effect else { continue };
            let is_excused = match self.stops.get(by) {
                Some(Reason::Drained { .. }) => {
                    self.drained.remove(replica).is_some_and(|since| now.since(since) >= DRAIN_TIMEOUT)
                }
                // The drain was sent to the proxy three times, ten seconds apart, and no answer came.
                Some(Reason::DrainUnanswered { since }) => now.since(*since) >= UNANSWERED_MAX,
                None | Some(Reason::Unhealthy { .. }) => true,
                // It was withdrawn while no orchestrator ran, and the declaration with its drain timeout is gone.
                Some(Reason::Withdrawn) => is_unknown(view, &replica.service),
                // tidy: open match: no other reason excuses it.
                Some(_) => false,
            };
            let is_known = self.ready.contains(&(replica.service.clone(), replica.ordinal));
            if *in_flight > 0 && is_known && !is_excused {
                return Err(format!(
                    "{replica} was stopped with {in_flight} requests in flight that it could answer"
                ));
            }
        }
        check_drained(view)
    }
}

impl Drained {
    fn note_events(&mut self, view: &View<'_>) {
        if view.turn != Turn::Stepped {
            return;
        }
        for event in &view.sim.out().events {
            let Some((ordinal, _)) = event.replica else { continue };
            let which = (event.service.clone(), ordinal);
            match event.kind {
                EventKind::Ready => self.ready.insert(which),
                EventKind::Adopted if is_ready(view, &which) => self.ready.insert(which),
                EventKind::Starting | EventKind::NotReady | EventKind::Exited | EventKind::Adopted => {
                    self.ready.remove(&which)
                }
                // tidy: open match: no other event says whether it is ready.
                _ => false,
            };
        }
    }
}

fn is_unknown(view: &View<'_>, service: &ServiceName) -> bool {
    let known = view.sim.control().and_then(|control| control.knowledge().service(service));
    known.is_none_or(|known| known.last_declared.is_none())
}

fn is_ready(view: &View<'_>, (service, ordinal): &(ServiceName, Ordinal)) -> bool {
    let place = view.control().and_then(|control| control.knowledge().place(service, *ordinal));
    place.is_some_and(knowledge::Place::is_ready)
}

/// A replica that the loop knows to be drained gets no requests.
fn check_drained(view: &View<'_>) -> Result<(), String> {
    let Some(control) = view.control() else { return Ok(()) };
    for site in view.sim.node().sites() {
        let Some(service) = control.knowledge().service(&site.name) else { continue };
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
