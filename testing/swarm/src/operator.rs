//! An operator who declares, resizes, holds and withdraws services at random.

use std::time::Duration;

use model::chance::Stream;
use model::identity::{Generation, ReplicaId};
use model::input::Intent;
use model::resource::{ForecastMode, Schedule, VerticalMode};
use model::time::Time;
use sim::{Defect, Load, Simulation, Site};

use crate::config::{Config, Kind, ServiceConfig};

/// An operator with a set of services.
#[derive(Debug)]
pub(crate) struct Operator {
    chance: Stream,
    /// Random draws for pauses and protections: a stream of its own, so that worlds stay the same when these are changed.
    orders: Stream,
    /// Random draws for returning to an earlier version, likewise.
    rollbacks: Stream,
    services: Vec<ManagedService>,
}

/// One service of the operator, as it was declared last.
#[derive(Debug)]
struct ManagedService {
    config: ServiceConfig,
    revision: u64,
    /// The version that it runs.
    generation: u64,
    /// The newest version that it has run.
    newest: u64,
    is_declared: bool,
    /// Its schedules, suspended while the world converges.
    suspended_schedules: Vec<Schedule>,
    /// Its mode of vertical scaling, suspended while the world converges: otherwise a replica could be replaced at any time.
    suspended_vertical: Option<VerticalMode>,
    /// Whether its forecast acts otherwise; suspended while the world converges, because a recurring load is expected for hours.
    suspended_forecast: bool,
}

impl Operator {
    /// The operator of a world, before its first declaration.
    pub(crate) fn new(config: &Config) -> Self {
        let managed = |config: &ServiceConfig| ManagedService {
            config: config.clone(),
            revision: 0,
            generation: 0,
            newest: 0,
            is_declared: false,
            suspended_schedules: Vec::new(),
            suspended_vertical: None,
            suspended_forecast: false,
        };
        Self {
            chance: Stream::named(config.seed, "operator"),
            orders: Stream::named(config.seed, "operator's orders"),
            rollbacks: Stream::named(config.seed, "operator's ways back"),
            services: config.services.iter().map(managed).collect(),
        }
    }

    /// Declares every service, and starts its load.
    pub(crate) fn begin(&mut self, sim: &mut Simulation) {
        for managed in &mut self.services {
            sim.set_load(&managed.config.name, managed.config.load.clone());
            if matches!(managed.config.kind, Kind::OfferedLoad { .. }) {
                sim.set_source(&managed.config.name);
            }
            managed.redeclare(sim, Defect::None);
        }
    }

    /// The time until the next change.
    pub(crate) fn pause(&mut self) -> Duration {
        self.chance.span(Duration::from_mins(1), Duration::from_mins(20))
    }

    /// Changes something at random.
    pub(crate) fn act(&mut self, sim: &mut Simulation) {
        if self.orders.happens(300) {
            self.order(sim);
        }
        let index = usize::try_from(self.chance.below(self.services.len() as u64)).unwrap_or(0);
        let chance = &mut self.chance;
        let managed = &mut self.services[index];
        if !managed.is_declared {
            managed.redeclare(sim, Defect::None);
            return;
        }
        let service = managed.config.name.clone();
        match chance.below(8) {
            0 if self.rollbacks.happens(400) => managed.declare_previous(sim),
            0 => managed.redeclare(sim, Defect::None),
            1 => {
                let defect = match chance.below(3) {
                    0 => Defect::NeverReady,
                    1 => Defect::Ends { code: 78, after: Duration::from_millis(100) },
                    _ => Defect::Ends {
                        code: 1,
                        after: chance.span(Duration::from_millis(50), Duration::from_mins(1)),
                    },
                };
                managed.redeclare(sim, defect);
            }
            2 => {
                managed.config.kind = resized(&managed.config.kind, chance);
                if let (Kind::Fixed { replicas }, Some(_)) =
                    (&mut managed.config.kind, managed.config.to_zero)
                {
                    *replicas = (*replicas).max(1);
                }
                managed.declare_in_place(sim);
            }
            3 | 4 => {
                let replicas = u32::try_from(chance.below(9)).unwrap_or(0);
                let until = chance
                    .happens(600)
                    .then(|| sim.now() + chance.span(Duration::from_secs(30), Duration::from_mins(30)));
                sim.order(Intent::Hold { service, replicas, until });
            }
            5 => sim.order(Intent::Release(service)),
            6 => {
                managed.is_declared = false;
                sim.order(Intent::Withdraw(service));
            }
            _ => {
                let rate = managed.config.load.at(Time::from_millis(chance.below(1 << 40)));
                sim.set_load(&service, Load::Constant(rate));
            }
        }
    }

