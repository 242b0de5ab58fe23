//! One place of a service, and the replica in it.

use std::sync::Arc;
use std::time::Duration;

use model::action::Admission;
use model::identity::{ActionId, Generation, Incarnation, Ordinal};
use model::input::Exit;
use model::memory::RestartMemory;
use model::plan::{Afterwards, Role};
use model::quantity::{Bytes, MilliCpu, MilliRps};
use model::resource::Resources;
use model::time::Time;

use crate::capacity::Watch;
use crate::series::Series;
use crate::throttle::Throttle;
use crate::usage::PartialSample;
use crate::warmup::WarmupWatch;

/// A place of a service: a number that one replica at a time fills.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whether its replica serves or is kept as a spare.
    pub role: Role,
    /// Where its replica is between start and stop.
    pub stage: Stage,
    /// The latest life in it; 0 before the first.
    pub incarnation: Incarnation,
    /// The action that started that life; of epoch 0 when an earlier run started it.
    pub begun_by: ActionId,
    /// The generation of the declaration that it runs.
    pub generation: Generation,
    /// The traffic that it was last told to get; `None` when only an earlier run knows.
    pub admission: Option<Admission>,
    /// Whose share of the traffic it carries besides its own, until that place serves again.
    pub stands_in_for: Option<Ordinal>,
    /// The resources that it may use; `None` while they are not known, as of a replica that an earlier run started.
    pub resources: Option<Resources>,
    /// How far a change of these resources has come.
    pub fitting: Fitting,
    /// Why the latest start failed, in a sentence; `None` when the program ran.
    pub start_failure: Option<Arc<str>>,
    /// Restarts and backoff.
    pub restart: RestartMemory,
    /// Processor time, in microseconds since the start of this life.
    pub cpu: Series,
    /// Memory in use, and when that was seen.
    pub memory: Option<(Time, Bytes)>,
    /// Measured only for vertical scaling and under a limit on the processor; boxed, as most replicas have neither.
    pub measured: Option<Box<OptionalMeasurements>>,
    /// The watch on its warm-up, while that goes on.
    pub warmup_watch: Option<Box<WarmupWatch>>,
    /// Requests since the start of this life.
    pub requests: Series,
    /// Those of them that failed by the replica's fault.
    pub errors: Series,
    /// When the proxy last reported it as ejected; zero when it never has.
    pub ejected_at: Time,
    /// Requests being answered, and when that was seen.
    pub in_flight: (Time, u32),
    /// The 99th percentile of the latency, as last reported.
    pub latency_p99: Duration,
    /// The largest of these within [`SLOWEST_HELD`], and when it was reported.
    pub slowest: (Time, Duration),
    /// Requests begun since the start of this life, answered or not; `None` without an SLO.
    pub asked: Option<Box<Series>>,
    /// The window in which its capacity is being measured; `None` while it is not.
    pub watch: Option<Box<Watch>>,
}

/// Measurements that only some lives have.
#[derive(Clone, Debug, Default)]
pub struct OptionalMeasurements {
    /// Its usage that has not been counted yet.
    pub(crate) partial_sample: PartialSample,
    /// How often its limit on the processor throttles it; `None` without a limit.
    pub(crate) throttle: Option<Throttle>,
}

/// How long the largest latency is kept: as long as the window of other metrics. The proxy reports four times a second, and some
/// reports cover no request.
pub(crate) const SLOWEST_HELD: Duration = Duration::from_secs(2);

/// How long a report of an ejection holds: the proxy repeats it every second for as long as it is true.
const EJECTED_HELD: Duration = Duration::from_secs(3);

/// Where the replica of a place is between start and stop. Each stage holds what only it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing runs.
    Empty {
        /// Since when.
        since: Time,
        /// How the last one ended; `None` when none has run yet, or when it was stopped on purpose.
        exit: Option<Exit>,
    },
    /// A start was sent; nothing has been seen of it yet.
    Starting {
        /// The action that starts it.
        action: ActionId,
        /// Since when.
        since: Time,
    },
    /// It runs.
    Running(Health),
    /// It runs, gets no new requests, and will be stopped.
    Draining {
        /// The action that takes it out of the traffic, until the proxy has answered it.
        admit: Option<UnansweredAction>,
        /// Since when.
        since: Time,
        /// When it is stopped even if requests are still open.
        deadline: Time,
        /// What becomes of the place.
        then: Afterwards,
    },
    /// It was told to stop.
    Stopping {
        /// The action that stops it.
        action: ActionId,
        /// Since when.
        since: Time,
        /// What becomes of the place.
        then: Afterwards,
    },
}

