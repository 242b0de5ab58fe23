//! One place of a service and the replica in it.

use std::sync::Arc;
use std::time::Duration;

use model::action::Admission;
use model::identity::{ActionId, Generation, Incarnation, Ordinal};
use model::input::Exit;
use model::memory::RestartMemory;
use model::plan::{AfterStop, Role};
use model::quantity::{Bytes, MilliCpu, MilliRps};
use model::reason::Reason;
use model::resource::Resources;
use model::time::Time;

use crate::capacity::CapacityWindow;
use crate::series::Series;
use crate::throttle::Throttle;
use crate::usage::PartialSample;
use crate::warmup::WarmupWatch;

/// A place of a service: a number that one replica at a time has.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whether its replica serves or is a spare.
    pub role: Role,
    /// The stage of its replica between start and stop.
    pub stage: Stage,
    /// Its latest life; 0 before the first.
    pub incarnation: Incarnation,
    /// The action that started that life; of epoch 0 when an earlier run started it.
    pub started_by: ActionId,
    /// The generation of the declaration that it runs.
    pub generation: Generation,
    /// The traffic that it was last admitted to; `None` when only an earlier run knows.
    pub admission: Option<Admission>,
    /// The place whose share of the traffic it carries besides its own, until that place serves again.
    pub stands_in_for: Option<Ordinal>,
    /// The resources that it may use; `None` while they are unknown, e.g. of a replica that an earlier run started.
    pub resources: Option<Resources>,
    /// The progress of a change of these resources.
    pub resource_change: ResourceChange,
    /// Why the latest start failed, in one sentence; `None` when the program ran.
    pub start_failure: Option<Arc<str>>,
    /// The version of the latest replica that has run in it; 0 while none has in this run of Homeostat.
    pub latest_run: Generation,
    /// Restarts and backoff.
    pub restart: RestartMemory,
    /// Processor time, in microseconds since the start of this life.
    pub cpu: Series,
    /// Memory in use, and when it was measured.
    pub memory: Option<(Time, Bytes)>,
    /// Measured only for vertical scaling and under a limit on the processor; boxed, as most replicas have neither.
    pub measured: Option<Box<OptionalMeasurements>>,
    /// How long it took from when it was first observed running until it was first ready; `None` before, and for a replica that an
    /// earlier run started.
    pub start_time: Option<Duration>,
    /// Its warm-up, while it is observed.
    pub warmup_watch: Option<Box<WarmupWatch>>,
    /// Requests since the start of this life.
    pub requests: Series,
    /// Those of them that failed because of the replica.
    pub errors: Series,
    /// When the proxy last reported it as ejected; zero when it never has.
    pub ejected_at: Time,
    /// Requests in flight, and when that was measured.
    pub in_flight: (Time, u32),
    /// The 99th percentile of the latency, as last reported.
    pub latency_p99: Duration,
    /// The largest of these within [`PEAK_LATENCY_HELD`], and when it was reported.
    pub peak_latency: (Time, Duration),
    /// Requests begun since the start of this life, answered or not; `None` without an SLO.
    pub begun_requests: Option<Box<Series>>,
    /// The window in which its capacity is being measured, if it is.
    pub capacity_window: Option<Box<CapacityWindow>>,
}

/// Measurements that only some replicas have.
#[derive(Clone, Debug, Default)]
pub struct OptionalMeasurements {
    /// Its usage that is not part of a sample yet.
    pub(crate) partial_sample: PartialSample,
    /// How often its processor limit throttles it; `None` without a limit.
    pub(crate) throttle: Option<Throttle>,
}

/// How long the largest latency is kept: the window of other metrics. The proxy reports four times a second, and some reports cover
/// no request.
pub(crate) const PEAK_LATENCY_HELD: Duration = Duration::from_secs(2);

/// A replica that ran for less had not been healthy.
const HEALTHY_RUN_MIN: Duration = Duration::from_secs(10);

/// How long a report of an ejection is valid: the proxy repeats it every second while the replica is ejected.
const EJECTED_HELD: Duration = Duration::from_secs(3);

/// The stage of the replica of a place between start and stop. Each variant holds what only it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No replica runs.
    Empty {
        /// Since when.
        since: Time,
        /// How the last one ended; `None` when none has run yet, or when Homeostat stopped it.
        exit: Option<Exit>,
    },
    /// A start was sent, and the replica has not been observed yet.
    Starting {
        /// The action that starts it.
        action: ActionId,
        /// Since when.
        since: Time,
        /// The life before, which counts again when the start is refused; 0 when it would be the first.
        previous: Incarnation,
    },
    /// It runs.
    Running(Health),
    /// It runs without new requests, and will be stopped.
    Draining {
        /// The action that removes it from the traffic, until the proxy has answered it.
        admit: Option<UnansweredAction>,
        /// Since when.
        since: Time,
        /// When it is stopped even if requests are still in flight.
        deadline: Time,
        /// What happens to the place afterwards.
        then: AfterStop,
    },
    /// It has been asked to stop.
    Stopping {
        /// The action that stops it.
        action: ActionId,
        /// Since when.
        since: Time,
        /// What happens to the place afterwards.
        then: AfterStop,
    },
}

