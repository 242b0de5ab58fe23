//! Inputs of the loop: intent, remembered state, reports of sensors, outcomes of actions.

use std::hash::{Hash, Hasher};
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

/// One input of the loop; it is journaled before the loop processes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Begins a run: the first input, exactly once.
    Started(Start),
    /// The loop's next deadline has passed. No effect when it has not.
    Woke,
    /// The intent has changed, or is repeated after a start.
    Intent(Intent),
    /// State of a service that an earlier run persisted; comes after its intent, and before the first inventory.
    Remembered(Arc<Memory>),
    /// A sensor has reported something.
    Report(Report),
    /// An action has ended.
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
    /// The epoch; larger than that of every earlier run.
    pub epoch: Epoch,
    /// The node that this run manages.
    pub node: NodeName,
    /// The seed of all random streams of the run.
    pub seed: u64,
    /// The settings of the loop.
    pub settings: Arc<Settings>,
}

/// The intent of operators for one service.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Run the service as declared; replaces an earlier declaration.
    Declare(Arc<Declared>),
    /// Withdraw the service: its replicas are drained and stopped.
    Withdraw(ServiceName),
    /// Hold the service at exactly this many replicas, whatever its load.
    Hold {
        /// The service.
        service: ServiceName,
        /// How many replicas.
        replicas: u32,
        /// When the hold ends automatically; `None` holds until released.
        until: Option<Time>,
    },
    /// End the hold on the service.
    Release(ServiceName),
    /// Pause the autoscaler of the service: the number of replicas does not change, except to stay within its bounds.
    Pause {
        /// The service.
        service: ServiceName,
        /// When the pause ends automatically; `None` lasts until resumed.
        until: Option<Time>,
    },
    /// Resume the autoscaler of the service.
    Resume(ServiceName),
    /// Protect a replica from removal when its service scales in.
    Protect {
        /// Which replica.
        replica: ReplicaId,
        /// Its incarnation: the protection ends with it.
        incarnation: Incarnation,
        /// When the protection ends automatically.
        until: Time,
    },
    /// End the protection of the replica.
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

/// A service with everything that is declared for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: ServiceName,
    /// Grows with each change of the declaration.
    pub revision: Generation,
    /// The revision in which the version of its replicas was first declared; a replica of another generation is outdated.
    pub generation: Generation,
    /// As written by its owner.
    pub spec: ServiceSpec,
    /// Its autoscaler, from `spec.scale` or from a HorizontalPodAutoscaler that names it; `None` keeps a fixed count.
    pub autoscaler: Option<AutoscalerSpec>,
}

/// A declaration counts by its name and its revision, which differ from one to another.
impl Hash for Declared {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.name, self.revision).hash(hasher);
    }
}

impl Declared {
    /// The same declaration, with the resources of a replica replaced by `allotment`.
    pub fn with_allotment(self: &Arc<Self>, allotment: Allotment) -> Arc<Self> {
        if allotment == Allotment::default() {
            return Arc::clone(self);
        }
        let mut changed = Self::clone(self);
        changed.spec.resources = allotment.applied_to(self.spec.resources);
        Arc::new(changed)
    }

    /// How long a replica has to be ready before it counts as available for a rollout.
    pub fn min_ready(&self) -> Duration {
        self.spec.update.min_ready.into()
    }

    /// The bounds at `at`: those of the schedule, or else the usual ones. Holds and scaling to zero are not considered.
    pub fn bounds(&self, at: Wall) -> Bounds {
        self.usual_bounds().at(at, &self.spec.scale.schedule)
    }

    /// The bounds while no schedule changes them.
    pub fn usual_bounds(&self) -> Bounds {
        self.autoscaler.as_ref().map_or_else(|| self.spec.scale.bounds(), AutoscalerSpec::bounds)
    }

    /// The SLO of the acting autoscaler, or of the first shadow that has one.
    pub fn slo(&self) -> Option<&Slo> {
        let acting = self.autoscaler.as_ref().and_then(|acting| acting.policy.slo());
        acting.or_else(|| self.spec.scale.slo())
    }

    /// How its load is forecast; `None` when it is not. The load of a service that is sized by an SLO is forecast unless declared
    /// otherwise.
    pub fn forecasting(&self) -> Option<Forecasting> {
        let mode = self.forecast_mode();
        let is_forecast = mode != ForecastMode::Off;
        is_forecast.then(|| self.spec.scale.forecast.clone().unwrap_or_else(|| Forecasting::of_mode(mode)))
    }

    /// What the forecast of its load is used for; [`ForecastMode::Off`] when none is made.
    pub fn forecast_mode(&self) -> ForecastMode {
        let has_slo = self.autoscaler.as_ref().is_some_and(|acting| acting.policy.slo().is_some());
        let default = if has_slo { ForecastMode::On } else { ForecastMode::Off };
        self.spec.scale.forecast.as_ref().map_or(default, |forecast| forecast.mode)
    }