/// How far a change of a running replica's resources has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fitting {
    /// Nothing is being changed.
    Done {
        /// Since when it has been as it is.
        since: Time,
    },
    /// The platform was told, and has not answered yet.
    Telling {
        /// By which action.
        action: ActionId,
        /// The resources that it shall have.
        resources: Resources,
    },
    /// The platform could not.
    Failed {
        /// One sentence for people.
        message: Arc<str>,
        /// When to try again.
        retry: Time,
    },
    /// The platform cannot resize this life: only a successor can have another size.
    Fixed {
        /// One sentence for people.
        message: Arc<str>,
    },
}

/// An action that the proxy has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnansweredAction {
    /// The action.
    pub action: ActionId,
    /// Until when an answer is waited for.
    pub until: Time,
}

/// The health of a running replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// When it was first seen running.
    pub since: Time,
    /// Whether its startup probe has passed.
    pub begun: bool,
    /// Whether it may get traffic.
    pub ready: bool,
    /// When `ready` last changed; the time of its start when it never has.
    pub ready_changed: Time,
    /// Since when its liveness probe fails; `None` while it passes.
    pub sick_since: Option<Time>,
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
            begun_by: ActionId::default(),
            generation: Generation(0),
            admission: None,
            stands_in_for: None,
            resources: None,
            fitting: Fitting::Done { since },
            start_failure: None,
            restart: RestartMemory::default(),
            cpu: Series::default(),
            memory: None,
            measured: None,
            warmup_watch: None,
            requests: Series::default(),
            errors: Series::default(),
            ejected_at: Time::ZERO,
            in_flight: (Time::ZERO, 0),
            latency_p99: Duration::ZERO,
            slowest: (Time::ZERO, Duration::ZERO),
            asked: None,
            watch: None,
        }
    }

    /// Begins a new life: the measurements of the last one are forgotten. It begins at `now`, unless its begin is remembered.
    pub fn begin(
        &mut self,
        now: Time,
        incarnation: Incarnation,
        generation: Generation,
        (by, stage): (ActionId, Stage),
    ) {
        self.incarnation = incarnation;
        self.begun_by = by;
        if self.restart.incarnation != incarnation || self.restart.began == Time::ZERO {
            self.restart.began = now;
        }
        self.restart.incarnation = incarnation;
        self.generation = generation;
        self.stage = stage;
        self.resources = None;
        self.fitting = Fitting::Done { since: now };
        self.start_failure = None;
        self.cpu.clear();
        self.memory = None;
        self.measured = None;
        self.warmup_watch = None;
        self.requests.clear();
        self.errors.clear();
        self.ejected_at = Time::ZERO;
        self.in_flight = (Time::ZERO, 0);
        self.latency_p99 = Duration::ZERO;
        self.slowest = (Time::ZERO, Duration::ZERO);
        self.asked = None;
        self.watch = None;
    }

    /// How often its replica is throttled; `None` without a limit on the processor.
    pub fn throttle(&self) -> Option<&Throttle> {
        self.measured.as_ref()?.throttle.as_ref()
    }

    /// Whether it counts towards the number of replicas wanted: it serves, will serve, or is to be filled again.
    pub fn counts(&self) -> bool {
        self.role == Role::Active && !self.is_leaving()
    }

    /// Whether it is on its way out for good.
    pub fn is_leaving(&self) -> bool {
        matches!(
            self.stage,
            Stage::Draining { then: Afterwards::Close, .. } | Stage::Stopping { then: Afterwards::Close, .. }
        )
    }

    /// Whether a process may be running in it.
    pub fn is_occupied(&self) -> bool {
        !matches!(self.stage, Stage::Empty { .. })
    }

    /// The health of its replica, while that runs and is not being taken away.
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
        self.health().is_some_and(|health| health.ready && health.sick_since.is_none())
    }

    /// Whether the proxy has ejected its replica because requests failed.
    pub fn is_ejected(&self, now: Time) -> bool {
        self.ejected_at != Time::ZERO && now.since(self.ejected_at) < EJECTED_HELD
    }

    /// Whether its replica is starting, or runs and has never been ready yet.
    pub fn was_never_ready(&self) -> bool {
        match &self.stage {
            Stage::Starting { .. } => true,
            Stage::Running(health) => !health.ready && health.ready_changed == health.since,
            Stage::Empty { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => false,
        }
    }

    /// Whether it answers requests now.
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
