//! What goes into the loop: intent, memory, reports of sensors, outcomes of actions.

use std::sync::Arc;
use std::time::Duration;

use crate::action::Outcome;
use crate::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use crate::latency::Latencies;
use crate::measure::Measured;
use crate::memory::{LoadSource, Memory};
use crate::name::{NodeName, ServiceName};
use crate::plan::Allotment;
use crate::quantity::Bytes;
use crate::resource::{
    AutoscalerSpec, Bounds, ForecastMode, Forecasting, ObjectName, Resources, ServiceSpec, Slo,
};
use crate::settings::Settings;
use crate::time::{Time, Wall};

/// One input of the loop; it is journaled before the loop sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Begins a run: first of all inputs, exactly once.
    Started(Start),
    /// The loop's next deadline has come. Harmless when it has not.
    Woke,
    /// What people want has changed, or is given again after a start.
    Intent(Intent),
    /// What an earlier run remembered of a service; after the intent for it, and before the first inventory.
    Remembered(Arc<Memory>),
    /// A sensor has seen something.
    Report(Report),
    /// An action has ended, one way or the other.
    Ended {
        /// Which action.
        action: ActionId,
        /// How it ended.
        outcome: Outcome,
    },
}

/// What a run begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Larger than that of every earlier run.
    pub epoch: Epoch,
    /// The node that this run keeps.
    pub node: NodeName,
    /// Where every random stream of the run grows from.
    pub seed: u64,
    /// The numbers that the run decides by.
    pub settings: Arc<Settings>,
}

/// What people want of one service.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// The service shall be as declared; replaces what was declared before.
    Declare(Arc<Declared>),
    /// The service is withdrawn: its replicas are drained and stopped.
    Withdraw(ServiceName),
    /// The service shall have exactly so many replicas, whatever its load.
    Hold {
        /// The service meant.
        service: ServiceName,
        /// How many replicas.
        replicas: u32,
        /// When the hold ends by itself; `None` holds until released.
        until: Option<Time>,
    },
    /// The hold on the service ends.
    Release(ServiceName),
    /// The autoscaler of the service decides nothing: the number stays as it is, within its bounds.
    Pause {
        /// The service meant.
        service: ServiceName,
        /// When the pause ends by itself; `None` lasts until resumed.
        until: Option<Time>,
    },
    /// The autoscaler of the service decides again.
    Resume(ServiceName),
    /// A replica shall not be removed when its service shrinks.
    Protect {
        /// Which replica.
        replica: ReplicaId,
        /// Which life of it: the protection ends with that.
        incarnation: Incarnation,
        /// When the protection ends by itself.
        until: Time,
    },
    /// The replica may be removed again.
    Unprotect(ReplicaId),
}

impl Intent {
    /// The service that the intent is about.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Declare(declared) => &declared.name,
            Self::Withdraw(service)
            | Self::Hold { service, .. }
            | Self::Release(service)
            | Self::Pause { service, .. }
            | Self::Resume(service) => service,
            Self::Protect { replica, .. } | Self::Unprotect(replica) => &replica.service,
        }
    }
}

/// A service with everything that was declared for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Its name.
    pub name: ServiceName,
    /// Grows with each change of the declaration.
    pub revision: Generation,
    /// The revision in which the version that its replicas run was first declared; a replica of another generation is outdated.
    pub generation: Generation,
    /// As written by its owner.
    pub spec: ServiceSpec,
    /// Its autoscaler, from `spec.scale` or from a HorizontalPodAutoscaler that names it; `None` keeps a fixed count.
    pub autoscaler: Option<AutoscalerSpec>,
}

impl Declared {
    /// The same, with the resources of a replica as allotted to it.
    pub fn allotted(self: &Arc<Self>, allotment: Allotment) -> Arc<Self> {
        if allotment == Allotment::default() {
            return Arc::clone(self);
        }
        let mut changed = Self::clone(self);
        changed.spec.resources = allotment.instead_of(self.spec.resources);
        Arc::new(changed)
    }

    /// The bounds at `at`: those of the schedule, or else the usual ones. Holds and rest are not considered.
    pub fn bounds(&self, at: Wall) -> Bounds {
        self.usual_bounds().at(at, &self.spec.scale.schedule)
    }

    /// The bounds while no schedule says others.
    pub fn usual_bounds(&self) -> Bounds {
        self.autoscaler.as_ref().map_or_else(|| self.spec.scale.bounds(), AutoscalerSpec::bounds)
    }

    /// The SLO of the acting autoscaler, or of the first shadow that has one.
    pub fn promise(&self) -> Option<&Slo> {
        let acting = self.autoscaler.as_ref().and_then(|acting| acting.policy.slo());
        acting.or_else(|| self.spec.scale.promise())
    }

    /// The rule by which its load is forecast; `None` when it is not. A service that is sized by an SLO is forecast unless declared
    /// otherwise.
    pub fn foretold(&self) -> Option<Forecasting> {
        let mode = self.forecast_mode();
        let is_forecast = mode != ForecastMode::Off;
        is_forecast.then(|| self.spec.scale.forecast.clone().unwrap_or_else(|| Forecasting::of_mode(mode)))
    }

    /// What the forecast of its load is used for; [`ForecastMode::Off`] when none is made.
    pub fn forecast_mode(&self) -> ForecastMode {
        let promises = self.autoscaler.as_ref().is_some_and(|acting| acting.policy.slo().is_some());
        let usual = if promises { ForecastMode::On } else { ForecastMode::Off };
        self.spec.scale.forecast.as_ref().map_or(usual, |forecast| forecast.mode)
    }

