//! Applies events to lives: those of their own, faults, and stops.

use std::time::Duration;

use model::identity::ReplicaId;
use model::input::{Exit, ExitStatus};
use model::time::Time;

use super::{Node, ordinal_of};
use crate::effect::{Cause, Effect};
use crate::environment::{Environment, LifeEvent, LifeKey, SimEvent, occurs};
use crate::fault::Fault;
use crate::life::{LifeState, Probed};
use crate::program::Defect;

/// From the beginning of a hang until the probes report it: three failures, a second apart.
const PROBES_NOTICE: Duration = Duration::from_secs(3);

impl Node {
    /// Applies an event to a life; does nothing when that life has ended.
    pub(crate) fn apply_life_event(&mut self, environment: &mut Environment, key: LifeKey, event: LifeEvent) {
        let now = environment.now;
        let Some(life) = self.alive_life(key) else { return };
        let ran_for = life.age(now);
        match event {
            LifeEvent::Exec => self.exec(environment, key),
            LifeEvent::Ready => {
                if life.state == LifeState::Booting {
                    life.state = LifeState::Up;
                    life.up_since = Some(now);
                    life.seen = Probed { ready: life.is_probed && life.is_well(), live: true };
                    self.report_life(environment, key);
                }
            }
            LifeEvent::Probe => {
                let seen = Probed { ready: life.is_well(), live: life.hung_since.is_none() };
                if life.state == LifeState::Up && life.is_probed && seen != life.seen {
                    life.seen = seen;
                    self.report_life(environment, key);
                }
            }
            LifeEvent::Recovers => {
                life.hung_since = None;
                life.is_unready = false;
                environment.after(Duration::from_secs(1), SimEvent::InLife { key, event: LifeEvent::Probe });
            }
            LifeEvent::Ends(exit) => self.end(environment, key, Exit { ran_for, ..exit }, Cause::Itself),
            LifeEvent::Obeys => {
                let exit = Exit { status: ExitStatus::Code(0), out_of_memory: false, ran_for };
                self.end(environment, key, exit, Cause::Stopped);
            }
            LifeEvent::Killed => {
                let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for };
                self.end(environment, key, exit, Cause::Stopped);
            }
        }
    }

    fn exec(&mut self, environment: &mut Environment, key: LifeKey) {
        let Some(life) = self.alive_life(key).filter(|life| life.state == LifeState::Execing) else { return };
        life.state = LifeState::Booting;
        let by = life.started_by;
        let (least, most) = life.program.boot;
        let chance = &mut environment.random.lives;
        let mut boot = chance.span(least, most);
        if occurs(&environment.faults, Fault::Slow, chance) {
            boot *= 10;
        }
        let event = match life.program.defect {
            Defect::None => Some((boot, LifeEvent::Ready)),
            Defect::NeverReady => None,
            Defect::Ends { code, after } => {
                let status = ExitStatus::Code(code);
                let exit = Exit { status, out_of_memory: false, ran_for: after };
                if boot < after {
                    environment.after(boot, SimEvent::InLife { key, event: LifeEvent::Ready });
                }
                Some((after, LifeEvent::Ends(exit)))
            }
        };
        if let Some((span, event)) = event {
            environment.after(span, SimEvent::InLife { key, event });
        }
        self.finish(environment, by);
        self.report_life(environment, key);
    }

    fn end(&mut self, environment: &mut Environment, key: LifeKey, exit: Exit, cause: Cause) {
        let now = environment.now;
        let Some(life) = self.alive_life(key) else { return };
        let cut_off = life.in_flight();
        // The stop has succeeded, even when the replica ended by itself meanwhile.
        let cause = if life.state == LifeState::Stopping { Cause::Stopped } else { cause };
        let was_execing = life.state == LifeState::Execing;
        life.state = LifeState::Ended { exit, at: now };
        life.work.backlog_milli = 0;
        life.work.answering = 0;
        let incarnation = life.incarnation;
        let started_by = life.started_by;
        let stoppers = std::mem::take(&mut life.stoppers);
        let site = &mut self.sites[key.site];
        match cause {
            Cause::Itself => site.tally.lost_in_crashes += u64::from(cut_off),
            Cause::Stopped => site.tally.cut_off += u64::from(cut_off),
        }
        let replica = ReplicaId { service: site.name.clone(), ordinal: ordinal_of(key) };
        environment.effects.push(Effect::Ended { replica, incarnation, exit, cause, cut_off });
        self.report_life(environment, key);
        if was_execing {
            self.finish(environment, started_by);
        }
        for stopper in stoppers {
            self.finish(environment, stopper);
        }
    }

    /// A life begins to hang; `recovery` is when it answers again, if ever.
    pub(crate) fn hang(&mut self, environment: &mut Environment, key: LifeKey, recovery: Option<Duration>) {
        let now = environment.now;
        let Some(life) = self.alive_life(key).filter(|life| life.state == LifeState::Up) else { return };
        life.hung_since.get_or_insert(now);
        environment.after(PROBES_NOTICE, SimEvent::InLife { key, event: LifeEvent::Probe });
        if let Some(span) = recovery {
            environment.after(span, SimEvent::InLife { key, event: LifeEvent::Recovers });
        }
    }

    /// A life reports for a while that it is not ready.
    pub(crate) fn flap(&mut self, environment: &mut Environment, key: LifeKey, span: Duration) {
        let Some(life) = self.alive_life(key).filter(|life| life.state == LifeState::Up) else { return };
        life.is_unready = true;
        environment.after(Duration::from_secs(1), SimEvent::InLife { key, event: LifeEvent::Probe });
        environment.after(span, SimEvent::InLife { key, event: LifeEvent::Recovers });
    }

    /// The proxy ejects a life for a while, unless it already ejects another one of its service.
    pub(crate) fn eject(&mut self, now: Time, key: LifeKey, span: Duration) {
        let site = self.sites.get(key.site);
        if site.is_none_or(|site| site.ejected(now).next().is_some()) {
            return;
        }
        if let Some(life) = self.alive_life(key).filter(|life| life.is_routed()) {
            life.ejected_until = now + span;
        }
    }

    /// The agent and the proxy end with the orchestrator, in one process, and lose their state; the replicas run on.
    pub(crate) fn lose_agent_state(&mut self) {
        for site in &mut self.sites {
            site.exposed = None;
            site.waiting_milli = 0;
            for life in site.lives.iter_mut().flatten() {
                life.admission = None;
                life.is_probed = false;
                life.ejected_until = Time::ZERO;
                // Requests that waited in the proxy are lost.
                (life.work.backlog_milli, life.work.answering) = (0, 0);
                life.seen = Probed { ready: false, live: true };
            }
        }
    }
}
