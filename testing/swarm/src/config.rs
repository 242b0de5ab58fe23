//! The world of a seed: services, loads and faults, drawn at random.

mod declared;
mod drawn;

use std::fmt;
use std::time::Duration;

use model::chance::Stream;
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::resource::{
    Behavior, DependencyStage, Flaps, Forecasting, Recover, Remove, ScaleMode, ScalePolicy, Schedule, Shadow,
    Sizes, Stop, ToZero, Vertical,
};
use sim::{Fault, Faults, Load, Program};

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The seed of all random draws.
    pub seed: u64,
    /// The simulated time of the run.
    pub span: Duration,
    /// How often each fault happens while faults are on.
    pub faults: Faults,
    /// The services.
    pub services: Vec<ServiceConfig>,
    /// Whether orchestrator, agent and proxy are one process.
    pub is_one_process: bool,
    /// Whether an operator changes declarations, holds and withdraws.
    pub has_operator: bool,
}

/// What is left out of a seed's configuration, to find what a failure depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// Faults that do not happen.
    pub without: Vec<Fault>,
    /// The number of services to keep; `None` keeps all.
    pub services: Option<usize>,
    /// Whether there is no operator.
    pub no_operator: bool,
}

/// One service of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Its name.
    pub name: ServiceName,
    /// How its size is determined.
    pub kind: Kind,
    /// What happens to the traffic of a lost replica.
    pub recover: Recover,
    /// The service that it depends on.
    pub needs: Option<(ServiceName, DependencyStage)>,
    /// Whether the proxy listens for it.
    pub is_exposed: bool,
    /// When it is scaled to zero; `None` for never.
    pub to_zero: Option<ToZero>,
    /// Its shadow autoscalers.
    pub shadows: Vec<Shadow>,
    /// How the number of replicas is derived from measurements; without effect where its size is declared.
    pub policy: ScalePolicy,
    /// The mode of its autoscaler.
    pub mode: ScaleMode,
    /// How the size of its replicas is learned.
    pub vertical: Option<Vertical>,
    /// The times at which other bounds apply.
    pub schedule: Vec<Schedule>,
    /// The numbers of replicas that it may have.
    pub sizes: Option<Sizes>,
    /// Which replica is removed first by a scale-in.
    pub remove: Remove,
    /// How often the direction of scaling may change.
    pub flaps: Option<Flaps>,
    /// The forecast of its load.
    pub forecast: Option<Forecasting>,
    /// How a replica is stopped.
    pub stop: Stop,
    /// How it behaves.
    pub program: Program,
    /// The requests that it gets.
    pub load: Load,
}

/// How the size of a service is determined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is declared.
    Fixed {
        /// How many replicas.
        replicas: u32,
    },
    /// By processor utilization.
    Cpu {
        /// Fewest replicas.
        min: u32,
        /// Most replicas.
        max: u32,
        /// Per cent of what a replica may use.
        percent: u32,
        /// How fast the number may change.
        behavior: Option<Behavior>,
    },
    /// By requests per second and replica.
    RequestRate {
        /// Fewest replicas.
        min: u32,
        /// Most replicas.
        max: u32,
        /// Requests a second for each replica.
        average: u32,
    },
    /// By requests per second and replica, as a source outside the proxy measures them.
    OfferedLoad {
        /// Fewest replicas.
        min: u32,
        /// Most replicas.
        max: u32,
        /// Requests a second for each replica.
        average: u32,
    },
}

impl Config {
    /// The configuration of a seed, without the exclusions.
    pub fn of_seed(seed: u64, span: Duration, exclusions: &Exclusions) -> Self {
        let mut services = drawn::services(seed);
        if let Some(most) = exclusions.services {
            services.truncate(most.max(1));
        }
        let faults = drawn::faults(&mut Stream::named(seed, "faults"));
        let faults = exclusions.without.iter().fold(faults, |faults, fault| faults.with(*fault, 0));
        let mut chance = Stream::named(seed, "manner");
        let is_one_process = chance.happens(300);
        let has_operator = chance.happens(700) && !exclusions.no_operator;
        Self { seed, span, faults, services, is_one_process, has_operator }
    }