/// The progress of a change of a running replica's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceChange {
    /// No change is in progress.
    Settled {
        /// Since when its resources have been as they are.
        since: Time,
    },
    /// The platform has been asked for it, and has not answered yet.
    InProgress {
        /// The action.
        action: ActionId,
    },
    /// The platform could not make the change; boxed, as that is rare.
    Failed(Box<FailedChange>),
    /// The platform cannot resize a running replica: only a successor can have another size.
    Unsupported {
        /// Why, in one sentence for people.
        message: Arc<str>,
    },
}

/// A change of a running replica's resources that the platform could not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedChange {
    /// Why, in one sentence for people.
    pub message: Arc<str>,
    /// When to try again.
    pub retry: Time,
}

/// An action that the proxy has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnansweredAction {
    /// The action.
    pub action: ActionId,
    /// When Homeostat stops waiting for the answer.
    pub until: Time,
}

/// The health of a running replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// When it was first observed running.
    pub since: Time,
    /// Whether its startup probe has passed.
    pub started: bool,
    /// Whether it may get traffic.
    pub ready: bool,
    /// When `ready` last changed; the same as `since` if never.
    pub ready_changed: Time,
    /// Since when its liveness probe has been failing; `None` while it passes.
    pub unhealthy_since: Option<Time>,
}

impl Stage {
    /// Whether the replica is being started or stopped by this action.
    pub fn awaits(&self, id: ActionId) -> bool {
        match self {
            Self::Starting { action, .. } | Self::Stopping { action, .. } => *action == id,
            Self::Empty { .. } | Self::Running(_) | Self::Draining { .. } => false,
        }
    }
}

impl Place {
    /// A place in which nothing has run yet.
    pub fn empty(role: Role, since: Time) -> Self {
        Self {
            role,
            stage: Stage::Empty { since, exit: None },
            incarnation: Incarnation(0),
            started_by: ActionId::default(),
            generation: Generation(0),
            admission: None,
            stands_in_for: None,
            resources: None,
            resource_change: ResourceChange::Settled { since },
            start_failure: None,
            latest_run: Generation(0),
            restart: RestartMemory::default(),
            cpu: Series::default(),
            memory: None,
            measured: None,
            start_time: None,
            warmup_watch: None,
            requests: Series::default(),
            errors: Series::default(),
            ejected_at: Time::ZERO,
            in_flight: (Time::ZERO, 0),
            latency_p99: Duration::ZERO,
            peak_latency: (Time::ZERO, Duration::ZERO),
            begun_requests: None,
            capacity_window: None,
        }
    }

    /// Begins a new life and forgets the measurements of the last one. It begins at `now` unless its begin is remembered.
    pub fn begin(
        &mut self,
        now: Time,
        incarnation: Incarnation,
        generation: Generation,
        (by, stage): (ActionId, Stage),
    ) {
        self.incarnation = incarnation;
        self.started_by = by;
        if self.restart.incarnation != incarnation || self.restart.began == Time::ZERO {
            self.restart.began = now;
        }
        self.restart.incarnation = incarnation;
        self.generation = generation;
        if let Stage::Running(_) = stage {
            self.latest_run = generation;
        }
        self.stage = stage;
        self.resources = None;
        self.resource_change = ResourceChange::Settled { since: now };
        self.start_failure = None;
        self.cpu.clear();
        self.memory = None;
        self.measured = None;
        self.start_time = None;
        self.warmup_watch = None;
        self.requests.clear();
        self.errors.clear();
        self.ejected_at = Time::ZERO;
        self.in_flight = (Time::ZERO, 0);
        self.latency_p99 = Duration::ZERO;
        self.peak_latency = (Time::ZERO, Duration::ZERO);
        self.begun_requests = None;
        self.capacity_window = None;
    }

    /// Whether a replica has run in it before.
    pub fn has_run(&self) -> bool {
        self.incarnation.0 > 0
    }

    /// Whether a start of `generation` in it is a restart: its latest life was of the same version. The first start of another version is none,
    /// so that a correction is not held up by the restarts of what it corrects.
    pub fn is_restart(&self, generation: Generation) -> bool {
        self.has_run() && self.generation == generation
    }

    /// Why it is empty: its replica ended, or could not be started. `None` otherwise.
    pub fn failure(&self) -> Option<Reason> {
        let Stage::Empty { exit, .. } = self.stage else { return None };
        let failed_start = || self.start_failure.clone().map(Reason::ActionFailed);
        exit.map(Reason::Exited).or_else(failed_start)
    }

