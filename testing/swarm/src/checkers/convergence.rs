//! When nothing has gone wrong for long enough, everything is as it is wanted, and stays so.

use std::collections::BTreeSet;
use std::time::Duration;

use knowledge::{Exposure, ResourceChange, ServiceState, Stage};
use model::action::Admission;
use model::input::Declared;
use model::name::ServiceName;
use model::resource::{Recover, VerticalMode};
use model::time::Time;
use sim::{Life, Site};

use super::{Checker, Look};
use crate::config::Config;

/// The longest that anything may take: a wait in a crash loop (10 min), a stabilisation window (5 min to 6 min), a rollout
/// of ten replicas that start slowly, three inventories, and as much again because these may wait for each other.
pub(crate) const REST: Duration = Duration::from_mins(25);

/// Everything wanted runs, is ready, and gets traffic; nothing else runs; and the loop knows all of that.
#[derive(Debug)]
pub(crate) struct Convergence {
    needs: Vec<(ServiceName, ServiceName)>,
}

impl Convergence {
    pub(crate) fn new(config: &Config) -> Self {
        let need = |service: &crate::ServiceConfig| Some((service.name.clone(), service.needs.clone()?.0));
        Self { needs: config.services.iter().filter_map(need).collect() }
    }

    /// Services that wait for another one that a person wants no replicas of.
    fn waiting(&self, look: &Look<'_>) -> BTreeSet<ServiceName> {
        let knowledge = look.sim.control().map(control::ControlLoop::knowledge);
        let is_absent = |name: &ServiceName| {
            let known = knowledge.and_then(|known| known.service(name));
            !look.declared().any(|declared| declared == name)
                || known.is_some_and(|known| {
                    known.desired == Some(0) && !(known.is_scaled_to_zero() && known.hold.is_none())
                })
        };
        let mut waiting = BTreeSet::new();
        // In the order of the configuration each service needs only earlier ones.
        for (service, needed) in &self.needs {
            if is_absent(needed) || waiting.contains(needed) {
                waiting.insert(service.clone());
            }
        }
        waiting
    }
}

impl Checker for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        if look.calm_for().is_none_or(|calm| calm < REST) {
            return Ok(());
        }
        let Some(control) = look.control() else { return Err("the orchestrator is down".to_owned()) };
        let waiting = self.waiting(look);
        let calm = REST.as_secs() / 60;
        for site in look.sim.node().sites() {
            if waiting.contains(&site.name) {
                continue;
            }
            let service = control.knowledge().service(&site.name);
            let is_declared = look.declared().any(|declared| *declared == site.name);
            let found = match service.filter(|_| is_declared) {
                Some(service) => awake(look, service, site)
                    .and_then(|()| at_rest(look.sim.now(), service, site))
                    .map_err(|what| what + &excuses(service)),
                None if is_declared => Err("the loop does not know it".to_owned()),
                None => gone(service, site),
            };
            found.map_err(|what| format!("after {calm} calm minutes, of {}: {what}", site.name))?;
        }
        Ok(())
    }
}

/// The places as the loop sees them, and what it waits for.
fn excuses(service: &ServiceState) -> String {
    let places = service.places.iter().map(|(ordinal, place)| {
        let stage = match &place.stage {
            Stage::Empty { .. } => "empty",
            Stage::Starting { .. } => "starting",
            Stage::Running(health) if health.ready => "ready",
            Stage::Running(_) => "running",
            Stage::Draining { .. } => "draining",
            Stage::Stopping { .. } => "stopping",
        };
        format!("{ordinal} {:?} {stage}", place.role)
    });
    let places: Vec<_> = places.collect();
    let waits: Vec<_> = service.waits.iter().map(|wait| wait.reason.to_string()).collect();
    format!("; in the loop's picture: {}; it waits for: [{}]", places.join(", "), waits.join(", "))
}

/// A service that may rest does so exactly when it gets no requests.
fn awake(look: &Look<'_>, service: &ServiceState, site: &Site) -> Result<(), String> {
    let to_zero = service.declared.as_ref().and_then(|declared| declared.spec.scale.to_zero);
    if to_zero.is_none() || service.hold.is_some() {
        return Ok(());
    }
    let is_asked = site.load.at(look.sim.now()).0 > 0;
    match (is_asked, service.is_scaled_to_zero()) {
        (true, true) => Err("it is asked, and rests".to_owned()),
        (false, false) => Err("nobody asks, and it does not rest".to_owned()),
        (true, false) | (false, true) => Ok(()),
    }
}

