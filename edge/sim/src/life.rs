//! One life of a replica, as it truly is.

use std::time::Duration;

use model::action::Admission;
use model::identity::{ActionId, Generation, Incarnation};
use model::input::{Exit, ReplicaState};
use model::latency::LATENCY_CLASSES;
use model::resource::Resources;
use model::time::Time;

use crate::program::Program;

/// One life of a replica, as it truly is.
#[derive(Debug)]
pub struct Life {
    /// Which life of its place.
    pub incarnation: Incarnation,
    /// What it runs.
    pub generation: Generation,
    /// The action that began it.
    pub started_by: ActionId,
    /// Where it is in its life cycle.
    pub state: LifeState,
    /// The traffic that the proxy gives it; `None` until the proxy has received an instruction, and then it gives none.
    pub admission: Option<Admission>,
    /// The action that set `admission`.
    pub(crate) admitted_by: ActionId,
    /// Since when it hangs; `None` while it does not.
    pub(crate) hung_since: Option<Time>,
    /// Whether it reports that it is not ready.
    pub(crate) is_unready: bool,
    /// Whether the agent probes it.
    pub(crate) is_probed: bool,
    /// The latest results of the agent's probes.
    pub(crate) seen: Probed,
    /// Whether it ignores its stop signal.
    pub(crate) is_deaf: bool,
    /// The stops that wait for its end.
    pub(crate) stoppers: Vec<ActionId>,
    /// What it may use, as the platform has it.
    pub resources: Resources,
    /// The action that set `resources`.
    pub(crate) allotted_by: ActionId,
    pub(crate) program: Program,
    pub(crate) begun_at: Time,
    /// When it was first up.
    pub(crate) up_since: Option<Time>,
    /// Until when the proxy ejects it; in the past when it is not ejected.
    pub(crate) ejected_until: Time,
    /// Unique over all lives of the world, whatever their incarnations.
    pub(crate) serial: u64,
    pub(crate) work: Work,
}

/// The states of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeState {
    /// Requested; its program does not run yet.
    Execing,
    /// Its program runs and has not begun its work.
    Booting,
    /// At work.
    Up,
    /// It has its stop signal.
    Stopping,
    /// It has ended.
    Ended {
        /// How.
        exit: Exit,
        /// When.
        at: Time,
    },
}

/// The results of the agent's probes of a life that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) ready: bool,
    pub(crate) live: bool,
}

/// What a life has done and has to do, requests in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// Requests that wait for it or are being answered.
    pub(crate) backlog_milli: u64,
    /// Of the last tick's requests, those that were being answered at its end.
    pub(crate) answering: u32,
    pub(crate) answered_milli: u64,
    pub(crate) errors: u64,
    pub(crate) cpu_us: u64,
    pub(crate) last_latency_us: u64,
    /// By latency class, where the service has a latency SLO.
    pub(crate) timed_milli: [u64; LATENCY_CLASSES],
    /// It has been routed to.
    pub(crate) was_routed_to: bool,
}

impl Life {
    /// Changes what it may use; a resource that is not named keeps its limit.
    pub(crate) fn allot(&mut self, by: ActionId, resources: Resources) {
        let Resources { cpu, memory } = resources;
        self.allotted_by = by;
        self.resources =
            Resources { cpu: cpu.or(self.resources.cpu), memory: memory.or(self.resources.memory) };
        if let Some(cpu) = cpu {
            self.program.cpu_limit_milli = u64::try_from(cpu.milli()).unwrap_or(0).max(1);
        }
    }

    /// Whether a process of it runs, or is about to.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, LifeState::Ended { .. })
    }

    /// Whether it would answer a request now.
    pub fn is_well(&self) -> bool {
        self.state == LifeState::Up && self.hung_since.is_none() && !self.is_unready
    }

    /// Whether the proxy may route a request to it.
    pub fn is_routed(&self) -> bool {
        self.weight() > 0
    }

    /// Whether its probes say that it is ready and live.
    pub fn is_seen_well(&self) -> bool {
        self.state == LifeState::Up && self.seen.ready && self.seen.live
    }

    /// Its share in the traffic.
    pub(crate) fn weight(&self) -> u64 {
        match self.admission {
            Some(Admission::Serving { weight }) if self.state == LifeState::Up && self.seen.ready => {
                u64::from(weight)
            }
            Some(Admission::Serving { .. } | Admission::Draining | Admission::Spare) | None => 0,
        }
    }

    /// Whether the proxy ejects it.
    pub(crate) fn is_ejected(&self, now: Time) -> bool {
        now < self.ejected_until
    }

    /// Its share in the traffic while replicas that are not ejected are available.
    pub(crate) fn weight_around(&self, now: Time) -> u64 {
        if self.is_ejected(now) { 0 } else { self.weight() }
    }

    /// Requests that it has and has not answered, rounded up.
    pub fn in_flight(&self) -> u32 {
        let waiting = u32::try_from(self.work.backlog_milli.div_ceil(1000)).unwrap_or(u32::MAX);
        waiting.saturating_add(self.work.answering)
    }

    /// The same in thousandths, not rounded: for sums over replicas.
    pub fn in_flight_milli(&self) -> u64 {
        self.work.backlog_milli + u64::from(self.work.answering) * 1000
    }

    /// Its state as the agent reports it.
    pub(crate) fn observed(&self) -> ReplicaState {
        match self.state {
            LifeState::Execing | LifeState::Booting => ReplicaState::Starting,
            LifeState::Up => ReplicaState::Running { ready: self.seen.ready, live: self.seen.live },
            LifeState::Stopping => ReplicaState::Stopping,
            LifeState::Ended { exit, .. } => ReplicaState::Exited(exit),
        }
    }

    /// How long it has run.
    pub(crate) fn age(&self, now: Time) -> Duration {
        now.since(self.begun_at)
    }
}
