//! A restart of the orchestrator does not change its decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use knowledge::ServiceState;
use model::action::ActionKind;
use model::identity::Generation;
use model::input::{Input, Intent};
use model::memory::Recommendation;
use model::name::ServiceName;
use model::reason::Reason;
use model::resource::SCALE_IN_STABILIZATION_DEFAULT;
use model::time::{Now, Time};
use sim::{Effect, Fault, Site};

use super::{Checker, View};
use crate::config::Config;

/// How much older a stored recommendation may be than the real one: when only its time has changed, it is written at most this often.
const REFRESH: Duration = Duration::from_secs(31);

/// The recommendations of earlier runs still count after a restart, and a restart by itself stops nothing.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    services: BTreeMap<ServiceName, ObservedService>,
    /// The latest restart.
    begun: Option<Time>,
    writes_fail: bool,
}

impl Memory {
    pub(crate) fn new(config: &Config) -> Self {
        Self { writes_fail: config.faults.rate(Fault::WriteFails) > 0, ..Self::default() }
    }
}

/// A service as earlier runs have left it.
#[derive(Debug, Default)]
struct ObservedService {
    declared: Option<Generation>,
    desired: Option<u32>,
    is_held: bool,
    window: Duration,
    /// The recommendations of the run before this one.
    before: Vec<Recommendation>,
    /// The recommendations of this run.
    now: Vec<Recommendation>,
    /// Whether an operator has changed its declaration or hold since the restart.
    is_changed: bool,
}

impl Checker for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        let now = view.sim.now();
        for effect in view.sim.effects() {
            if let Effect::OrchestratorBegan { .. } = effect {
                self.begun = Some(now);
                for (name, seen) in &mut self.services {
                    // If the last run died before its first decision, the recommendations of the run before it count. Where writes
                    // fail, only what was written can be expected.
                    if self.writes_fail {
                        let written = view.sim.disk().memories.get(name);
                        seen.before =
                            written.map_or_else(Vec::new, |memory| memory.scaling.recommendations.clone());
                    } else if !seen.now.is_empty() {
                        seen.before = std::mem::take(&mut seen.now);
                    }
                    seen.is_changed = false;
                }
            }
        }
        if let Some(Input::Intent(intent)) = view.input() {
            self.note_intent(intent);
        }
        let Some(control) = view.control() else { return Ok(()) };
        for service in control.knowledge().services() {
            let seen = self.services.entry(service.name.clone()).or_default();
            seen.check(view.sim.clock(), service)?;
        }
        self.services.retain(|name, _| control.knowledge().service(name).is_some());
        self.check_first_plans(view)
    }
}

impl Memory {
    fn note_intent(&mut self, intent: &Intent) {
        let seen = self.services.entry(intent.service().clone()).or_default();
        match intent {
            // After a restart the old declarations are sent again.
            Intent::Declare(declared) => seen.is_changed |= seen.declared != Some(declared.revision),
            Intent::Hold { .. } => seen.is_changed |= !seen.is_held,
            Intent::Withdraw(_) | Intent::Release(_) => seen.is_changed = true,
            // They do not set a size.
            Intent::Pause { .. } | Intent::Resume(_) | Intent::Protect { .. } | Intent::Unprotect(_) => {}
        }
    }

    /// In its first plans a new run removes no replica that was desired before.
    fn check_first_plans(&self, view: &View<'_>) -> Result<(), String> {
        const FIRST: Duration = Duration::from_millis(500);
        let is_first = self.begun.is_some_and(|begun| view.sim.now().since(begun) < FIRST);
        if !is_first {
            return Ok(());
        }
        for action in view.actions() {
            let (ActionKind::Stop { replica, .. }, Reason::AboveDesired { have, desired, .. }) =
                (&action.kind, &action.reason)
            else {
                continue;
            };
            let is_changed = self.services.get(&replica.service).is_none_or(|seen| seen.is_changed);
            let has_surplus = view.sim.node().site(&replica.service).is_some_and(has_surplus(*desired));
            if !is_changed && !has_surplus {
                return Err(format!(
                    "the restart stops {replica}, as one of {have} where {desired} are desired"
                ));
            }
        }
        Ok(())
    }
}

/// Whether more replicas run than are desired, because a rollout or a scale-in was in progress, so that any run would stop one.
fn has_surplus(desired: u32) -> impl Fn(&Site) -> bool {
    move |site| {
        let spares =
            site.alive().filter(|life| life.admission == Some(model::action::Admission::Spare)).count();
        site.alive().count() - spares > desired as usize
    }
}

impl ObservedService {
    fn check(&mut self, clock: Now, service: &ServiceState) -> Result<(), String> {
        let now = clock.time;
        let declared = service.declared.as_ref().map(|declared| declared.revision);
        let is_held = service.hold.is_some_and(|hold| hold.until.is_none_or(|until| now < until));
        let is_changed = declared != self.declared || is_held != self.is_held;
        (self.declared, self.is_held) = (declared, is_held);
        if is_changed {
            self.before.clear();
        }
        let scales_in = !is_changed
            && !is_held
            && service.desired < self.desired
            && service.desired.is_some()
            && !service.is_scaled_to_zero();
        self.desired = service.desired;
        let autoscaler = service.declared.as_ref().and_then(|declared| declared.autoscaler.as_ref());
        let Some(autoscaler) = autoscaler else { return Ok(()) };
        self.window = autoscaler
            .behavior
            .as_ref()
            .map_or(SCALE_IN_STABILIZATION_DEFAULT, |behavior| behavior.scale_down.stabilization);
        self.now.clone_from(&service.scaling.recommendations);
        let is_known = |before: &Recommendation| {
            self.now.iter().any(|now| now.replicas == before.replicas && now.at + REFRESH > before.at)
        };
        let counts = |before: &&Recommendation| now.since(before.at) + REFRESH < self.window;
        if let Some(lost) = self.before.iter().filter(counts).find(|before| !is_known(before)) {
            return Err(format!(
                "the recommendation of {} replicas of {}, {} s ago, is lost since the restart",
                lost.replicas,
                service.name,
                now.since(lost.at).as_secs()
            ));
        }
        let desired = service.desired.unwrap_or(0);
        let most = service.declared.as_ref().map_or(0, |declared| declared.bounds(clock.wall).max);
        let forgotten = self.before.iter().find(|recommended| {
            recommended.replicas.min(most) > desired && now.since(recommended.at) + REFRESH < self.window
        });
        match forgotten.filter(|_| scales_in) {
            Some(recommended) => Err(format!(
                "{} is scaled in to {desired} although {} replicas were recommended {} s ago, before the restart",
                service.name,
                recommended.replicas,
                now.since(recommended.at).as_secs()
            )),
            None => Ok(()),
        }
    }
}