fn at_rest(now: Time, service: &ServiceState, site: &Site) -> Result<(), String> {
    let Some(declared) = &service.declared else {
        return Err("it is declared, and the loop does not know".to_owned());
    };
    if is_learning(now, service, declared) {
        return Ok(());
    }
    let desired = service.desired.unwrap_or(0) as usize;
    let spares = match declared.spec.recover {
        Recover::Standby { spares } if !service.is_scaled_to_zero() => spares as usize,
        Recover::Standby { .. } | Recover::Reschedule | Recover::MostActive | Recover::Random => 0,
    };
    let counted = |is_meant: &dyn Fn(&Life) -> bool| site.alive().filter(|life| is_meant(life)).count();
    let serving = counted(&|life| life.is_well() && life.is_routed());
    if serving != desired {
        return Err(format!("{serving} replicas serve, {desired} are wanted"));
    }
    let standing_by = counted(&|life| life.is_well() && life.admission == Some(Admission::Spare));
    if standing_by != spares {
        return Err(format!("{standing_by} spares stand by, {spares} are wanted"));
    }
    let alive = site.alive().count();
    if alive != desired + spares {
        return Err(format!("{alive} replicas run, {} are wanted", desired + spares));
    }
    if declared.spec.scale.vertical.as_ref().is_some_and(|vertical| vertical.mode == VerticalMode::Auto) {
        for (ordinal, life) in site.places().filter(|(_, life)| life.is_alive()) {
            let place = service.places.get(&ordinal);
            // The usage of replicas goes on being learned, so that one may be resized at any time.
            let is_changed =
                place.is_some_and(|place| matches!(place.resource_change, ResourceChange::InProgress { .. }));
            let known = place.and_then(|place| place.resources);
            if known != Some(life.resources) && !is_changed {
                return Err(format!(
                    "replica {ordinal} may use {:?}, the loop takes it for {known:?}",
                    life.resources
                ));
            }
        }
    }
    let outdated = counted(&|life| life.generation != declared.generation);
    if outdated > 0 {
        return Err(format!("{outdated} replicas run an older declaration"));
    }
    if service.serving() as usize != desired || service.places.len() != desired + spares {
        return Err(format!(
            "the loop knows {} places, {} of them serving, where {desired} serve",
            service.places.len(),
            service.serving()
        ));
    }
    let is_shown =
        matches!(&service.exposure, Exposure::Open { revision, .. } if *revision == declared.revision);
    let wanted = declared.spec.expose.as_ref().map(|_| declared.revision);
    if site.exposed != wanted || is_shown != wanted.is_some() {
        return Err(format!("the proxy listens for revision {:?}, wanted is {wanted:?}", site.exposed));
    }
    Ok(())
}

/// The longest that a replica takes to become ready, in a world where nothing is wrong.
const BEGINNING_MAX: Duration = Duration::from_mins(1);

/// The capacity of a replica is learned in calm times as well: a service that is sized by it is resized again and again, and is not at rest in between.
fn is_learning(now: Time, service: &ServiceState, declared: &Declared) -> bool {
    let acting = declared.autoscaler.as_ref().and_then(|acting| acting.policy.slo());
    let is_on_its_way = |stage: &Stage| match stage {
        Stage::Running(health) => !health.ready && now.since(health.since) < BEGINNING_MAX,
        Stage::Empty { .. } => false,
        Stage::Starting { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => true,
    };
    acting.is_some() && service.places.values().any(|place| is_on_its_way(&place.stage))
}

fn gone(service: Option<&ServiceState>, site: &Site) -> Result<(), String> {
    let alive = site.alive().count();
    if alive > 0 {
        return Err(format!("{alive} replicas run, nobody wants it"));
    }
    if site.exposed.is_some() {
        return Err("the proxy listens, nobody wants it".to_owned());
    }
    if service.is_some() {
        return Err("the loop still knows it, nobody wants it".to_owned());
    }
    Ok(())
}