    /// What is forecast as its load: the requests to its proxy, if it has one.
    pub fn load_source(&self) -> LoadSource {
        if self.spec.expose.is_some() { LoadSource::Requests } else { LoadSource::Need }
    }

    /// Its shadow autoscalers by name, each with the bounds that hold at `at`.
    pub fn shadows(&self, at: Wall) -> impl Iterator<Item = (ObjectName, AutoscalerSpec)> {
        self.usual_shadows().map(move |(name, spec)| {
            let Bounds { min, max } = spec.bounds().at(at, &self.spec.scale.schedule);
            (name, AutoscalerSpec { min, max, ..spec })
        })
    }

    /// Its shadow autoscalers by name, each with its usual bounds. A forecast in mode `shadow` is one of them: the acting autoscaler
    /// with that forecast.
    pub fn usual_shadows(&self) -> impl Iterator<Item = (ObjectName, AutoscalerSpec)> {
        let acting = self.autoscaler.as_ref();
        // All were checked when they were declared. If the autoscaler was deleted since, a shadow of it may be left without metrics.
        let own = self.spec.scale.shadows.iter();
        let own =
            own.map(move |shadow| Some((shadow.name.clone(), shadow.to_spec(&self.name, acting).ok()?)));
        let is_shadow = self.forecast_mode() == ForecastMode::Shadow;
        let foretold = acting.filter(|_| is_shadow).map(|acting| (ObjectName::forecast(), acting.clone()));
        own.flatten().chain(foretold)
    }
}

/// What a sensor saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Every replica on the node, alive or just ended; a replica that is missing from it does not exist.
    Inventory {
        /// The node that was looked at.
        node: NodeName,
        /// The latest action that had reached the node by then. A replica whose start came later may exist by now.
        up_to: ActionId,
        /// The replicas, in no order.
        replicas: Vec<Observed>,
    },
    /// One replica, because something about it has changed.
    Replica(Observed),
    /// Processor time and memory of replicas, sampled at one moment.
    Usage(Vec<Usage>),
    /// The proxy's counters of every replica that it routes to or drains.
    Traffic(Vec<Traffic>),
    /// Latencies of the replicas of services that promise one.
    Latencies(Vec<Latencies>),
    /// Requests to services as a whole, with or without replicas: of services that may rest, or whose load is forecast.
    Demand(Vec<Demand>),
    /// What sources of metrics have measured.
    Measured(Vec<Measured>),
    /// The resources that running replicas may use, where their platform reports them.
    Allotted(Vec<Allotted>),
    /// The replicas that the proxy has ejected because their requests failed; repeated every second while there are any.
    Ejected(Vec<Ejected>),
}

/// A replica that the proxy has ejected for a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ejected {
    /// Which replica.
    pub replica: ReplicaId,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// The resources that a running replica may use, as its platform reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allotted {
    /// Which replica.
    pub replica: ReplicaId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What it may use; what is not named it may use without a limit.
    pub resources: Resources,
}

/// A replica as its agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Which place it fills.
    pub replica: ReplicaId,
    /// Which life of that place.
    pub incarnation: Incarnation,
    /// The generation of the service that it runs.
    pub generation: Generation,
    /// How it is.
    pub state: ReplicaState,
}

/// How a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaState {
    /// Its process runs; the startup probe has not passed yet.
    Starting,
    /// Its process runs and has begun its work.
    Running {
        /// Whether it may get traffic.
        ready: bool,
        /// Whether its liveness probe passes; `true` when it has none.
        live: bool,
    },
    /// It is being stopped and has not ended yet.
    Stopping,
    /// It has ended.
    Exited(Exit),
}

/// How a replica ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// What the kernel says of it.
    pub status: ExitStatus,
    /// Whether the kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// From exec to end.
    pub ran_for: Duration,
}

/// What the kernel says of an ended process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Not known: an adopted replica is no child of ours, and the kernel tells only parents.
    Unknown,
}

/// Processor time and memory of one replica at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Which replica.
    pub replica: ReplicaId,
    /// Which life of it: counters start anew with each.
    pub incarnation: Incarnation,
    /// Processor time spent since its start, user and system, all its processes.
    pub cpu_time: Duration,
    /// Memory in use now, all its processes.
    pub memory: Bytes,
    /// How often it was throttled; `None` without a limit of the processor, and before it has run under one.
    pub throttling: Option<Throttling>,
}

/// How often a replica was throttled since its start: in each window of the kernel it may use so much processor time, and waits
/// for the next window when that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Throttling {
    /// Windows in which it ran.
    pub windows: u64,
    /// Of those, the ones in which it was throttled.
    pub throttled: u64,
    /// How long it was throttled, summed over the processors that it would have run on.
    pub waited: Duration,
}

/// The proxy's counters of one service, from when it began to listen for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    /// The service asked for.
    pub service: ServiceName,
    /// Requests that came.
    pub requests: u64,
    /// Requests that wait for a replica now.
    pub waiting: u32,
    /// Requests that are being answered now, tunnels included.
    pub in_flight: u32,
}

/// The proxy's counters of one replica, from the start of that replica's life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Traffic {
    /// The service asked for.
    pub service: ServiceName,
    /// The replica that was asked.
    pub ordinal: Ordinal,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Requests answered, whatever the status.
    pub requests: u64,
    /// Of those, answered with a status of 500 or above, or not answered.
    pub errors: u64,
    /// Being answered now.
    pub in_flight: u32,
    /// The 99th percentile of the last window, as the proxy's histogram has it.
    pub latency_p99: Duration,
}