    /// Pauses an autoscaler or protects a replica, or undoes one of these.
    fn order(&mut self, sim: &mut Simulation) {
        let chance = &mut self.orders;
        let index = usize::try_from(chance.below(self.services.len() as u64)).unwrap_or(0);
        let managed = &self.services[index];
        if !managed.is_declared {
            return;
        }
        let service = managed.config.name.clone();
        let until = sim.now() + chance.span(Duration::from_secs(30), Duration::from_mins(30));
        match chance.below(4) {
            0 => sim.order(Intent::Pause { service, until: Some(until) }),
            1 => sim.order(Intent::Resume(service)),
            2 => {
                let site = sim.node().site(&service);
                let alive: Vec<_> = site.into_iter().flat_map(Site::places).collect();
                let Some(index) = chance.below(8).checked_rem(alive.len() as u64) else { return };
                let (ordinal, life) = alive[usize::try_from(index).unwrap_or(0)];
                let (replica, incarnation) = (ReplicaId { service, ordinal }, life.incarnation);
                sim.order(Intent::Protect { replica, incarnation, until });
            }
            _ => {
                let is_of_service = |replica: &&ReplicaId| replica.service == service;
                if let Some(replica) = sim.disk().protections.keys().find(is_of_service).cloned() {
                    sim.order(Intent::Unprotect(replica));
                }
            }
        }
    }

    /// Makes the world one in which the loop can converge: programs work, holds do not expire, loads and bounds are constant.
    ///
    /// Withdrawn services stay withdrawn.
    pub(crate) fn settle(&mut self, sim: &mut Simulation) {
        let now = sim.now();
        let protected: Vec<_> = sim.disk().protections.keys().cloned().collect();
        protected.into_iter().for_each(|replica| sim.order(Intent::Unprotect(replica)));
        for managed in &mut self.services {
            let service = managed.config.name.clone();
            sim.set_load(&service, Load::Constant(managed.config.load.at(now)));
            managed.suspended_schedules.append(&mut managed.config.schedule);
            if let Some(vertical) =
                managed.config.vertical.as_mut().filter(|_| !managed.config.program.is_resizable)
            {
                managed.suspended_vertical = Some(std::mem::take(&mut vertical.mode));
            }
            if let Some(forecast) = managed.config.forecast.as_mut().filter(|it| it.mode == ForecastMode::On)
            {
                forecast.mode = ForecastMode::Shadow;
                managed.suspended_forecast = true;
            }
            if managed.is_declared {
                sim.order(Intent::Resume(service.clone()));
                managed.redeclare(sim, Defect::None);
                if self.chance.happens(700) {
                    sim.order(Intent::Release(service));
                } else if let Some(Intent::Hold { service, replicas, until: Some(_) }) =
                    sim.disk().holds.get(&service)
                {
                    let forever = Intent::Hold { service: service.clone(), replicas: *replicas, until: None };
                    sim.order(forever);
                }
            }
        }
    }

    /// Restores the changing loads, and what [`Self::settle`] has suspended.
    pub(crate) fn resume(&mut self, sim: &mut Simulation) {
        for managed in &mut self.services {
            managed.config.schedule.append(&mut managed.suspended_schedules);
            let sized = managed.config.vertical.as_mut().zip(managed.suspended_vertical.take());
            let is_sized = sized.is_some();
            if let Some((vertical, mode)) = sized {
                vertical.mode = mode;
            }
            let suspended_forecast = std::mem::take(&mut managed.suspended_forecast);
            if let (Some(forecast), true) = (&mut managed.config.forecast, suspended_forecast) {
                forecast.mode = ForecastMode::On;
            }
            if managed.is_declared && (is_sized || suspended_forecast || !managed.config.schedule.is_empty())
            {
                managed.declare_in_place(sim);
            }
            sim.set_load(&managed.config.name, managed.config.load.clone());
        }
    }
}

impl ManagedService {
    /// Declares it with something new to run.
    fn redeclare(&mut self, sim: &mut Simulation, defect: Defect) {
        self.newest += 1;
        self.generation = self.newest;
        let program = sim::Program { defect, ..self.config.program.clone() };
        sim.set_program(&self.config.name, Generation(self.generation), program);
        self.declare_in_place(sim);
    }

    /// Declares it with the version before the present one.
    fn declare_previous(&mut self, sim: &mut Simulation) {
        self.generation = (self.generation - 1).max(1);
        self.declare_in_place(sim);
    }

    /// Declares it with nothing new to run.
    fn declare_in_place(&mut self, sim: &mut Simulation) {
        self.revision += 1;
        self.is_declared = true;
        let declared = self.config.declared(Generation(self.revision), Generation(self.generation));
        sim.order(Intent::Declare(declared));
    }
}

fn resized(kind: &Kind, chance: &mut Stream) -> Kind {
    let mut few = |most: u64| u32::try_from(chance.below(most)).unwrap_or(0);
    match kind {
        Kind::Fixed { .. } => Kind::Fixed { replicas: few(6) },
        Kind::Cpu { percent, behavior, .. } => {
            let min = 1 + few(3);
            Kind::Cpu { min, max: min + few(8), percent: *percent, behavior: behavior.clone() }
        }
        Kind::RequestRate { average, .. } => {
            let min = 1 + few(3);
            Kind::RequestRate { min, max: min + few(8), average: *average }
        }
        Kind::OfferedLoad { average, .. } => {
            let min = 1 + few(3);
            Kind::OfferedLoad { min, max: min + few(8), average: *average }
        }
    }
}
