//! What happens to lives, by themselves, by faults, or because they were asked to end.

use std::time::Duration;

use model::identity::ReplicaId;
use model::input::{Exit, ExitStatus};
use model::time::Time;

use super::{Node, ordinal_of};
use crate::effect::{Cause, Effect};
use crate::fabric::{Fabric, LifeEvent, LifeKey, SimEvent, befalls};
use crate::fault::Fault;
use crate::life::{LifeState, Probed};
use crate::program::Defect;

/// From a hang to what the probes make of it: three failures, a second apart.
const PROBES_NOTICE: Duration = Duration::from_secs(3);

impl Node {
    /// Something happens to a life; nothing when that life is over.
    pub(crate) fn befall(&mut self, fabric: &mut Fabric, which: LifeKey, what: LifeEvent) {
        let now = fabric.now;
        let Some(life) = self.living(which) else { return };
        let ran_for = life.age(now);
        match what {
            LifeEvent::Exec => self.exec(fabric, which),
            LifeEvent::Ready => {
                if life.state == LifeState::Booting {
                    life.state = LifeState::Up;
                    life.up_since = Some(now);
                    life.seen = Probed { ready: life.is_probed && life.is_well(), live: true };
                    self.report_life(fabric, which);
                }
            }
            LifeEvent::Probe => {
                let seen = Probed { ready: life.is_well(), live: life.hung_since.is_none() };
                if life.state == LifeState::Up && life.is_probed && seen != life.seen {
                    life.seen = seen;
                    self.report_life(fabric, which);
                }
            }
            LifeEvent::Recovers => {
                life.hung_since = None;
                life.is_unready = false;
                fabric.after(Duration::from_secs(1), SimEvent::InLife { which, what: LifeEvent::Probe });
            }
            LifeEvent::Ends(exit) => self.end(fabric, which, Exit { ran_for, ..exit }, Cause::Itself),
            LifeEvent::Obeys => {
                let exit = Exit { status: ExitStatus::Code(0), out_of_memory: false, ran_for };
                self.end(fabric, which, exit, Cause::Asked);
            }
            LifeEvent::Killed => {
                let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for };
                self.end(fabric, which, exit, Cause::Asked);
            }
        }
    }

    fn exec(&mut self, fabric: &mut Fabric, which: LifeKey) {
        let Some(life) = self.living(which).filter(|life| life.state == LifeState::Execing) else { return };
        life.state = LifeState::Booting;
        let by = life.begun_by;
        let (least, most) = life.program.boot;
        let chance = &mut fabric.random.lives;
        let mut boot = chance.span(least, most);
        if befalls(&fabric.faults, Fault::Slow, chance) {
            boot *= 10;
        }
        let event = match life.program.defect {
            Defect::None => Some((boot, LifeEvent::Ready)),
            Defect::NeverReady => None,
            Defect::Ends { code, after } => {
                let status = ExitStatus::Code(code);
                let exit = Exit { status, out_of_memory: false, ran_for: after };
                if boot < after {
                    fabric.after(boot, SimEvent::InLife { which, what: LifeEvent::Ready });
                }
                Some((after, LifeEvent::Ends(exit)))
            }
        };
        if let Some((span, what)) = event {
            fabric.after(span, SimEvent::InLife { which, what });
        }
        self.finish(fabric, by);
        self.report_life(fabric, which);
    }

    fn end(&mut self, fabric: &mut Fabric, which: LifeKey, exit: Exit, cause: Cause) {
        let now = fabric.now;
        let Some(life) = self.living(which) else { return };
        let cut_off = life.in_flight();
        // Whoever asked for the end has it, even when the replica ended by itself meanwhile.
        let cause = if life.state == LifeState::Stopping { Cause::Asked } else { cause };
        let was_execing = life.state == LifeState::Execing;
        life.state = LifeState::Ended { exit, at: now };
        life.work.backlog_milli = 0;
        life.work.answering = 0;
        let incarnation = life.incarnation;
        let begun_by = life.begun_by;
        let stoppers = std::mem::take(&mut life.stoppers);
        let site = &mut self.sites[which.site];
        match cause {
            Cause::Itself => site.tally.lost_in_crashes += u64::from(cut_off),
            Cause::Asked => site.tally.cut_off += u64::from(cut_off),
        }
        let replica = ReplicaId { service: site.name.clone(), ordinal: ordinal_of(which) };
        fabric.effects.push(Effect::Ended { replica, incarnation, exit, cause, cut_off });
        self.report_life(fabric, which);
        if was_execing {
            self.finish(fabric, begun_by);
        }
        for stopper in stoppers {
            self.finish(fabric, stopper);
        }
    }

    /// A life begins to hang; `recovery` is when it answers again, if ever.
    pub(crate) fn hang(&mut self, fabric: &mut Fabric, which: LifeKey, recovery: Option<Duration>) {
        let now = fabric.now;
        let Some(life) = self.living(which).filter(|life| life.state == LifeState::Up) else { return };
        life.hung_since.get_or_insert(now);
        fabric.after(PROBES_NOTICE, SimEvent::InLife { which, what: LifeEvent::Probe });
        if let Some(span) = recovery {
            fabric.after(span, SimEvent::InLife { which, what: LifeEvent::Recovers });
        }
    }

    /// A life says for a while that it is not ready.
    pub(crate) fn flap(&mut self, fabric: &mut Fabric, which: LifeKey, span: Duration) {
        let Some(life) = self.living(which).filter(|life| life.state == LifeState::Up) else { return };
        life.is_unready = true;
        fabric.after(Duration::from_secs(1), SimEvent::InLife { which, what: LifeEvent::Probe });
        fabric.after(span, SimEvent::InLife { which, what: LifeEvent::Recovers });
    }

    /// The proxy goes around a life for a while, unless it goes around another one of its service already.
    pub(crate) fn eject(&mut self, now: Time, which: LifeKey, span: Duration) {
        let site = self.sites.get(which.site);
        if site.is_none_or(|site| site.ejected(now).next().is_some()) {
            return;
        }
        if let Some(life) = self.living(which).filter(|life| life.is_routed()) {
            life.ejected_until = now + span;
        }
    }

    /// The agent and the proxy die with the orchestrator, in one process: what they were told is gone; the replicas run on.
    pub(crate) fn forget_what_was_told(&mut self) {
        for site in &mut self.sites {
            site.exposed = None;
            site.waiting_milli = 0;
            for life in site.lives.iter_mut().flatten() {
                life.admission = None;
                life.is_probed = false;
                life.ejected_until = Time::ZERO;
                // Whoever waited for an answer through the proxy waits for nothing now.
                (life.work.backlog_milli, life.work.answering) = (0, 0);
                life.seen = Probed { ready: false, live: true };
            }
        }
    }
}