    /// Whether its replica, which has ended, had been healthy: this was its first end since it was ready for some minutes, or since its
    /// declaration, and not soon after its start.
    pub fn had_been_healthy(&self) -> bool {
        let exit = if let Stage::Empty { exit, .. } = self.stage { exit } else { None };
        let has_ended_early = exit.is_some_and(|exit| exit.ran_for < HEALTHY_RUN_MIN);
        self.restart.recent.len() <= 1 && !has_ended_early
    }

    /// Begins a life whose start was sent.
    pub fn begin_start(
        &mut self,
        now: Time,
        incarnation: Incarnation,
        generation: Generation,
        action: ActionId,
    ) {
        let starting = Stage::Starting { action, since: now, previous: self.incarnation };
        self.begin(now, incarnation, generation, (action, starting));
    }

    /// Notes that the life whose start was sent runs, or has run. It is a restart if the one before it ran the same version.
    pub fn note_run(&mut self) {
        if self.latest_run == self.generation {
            self.restart.restarts = self.restart.restarts.saturating_add(1);
        }
        self.latest_run = self.generation;
    }

    /// Empties it after its start was refused: there has been no such life. Its number stays used.
    pub fn refuse_start(&mut self, now: Time) {
        let Stage::Starting { previous, .. } = self.stage else { return };
        self.incarnation = previous;
        self.stage = Stage::Empty { since: now, exit: None };
    }

    /// How often its replica is throttled; `None` without a processor limit.
    pub fn throttle(&self) -> Option<&Throttle> {
        self.measured.as_ref()?.throttle.as_ref()
    }

    /// Whether it counts towards the desired number of replicas: it serves, will serve or will be refilled.
    pub fn counts(&self) -> bool {
        self.role == Role::Active && !self.is_leaving()
    }

    /// Whether its replica is being stopped and the place closed.
    pub fn is_leaving(&self) -> bool {
        matches!(
            self.stage,
            Stage::Draining { then: AfterStop::Close, .. } | Stage::Stopping { then: AfterStop::Close, .. }
        )
    }

    /// Whether a process may be running in it.
    pub fn is_occupied(&self) -> bool {
        !matches!(self.stage, Stage::Empty { .. })
    }

    /// The health of its replica while that runs and is not being stopped.
    pub fn health(&self) -> Option<&Health> {
        match &self.stage {
            Stage::Running(health) => Some(health),
            Stage::Empty { .. }
            | Stage::Starting { .. }
            | Stage::Draining { .. }
            | Stage::Stopping { .. } => None,
        }
    }

    /// Whether it runs, is ready and passes its liveness probe.
    pub fn is_ready(&self) -> bool {
        self.health().is_some_and(|health| health.ready && health.unhealthy_since.is_none())
    }

    /// Whether it has been ready for at least `min_ready`, without interruption.
    pub fn is_available(&self, now: Time, min_ready: Duration) -> bool {
        self.available_at(min_ready).is_some_and(|at| at <= now)
    }

    /// When it will have been ready for `min_ready`; `None` while it is not ready.
    pub fn available_at(&self, min_ready: Duration) -> Option<Time> {
        self.health().filter(|_| self.is_ready()).map(|health| health.ready_changed + min_ready)
    }

    /// Whether the proxy has ejected its replica because of failed requests.
    pub fn is_ejected(&self, now: Time) -> bool {
        self.ejected_at != Time::ZERO && now.since(self.ejected_at) < EJECTED_HELD
    }

    /// Whether its replica has started or is starting, and has never been ready.
    pub fn was_never_ready(&self) -> bool {
        match &self.stage {
            Stage::Starting { .. } => true,
            Stage::Running(health) => !health.ready && health.ready_changed == health.since,
            Stage::Empty { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => false,
        }
    }

    /// Whether its replica answers requests now.
    pub fn is_serving(&self) -> bool {
        self.role == Role::Active && self.is_ready()
    }

    /// Processor share over the last `window`; `None` without two samples in it.
    pub fn cpu_share(&self, window: Duration) -> Option<MilliCpu> {
        let growth = self.cpu.growth(window)?;
        Some(MilliCpu::mean(Duration::from_micros(growth.by), growth.over))
    }

    /// Requests per second over the last `window`; `None` without two samples in it.
    pub fn request_rate(&self, window: Duration) -> Option<MilliRps> {
        let growth = self.requests.growth(window)?;
        Some(MilliRps::mean(growth.by, growth.over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A B-tree keeps eleven places in one node. With 640 bytes each that node fits into an allocation of 7 KiB; a little more costs 8 KiB,
    /// which is a hundred bytes for each replica of a service of ten.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn places_are_small() {
        assert!(size_of::<Place>() <= 640, "{}", size_of::<Place>());
    }
}