    /// Whether no fault ever happens.
    pub fn is_faultless(&self) -> bool {
        self.faults.kinds().next().is_none()
    }
}

impl Exclusions {
    /// The command-line arguments that give the same configuration.
    pub fn arguments(&self) -> String {
        let mut arguments = String::new();
        if !self.without.is_empty() {
            let names: Vec<_> = self.without.iter().map(|fault| fault.name()).collect();
            arguments += &format!(" --without {}", names.join(","));
        }
        if let Some(services) = self.services {
            arguments += &format!(" --services {services}");
        }
        if self.no_operator {
            arguments += " --no-operator";
        }
        arguments
    }
}

impl ServiceConfig {
    /// A small service: two replicas with one core each, exposed, without load.
    pub fn plain(name: &str) -> Self {
        Self {
            name: ServiceName::parse(name).expect("a name in the code is a name"),
            kind: Kind::Fixed { replicas: 2 },
            recover: Recover::Reschedule,
            needs: None,
            is_exposed: true,
            to_zero: None,
            shadows: Vec::new(),
            policy: ScalePolicy::Hpa,
            mode: ScaleMode::On,
            vertical: None,
            schedule: Vec::new(),
            sizes: None,
            remove: Remove::HighestNumber,
            flaps: None,
            forecast: None,
            stop: Stop::default(),
            program: Program::default(),
            load: Load::Constant(MilliRps(0)),
        }
    }

    /// The target of its metric for each replica; 1 where its size is declared.
    fn target_per_replica(&self) -> u32 {
        match self.kind {
            Kind::Fixed { .. } => 1,
            Kind::Cpu { percent, .. } => percent,
            Kind::RequestRate { average, .. } | Kind::OfferedLoad { average, .. } => average,
        }
    }

    /// The bounds of its size.
    pub fn bounds(&self) -> (u32, u32) {
        match self.kind {
            Kind::Fixed { replicas } => (replicas, replicas),
            Kind::Cpu { min, max, .. }
            | Kind::RequestRate { min, max, .. }
            | Kind::OfferedLoad { min, max, .. } => (min, max),
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.span.as_secs() as f64 / 3600.0;
        writeln!(
            f,
            "seed {}, {hours} h, {}",
            self.seed,
            if self.is_one_process { "one process" } else { "an agent apart" }
        )?;
        writeln!(f, "operator: {}", if self.has_operator { "acts" } else { "none" })?;
        let faults: Vec<_> =
            self.faults.kinds().map(|fault| format!("{fault} {}", self.faults.rate(fault))).collect();
        writeln!(f, "faults: {}", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") })?;
        for service in &self.services {
            write!(f, "service {}: {:?}, {:?}", service.name, service.kind, service.recover)?;
            if !service.policy.is_hpa() {
                write!(f, ", {:?}", service.policy)?;
            }
            if let Some((needs, stage)) = &service.needs {
                write!(f, ", needs {needs} {stage:?}")?;
            }
            if let Some(sizes) = &service.sizes {
                write!(f, ", only {sizes}")?;
            }
            writeln!(f, ", load {}", shape(&service.load))?;
        }
        Ok(())
    }
}

fn shape(load: &Load) -> String {
    match load {
        Load::Constant(rate) => rate.to_string(),
        Load::Diurnal { base, peak, period } => {
            format!("{base} to {peak} every {} min", period.as_secs() / 60)
        }
        Load::FlashSale { base, peak, hold, .. } => {
            format!("{base}, once {peak} for {} min", hold.as_secs() / 60)
        }
        Load::Trace { every, points, .. } => {
            format!("a trace of {} points, {} min each", points.len(), every.as_secs() / 60)
        }
    }
}