    /// What is forecast as its load: the requests to its proxy, if it has one; else the replicas that its metrics ask for.
    pub fn load_source(&self) -> LoadSource {
        if self.spec.expose.is_some() { LoadSource::Requests } else { LoadSource::Replicas }
    }

    /// Its shadow autoscalers by name, each with its bounds at `at`.
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
        // All were valid when they were declared. If the acting autoscaler was deleted since, a shadow of it may lack metrics.
        let declared = self.spec.scale.shadows.iter().filter_map(move |shadow| {
            let spec = shadow.to_spec(&self.name, acting).ok()?;
            Some((shadow.name.clone(), spec))
        });
        let is_shadow = self.forecast_mode() == ForecastMode::Shadow;
        let forecast = acting.filter(|_| is_shadow).map(|acting| (ObjectName::forecast(), acting.clone()));
        declared.chain(forecast)
    }
}

/// A report of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// All replicas on the node, running or just ended; a replica that is not listed does not exist.
    Inventory {
        /// The node.
        node: NodeName,
        /// The latest action that the node had carried out when the list was made. A replica whose start came later may exist.
        up_to: ActionId,
        /// The replicas, in no particular order.
        replicas: Vec<Observed>,
    },
    /// One replica whose state has changed.
    Replica(Observed),
    /// CPU time and memory of replicas, sampled at the same time.
    Usage(Vec<Usage>),
    /// The proxy's counters of every replica that it routes to or drains.
    Traffic(Vec<Traffic>),
    /// Latencies of the replicas of services with an SLO.
    Latencies(Vec<Latencies>),
    /// Requests to services as a whole, with or without replicas: for services that may scale to zero, or whose load is forecast.
    Demand(Vec<Demand>),
    /// Reports of metric sources.
    Measured(Vec<Measured>),
    /// The resources that running replicas may use, if their platform reports them.
    Allotted(Vec<Allotted>),
    /// The replicas that the proxy has ejected; repeated every second while there are any.
    Ejected(Vec<Ejected>),
}

/// A replica that the proxy has ejected temporarily.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ejected {
    /// Which replica.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// The resources that a running replica may use, as its platform reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allotted {
    /// Which replica.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The resources; those that are `None` are not limited.
    pub resources: Resources,
}

/// A replica as observed by its agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The service and the place.
    pub replica: ReplicaId,
    /// The incarnation.
    pub incarnation: Incarnation,
    /// The generation of the service that it runs.
    pub generation: Generation,
    /// Its state.
    pub state: ReplicaState,
}

/// The state of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaState {
    /// Its process runs, and the startup probe has not passed yet.
    Starting,
    /// Its process runs, and the startup probe has passed.
    Running {
        /// Whether it may get traffic.
        ready: bool,
        /// Whether its liveness probe passes; `true` when it has none.
        live: bool,
    },
    /// It is being stopped, and has not ended yet.
    Stopping,
    /// It has ended.
    Exited(Exit),
}

/// How a replica ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// The status that the kernel reports.
    pub status: ExitStatus,
    /// Whether the kernel killed it because memory ran out.
    pub out_of_memory: bool,
    /// The time from exec to exit.
    pub ran_for: Duration,
}

/// The status of an ended process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// Not known: an adopted replica is not a child process, and the kernel reports the status only to the parent.
    Unknown,
}

/// CPU time and memory of one replica at one time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Which replica.
    pub replica: ReplicaId,
    /// Its incarnation: counters start at zero with each.
    pub incarnation: Incarnation,
    /// CPU time since its start, user and system, of all its processes.
    pub cpu_time: Duration,
    /// Memory in use, of all its processes.
    pub memory: Bytes,
    /// How often it was throttled; `None` without a CPU limit, and before it has run under one.
    pub throttling: Option<Throttling>,
}

/// How often a replica was throttled since its start. Under a CPU quota it may use a limited CPU time in each period of the kernel, and
/// waits for the next period once that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Throttling {
    /// Periods in which it ran.
    pub windows: u64,
    /// Those of them in which it was throttled.
    pub throttled: u64,
    /// How long it was throttled, summed over CPUs.
    pub waited: Duration,
}

/// The proxy's counters of one service, since the proxy listens for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    /// The service.
    pub service: ServiceName,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests that are waiting for a replica.
    pub waiting: u32,
    /// Requests that are being answered, including tunnels.
    pub in_flight: u32,
}

/// The proxy's counters of one replica, since the start of its incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Traffic {
    /// The service.
    pub service: ServiceName,
    /// The place of the replica.
    pub ordinal: Ordinal,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Answered requests, with any status.
    pub requests: u64,
    /// Those of them with a status of 500 or above, or without an answer.
    pub errors: u64,
    /// Requests that are being answered.
    pub in_flight: u32,
    /// The 99th percentile of the latency over the proxy's last window.
    pub latency_p99: Duration,
}
