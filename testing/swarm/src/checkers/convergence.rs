//! After enough time without faults, everything is as desired, and stays so.

use std::collections::BTreeSet;
use std::time::Duration;

use knowledge::{Exposure, ResourceChange, ServiceState, Stage};
use model::action::Admission;
use model::input::Declared;
use model::name::ServiceName;
use model::resource::{Recover, VerticalMode};
use model::time::Time;
use sim::{Life, Site};

use super::{Checker, View};
use crate::config::Config;

/// The longest time that convergence may take: a wait in a crash loop (10 min), a stabilisation window (5 min to 6 min), a rollout
/// of ten replicas that start slowly, three inventories, and as much again because these may wait for each other.
pub(crate) const CONVERGENCE_MAX: Duration = Duration::from_mins(25);

/// All desired replicas run, are ready, and get traffic; nothing else runs; and the loop knows all of that.
#[derive(Debug)]
pub(crate) struct Convergence {
    needs: Vec<(ServiceName, ServiceName)>,
}

impl Convergence {
    pub(crate) fn new(config: &Config) -> Self {
        let need = |service: &crate::ServiceConfig| Some((service.name.clone(), service.needs.clone()?.0));
        Self { needs: config.services.iter().filter_map(need).collect() }
    }

    /// Services that wait for a dependency that is withdrawn or held at zero replicas.
    fn waiting(&self, view: &View<'_>) -> BTreeSet<ServiceName> {
        let knowledge = view.sim.control().map(control::ControlLoop::knowledge);
        let is_absent = |name: &ServiceName| {
            let known = knowledge.and_then(|known| known.service(name));
            !view.declared().any(|declared| declared == name)
                || known.is_some_and(|known| {
                    known.desired == Some(0) && !(known.is_scaled_to_zero() && known.hold.is_none())
                })
        };
        let mut waiting = BTreeSet::new();
        // Each service depends only on services before it in the configuration.
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

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        if view.calm_for().is_none_or(|calm| calm < CONVERGENCE_MAX) {
            return Ok(());
        }
        let Some(control) = view.control() else { return Err("the orchestrator is down".to_owned()) };
        let waiting = self.waiting(view);
        let calm = CONVERGENCE_MAX.as_secs() / 60;
        for site in view.sim.node().sites() {
            if waiting.contains(&site.name) {
                continue;
            }
            let service = control.knowledge().service(&site.name);
            let is_declared = view.declared().any(|declared| *declared == site.name);
            let found = match service.filter(|_| is_declared) {
                Some(service) => check_scale_to_zero(view, service, site)
                    .and_then(|()| check_replicas(view.sim.now(), service, site))
                    .map_err(|difference| difference + &loop_state(service)),
                None if is_declared => Err("the loop does not know it".to_owned()),
                None => check_withdrawn(service, site),
            };
            found.map_err(|difference| {
                format!("after {calm} minutes without faults, {}: {difference}", site.name)
            })?;
        }
        Ok(())
    }
}

/// The places as the loop sees them, and what it waits for.
fn loop_state(service: &ServiceState) -> String {
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
    format!("; the loop's state: {}; it waits for: [{}]", places.join(", "), waits.join(", "))
}

/// A service that may scale to zero does so exactly when it gets no requests.
fn check_scale_to_zero(view: &View<'_>, service: &ServiceState, site: &Site) -> Result<(), String> {
    let to_zero = service.declared.as_ref().and_then(|declared| declared.spec.scale.to_zero);
    if to_zero.is_none() || service.hold.is_some() {
        return Ok(());
    }
    let has_load = site.load.at(view.sim.now()).0 > 0;
    match (has_load, service.is_scaled_to_zero()) {
        (true, true) => Err("it gets requests, and is scaled to zero".to_owned()),
        (false, false) => Err("it gets no requests, and is not scaled to zero".to_owned()),
        (true, false) | (false, true) => Ok(()),
    }
}

fn check_replicas(now: Time, service: &ServiceState, site: &Site) -> Result<(), String> {
    let Some(declared) = &service.declared else {
        return Err("it is declared, and the loop does not know".to_owned());
    };
    if is_learning(now, service, declared) {
        return Ok(());
    }
    let desired = service.desired.unwrap_or(0) as usize;
    let spares = match declared.spec.recover {
        Recover::Standby { spares } if desired > 0 => spares as usize,
        Recover::Standby { .. } | Recover::Reschedule | Recover::MostActive | Recover::Random => 0,
    };
    let count_of = |is_counted: &dyn Fn(&Life) -> bool| site.alive().filter(|life| is_counted(life)).count();
    let serving = count_of(&|life| life.is_well() && life.is_routed());
    if serving != desired {
        return Err(format!("{serving} replicas serve, {desired} are desired"));
    }
    let standing_by = count_of(&|life| life.is_well() && life.admission == Some(Admission::Spare));
    if standing_by != spares {
        return Err(format!("{standing_by} spares stand by, {spares} are desired"));
    }
    let alive = site.alive().count();
    if alive != desired + spares {
        return Err(format!("{alive} replicas run, {} are desired", desired + spares));
    }
    if declared.spec.scale.vertical.as_ref().is_some_and(|vertical| vertical.mode == VerticalMode::Auto) {
        for (ordinal, life) in site.places().filter(|(_, life)| life.is_alive()) {
            let place = service.places.get(&ordinal);
            // The sizes of replicas keep being learned, so one may be resized at any time.
            let is_resizing =
                place.is_some_and(|place| matches!(place.resource_change, ResourceChange::InProgress { .. }));
            let known = place.and_then(|place| place.resources);
            if known != Some(life.resources) && !is_resizing {
                return Err(format!(
                    "replica {ordinal} may use {:?}, the loop believes {known:?}",
                    life.resources
                ));
            }
        }
    }
    let outdated = count_of(&|life| life.generation != declared.generation);
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
        return Err(format!("the proxy listens for revision {:?}, not for {wanted:?}", site.exposed));
    }
    Ok(())
}

/// The longest time that a replica takes to become ready without faults.
const STARTUP_MAX: Duration = Duration::from_mins(1);

/// Whether a service that is sized by the learned capacity of its replicas is being resized. The capacity keeps being learned without faults, too.
fn is_learning(now: Time, service: &ServiceState, declared: &Declared) -> bool {
    let acting = declared.autoscaler.as_ref().and_then(|acting| acting.policy.slo());
    let is_in_transition = |stage: &Stage| match stage {
        Stage::Running(health) => !health.ready && now.since(health.since) < STARTUP_MAX,
        Stage::Empty { .. } => false,
        Stage::Starting { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => true,
    };
    acting.is_some() && service.places.values().any(|place| is_in_transition(&place.stage))
}

fn check_withdrawn(service: Option<&ServiceState>, site: &Site) -> Result<(), String> {
    let alive = site.alive().count();
    if alive > 0 {
        return Err(format!("it is withdrawn, and {alive} replicas run"));
    }
    if site.exposed.is_some() {
        return Err("it is withdrawn, and the proxy listens for it".to_owned());
    }
    if service.is_some() {
        return Err("it is withdrawn, and the loop still knows it".to_owned());
    }
    Ok(())
}
