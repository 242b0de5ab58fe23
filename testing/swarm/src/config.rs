//! What a seed is about: services, loads and faults, drawn at random.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use model::chance::Stream;
use model::identity::Generation;
use model::input::Declared;
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::resource::hpa::shapes::CrossVersionObjectReference;
use model::resource::{
    AutoscalerSpec, Begins, Behavior, Brings, BurstPolicy, CompositePolicy, Cooldown, Count, Cron,
    Dependency, DependencyStage, Evaluation, Expose, Factor, Flaps, ForecastMode, Forecasting, Formula,
    FormulaPolicy, FormulaTarget, Fraction, KnownEvent, LEARNED_VERSION, LatencySlo, Leaning, LearnedPrice,
    ListenAddress, MeteredResource, MetricIdentifier, MetricSpec, ObjectName, Percent, PolicyChange,
    PortName, Probes, Quantile, Quantity, REQUEST_RATE_METRIC, Recover, Remove, ResourceTarget, Resources,
    Run, Scale, ScaleMode, ScalePolicy, ScaleStep, ScalingPolicy, ScalingRules, Schedule, SelectPolicy,
    ServiceSpec, Shadow, Sizes, Slo, Span, StepChange, StepPolicy, Stop, ToZero, TotalTarget, TrackingPolicy,
    Vertical, VerticalMode, WatermarkPolicy, Zone,
};
use sim::{ASKED_METRIC, Fault, Faults, Load, Program, Simulation};

/// Names for the services of a world, which are at most as many.
const NAMES: [&str; 4] = ["web", "shop", "cart", "db"];

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where all chance comes from.
    pub seed: u64,
    /// How long the world is watched.
    pub span: Duration,
    /// How often each fault happens while the weather is bad.
    pub faults: Faults,
    /// What runs.
    pub services: Vec<ServiceConfig>,
    /// Whether orchestrator, agent and proxy are one process.
    pub is_one_process: bool,
    /// Whether an operator changes declarations, holds and withdraws.
    pub has_operator: bool,
}

/// What is left out of a seed's own configuration, to find out what a failure needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Faults that do not happen.
    pub without: Vec<Fault>,
    /// Only so many services; `None` keeps all.
    pub services: Option<usize>,
    /// Nobody changes anything.
    pub no_operator: bool,
}

/// One service of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Its name.
    pub name: ServiceName,
    /// How its size is found.
    pub kind: Kind,
    /// What becomes of the traffic of a lost replica.
    pub recover: Recover,
    /// What it needs.
    pub needs: Option<(ServiceName, DependencyStage)>,
    /// Whether the proxy listens for it.
    pub is_exposed: bool,
    /// Whether it rests while nobody asks for anything.
    pub to_zero: Option<ToZero>,
    /// Autoscalers that are tried beside its own.
    pub shadows: Vec<Shadow>,
    /// How a number follows from what is measured; without effect where its size is declared.
    pub policy: ScalePolicy,
    /// How far its autoscaler is followed.
    pub mode: ScaleMode,
    /// What is learned of the size of its replicas.
    pub vertical: Option<Vertical>,
    /// Times at which other bounds hold.
    pub schedule: Vec<Schedule>,
    /// Which numbers of replicas it may have.
    pub sizes: Option<Sizes>,
    /// Who goes first when it shrinks.
    pub remove: Remove,
    /// How often its number may turn around.
    pub flaps: Option<Flaps>,
    /// What is forecast of its load.
    pub forecast: Option<Forecasting>,
    /// How a replica is stopped.
    pub stop: Stop,
    /// How it behaves.
    pub program: Program,
    /// What is asked of it.
    pub load: Load,
}

/// How the size of a service is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is declared.
    Fixed {
        /// How many replicas.
        replicas: u32,
    },
    /// Processor utilization is held.
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
    /// Requests a second and replica are held.
    RequestRate {
        /// Fewest replicas.
        min: u32,
        /// Most replicas.
        max: u32,
        /// Requests a second for each replica.
        average: u32,
    },
    /// Requests a second and replica are held, as a source outside the proxy measures them.
    Asked {
        /// Fewest replicas.
        min: u32,
        /// Most replicas.
        max: u32,
        /// Requests a second for each replica.
        average: u32,
    },
}

impl Config {
    /// The configuration of a seed, less what is cut.
    pub fn of_seed(seed: u64, span: Duration, cut: &Cut) -> Self {
        let mut chance = Stream::named(seed, "services");
        let count = usize::try_from(1 + chance.below(NAMES.len() as u64)).unwrap_or(1);
        let mut modes = Stream::named(seed, "modes");
        let mut schedules = Stream::named(seed, "schedules");
        let mut sizes = Stream::named(seed, "allowed sizes");
        let mut removals = Stream::named(seed, "removals");
        let mut services: Vec<ServiceConfig> = Vec::new();
        for name in NAMES.iter().take(count) {
            let mut service = ServiceConfig::random(&mut chance, name, &services);
            service.schedule = random_schedule(&mut schedules);
            service.mode = random_mode(&mut modes);
            service.sizes = random_sizes(&mut sizes);
            service.remove = random_removal(&mut removals);
            service.flaps = random_flaps(&mut removals);
            services.push(service);
        }
        // A stream of its own, so that the rest of a world is as it was without sources.
        let mut sources = Stream::named(seed, "metric sources");
        services.iter_mut().for_each(|service| service.may_be_measured(&mut sources));
        let mut policies = Stream::named(seed, "policies");
        services.iter_mut().for_each(|service| service.policy = random_policy(&mut policies, service.aim()));
        let mut shadows = Stream::named(seed, "shadows");
        for service in &mut services {
            let aim = service.aim();
            service.shadows = random_shadows(&mut shadows, aim);
        }
        let mut formulas = Stream::named(seed, "formulas");
        services.iter_mut().for_each(|service| service.may_be_computed(&mut formulas));
        let mut promises = Stream::named(seed, "promises");
        services.iter_mut().for_each(|service| service.may_promise(&mut promises));
        let mut sizes = Stream::named(seed, "vertical");
        services.iter_mut().for_each(|service| service.vertical = random_vertical(&mut sizes));
        let mut platforms = Stream::named(seed, "platforms");
        services.iter_mut().for_each(|service| service.program.is_fittable = platforms.happens(700));
        let mut forecasts = Stream::named(seed, "forecasts");
        services.iter_mut().for_each(|service| service.forecast = random_forecast(&mut forecasts));
        let mut warmups = Stream::named(seed, "warm-ups");
        services.iter_mut().for_each(|service| service.program.warmup = random_warmup(&mut warmups));
        if let Some(most) = cut.services {
            services.truncate(most.max(1));
        }
        let faults = random_faults(&mut Stream::named(seed, "faults"));
        let faults = cut.without.iter().fold(faults, |faults, fault| faults.with(*fault, 0));
        let mut manner = Stream::named(seed, "manner");
        let is_one_process = manner.happens(300);
        let has_operator = manner.happens(700) && !cut.no_operator;
        Self { seed, span, faults, services, is_one_process, has_operator }
    }

    /// Whether nothing ever goes wrong by itself.
    pub fn is_faultless(&self) -> bool {
        self.faults.kinds().next().is_none()
    }
}

impl Cut {
    /// The arguments of the command line that say the same.
    pub fn arguments(&self) -> String {
        let mut words = String::new();
        if !self.without.is_empty() {
            let names: Vec<_> = self.without.iter().map(|fault| fault.name()).collect();
            words += &format!(" --without {}", names.join(","));
        }
        if let Some(services) = self.services {
            words += &format!(" --services {services}");
        }
        if self.no_operator {
            words += " --no-operator";
        }
        words
    }
}

/// Each fault is on in some worlds only, so that none hides behind another; a tenth of the worlds has none at all.
fn random_faults(chance: &mut Stream) -> Faults {
    if chance.happens(100) {
        return Faults::default();
    }
    let mut faults = Faults::default();
    for fault in Fault::ALL {
        let (is_on, rate) = (chance.happens(400), chance.below(1000));
        // Of messages up to one in eight; of strikes up to one every five minutes, but for our own death.
        let most = match fault {
            Fault::Crash | Fault::OutOfMemory | Fault::Hang | Fault::Flap | Fault::Eject => 288,
            Fault::SharedStall | Fault::Blind | Fault::ClockStep => 96,
            Fault::KeeperDies => 144,
            Fault::Zombie | Fault::Deaf => 500,
            Fault::Lost
            | Fault::Late
            | Fault::Doubled
            | Fault::Slow
            | Fault::Unknown
            | Fault::Fails
            | Fault::WriteFails => 125,
        };
        if is_on {
            faults = faults.with(fault, u32::try_from(1 + rate * most / 1000).unwrap_or(1));
        }
    }
    faults
}

impl ServiceConfig {
    /// A small service that is as dull as can be: two replicas, one core each, exposed, without load.
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

    fn random(chance: &mut Stream, name: &str, others: &[Self]) -> Self {
        let mut service = Self::plain(name);
        let min = count(1 + chance.below(3));
        let max = min + count(1 + chance.below(8));
        service.program = random_program(chance);
        let capacity_milli_rps = 1_000_000 * service.program.cpu_limit_milli
            / u64::try_from(service.program.cost.as_micros()).unwrap_or(1).max(1)
            * 1000
            / 1000;
        service.kind = match chance.below(4) {
            0 => Kind::Fixed { replicas: count(chance.below(5)) },
            1 => Kind::RequestRate { min, max, average: count((capacity_milli_rps / 2000).max(1)) },
            _ => {
                let behavior = chance.happens(400).then(|| random_behavior(chance));
                Kind::Cpu { min, max, percent: 40 + count(chance.below(40)), behavior }
            }
        };
        service.recover = match chance.below(4) {
            0 => Recover::Standby { spares: 1 + count(chance.below(2)) },
            1 => Recover::MostActive,
            2 => Recover::Random,
            _ => Recover::Reschedule,
        };
        if !others.is_empty() && chance.happens(400) {
            let index = usize::try_from(chance.below(others.len() as u64)).unwrap_or(0);
            let stage = if chance.happens(500) { DependencyStage::Ready } else { DependencyStage::Started };
            service.needs = Some((others[index].name.clone(), stage));
        }
        service.is_exposed = chance.happens(850);
        // What the most replicas can carry at half of their capacity.
        let peak = MilliRps(capacity_milli_rps * u64::from(max) / 2 * chance.below(1000) / 1000);
        service.load = random_load(chance, peak);
        if service.is_exposed && chance.happens(250) {
            // It is asked now and then, or not at all; a request an hour would wake it for ever.
            let points = (0..48)
                .map(|_| chance.below(2) * MilliRps::max(peak, MilliRps(1000)).0)
                .map(MilliRps)
                .collect();
            service.load = Load::Trace {
                from: Simulation::begin(),
                every: Duration::from_mins(1 + chance.below(20)),
                points,
            };
            let (after, wait) = (Span::from_secs(30 + chance.below(600)), Span::from_secs(60));
            service.to_zero = Some(ToZero { after, wait });
            if let Kind::Fixed { replicas } = &mut service.kind {
                *replicas = (*replicas).max(1);
            }
        }
        service
    }

    /// Takes what is asked of it from a source instead of the proxy, now and then.
    fn may_be_measured(&mut self, chance: &mut Stream) {
        if let (Kind::RequestRate { min, max, average }, true) = (&self.kind, chance.happens(500)) {
            self.kind = Kind::Asked { min: *min, max: *max, average: *average };
        }
    }

    /// The declaration of it, at `revision`, running `generation`.
    pub fn declared(&self, revision: Generation, generation: Generation) -> Arc<Declared> {
        let port = PortName::parse("http").expect("a name in the code is a name");
        let listen = ListenAddress::parse("127.0.0.1:8080").expect("an address in the code is an address");
        let milli = |milli: u64| Quantity::from_milli(i64::try_from(milli).unwrap_or(i64::MAX));
        let expose = || Expose::new(listen, port.clone());
        let spec = ServiceSpec {
            run: Run {
                command: vec!["./sim".to_owned()],
                env: Default::default(),
                working_directory: None,
                user: None,
            },
            resources: Resources { cpu: Some(milli(self.program.cpu_limit_milli)), memory: None },
            ports: Vec::new(),
            probes: Probes::default(),
            scale: self.scale(),
            recover: self.recover,
            depends_on: self
                .needs
                .iter()
                .map(|(service, when)| Dependency { service: service.clone(), when: *when })
                .collect(),
            expose: self.is_exposed.then(expose),
            stop: self.stop,
        };
        Arc::new(Declared {
            name: self.name.clone(),
            revision,
            generation,
            spec,
            autoscaler: self.autoscaler(),
        })
    }

    fn scale(&self) -> Scale {
        let (Kind::Fixed { replicas: min }
        | Kind::Cpu { min, .. }
        | Kind::RequestRate { min, .. }
        | Kind::Asked { min, .. }) = self.kind;
        Scale {
            count: Count::Fixed(min),
            mode: self.mode,
            schedule: self.schedule.clone(),
            to_zero: self.to_zero,
            sizes: self.sizes.clone(),
            remove: self.remove.clone(),
            protect: None,
            flaps: self.flaps,
            shadows: self.shadows.clone(),
            vertical: self.vertical.clone(),
            forecast: self.forecast.clone(),
        }
    }

    fn autoscaler(&self) -> Option<AutoscalerSpec> {
        let (min, max, metric, behavior) = match &self.kind {
            Kind::Fixed { .. } => return None,
            Kind::Cpu { min, max, percent, behavior } => {
                let target = ResourceTarget::Utilization(Percent(*percent));
                (min, max, MetricSpec::Resource { resource: MeteredResource::Cpu, target }, behavior.clone())
            }
            Kind::RequestRate { min, max, average } => {
                let metric = MetricIdentifier { name: REQUEST_RATE_METRIC.to_owned(), selector: None };
                let average = Quantity::from_milli(i64::from(*average) * 1000);
                (min, max, MetricSpec::Pods { metric, average }, None)
            }
            Kind::Asked { min, max, average } => {
                let metric = MetricIdentifier { name: ASKED_METRIC.to_owned(), selector: None };
                let target = TotalTarget::Average(Quantity::from_milli(i64::from(*average) * 1000));
                let object = CrossVersionObjectReference {
                    kind: "Service".to_owned(),
                    name: self.name.to_string(),
                    api_version: None,
                };
                (min, max, MetricSpec::Object { object, metric, target }, None)
            }
        };
        let policy = self.policy.clone();
        let metric = policy.slo().map_or(metric, Slo::metric);
        let (min, max, metrics) = (*min, *max, vec![metric]);
        // A step at a time, each stabilised for minutes, takes longer than a world is given to come to rest.
        let behavior = if matches!(policy, ScalePolicy::Step(_)) { Some(quick_behavior()) } else { behavior };
        Some(AutoscalerSpec { service: self.name.clone(), min, max, metrics, policy, behavior })
    }

    /// Takes its number from a formula over its metric, now and then; half of these divide by what may be zero, and hold then.
    fn may_be_computed(&mut self, chance: &mut Stream) {
        let (metric, metric_type) = match self.kind {
            Kind::Fixed { .. } => return,
            Kind::Cpu { .. } => ("cpu", FormulaTarget::Value),
            Kind::RequestRate { .. } => (REQUEST_RATE_METRIC, FormulaTarget::Value),
            Kind::Asked { .. } => (ASKED_METRIC, FormulaTarget::AverageValue),
        };
        if !chance.happens(150) {
            return;
        }
        let expression = match chance.below(3) {
            0 => format!("max({metric}, 0.5)"),
            1 => format!("{metric} * {metric} / {metric}"),
            _ => format!("({metric} | default(1)) * (1 if ready_replicas > 0 else 0)"),
        };
        let expression = Formula::parse(&expression).expect("a formula in the code is a formula");
        let target = Some(Quantity::from_milli(i64::from(self.aim()) * 1000));
        self.policy = ScalePolicy::Formula(FormulaPolicy { expression, target, metric_type });
    }

    /// Promises a latency that its replicas keep up to some load, now and then, and is sized by that; or has that tried beside it.
    fn may_promise(&mut self, chance: &mut Stream) {
        if matches!(self.kind, Kind::Fixed { .. } | Kind::Asked { .. }) || !chance.happens(250) {
            return;
        }
        let cost = u64::try_from(self.program.cost.as_millis()).unwrap_or(0);
        let slo = Slo {
            latency: LatencySlo {
                quantile: Fraction::from_millionths(900_000 + 10_000 * count(chance.below(10))),
                below: Span::from_millis(cost + 20 + chance.below(400)),
            },
            objective: Fraction::from_millionths(990_000 + 1000 * count(chance.below(10))),
            capacity: chance.happens(500).then(|| Quantity::from_milli(1000)),
            learned: chance.happens(400).then(|| learned(chance)),
        };
        if chance.happens(300) {
            let name = ObjectName::parse("promise").expect("a name in the code is a name");
            let (min, max) = self.bounds();
            self.shadows.push(Shadow {
                name,
                policy: Some(ScalePolicy::Slo(slo)),
                metrics: Vec::new(),
                behavior: None,
                min: Some(min),
                max: Some(max),
            });
        } else {
            self.policy = ScalePolicy::Slo(slo);
        }
    }

    /// What its metric aims at for each replica; 1 where its size is declared.
    fn aim(&self) -> u32 {
        match self.kind {
            Kind::Fixed { .. } => 1,
            Kind::Cpu { percent, .. } => percent,
            Kind::RequestRate { average, .. } | Kind::Asked { average, .. } => average,
        }
    }

    /// The bounds of its size.
    pub fn bounds(&self) -> (u32, u32) {
        match self.kind {
            Kind::Fixed { replicas } => (replicas, replicas),
            Kind::Cpu { min, max, .. }
            | Kind::RequestRate { min, max, .. }
            | Kind::Asked { min, max, .. } => (min, max),
        }
    }
}

fn random_program(chance: &mut Stream) -> Program {
    let millis = Duration::from_millis;
    let boot = millis(200 + chance.below(8000));
    Program {
        boot: (boot, boot * 2),
        cost: millis(4 + chance.below(30)),
        cpu_limit_milli: 250 * (1 + chance.below(4)),
        boot_cpu_milli: chance.below(250),
        stop: millis(chance.below(3000)),
        ..Program::default()
    }
}

/// Mostly none; else one or two that come several times in a simulated day, in zones that are whole hours apart and not.
fn random_schedule(chance: &mut Stream) -> Vec<Schedule> {
    let windows = if chance.happens(250) { 1 + chance.below(2) } else { 0 };
    let window = |_| {
        let cron = ["0 */4 * * *", "30 6,18 * * *", "*/20 * * * *", "5 0-12/3 * * 0-4"];
        let zone = ["UTC", "Asia/Kolkata", "America/New_York"];
        let floor = count(chance.below(5));
        let ceiling = floor + count(chance.below(4));
        let mut schedule = Schedule::new(
            Cron::parse(pick(chance, &cron)).expect("a time in the code is a time"),
            Zone::parse(pick(chance, &zone)).expect("a zone in the code is a zone"),
            Span::from_secs(60 * (1 + chance.below(240))),
        );
        schedule.min = chance.happens(700).then_some(floor);
        schedule.max = Some(ceiling);
        schedule
    };
    (0..windows).map(window).collect()
}

/// Mostly Kubernetes' own; else one of the others, with thresholds around what is aimed at.
fn random_policy(chance: &mut Stream, aim: u32) -> ScalePolicy {
    let part =
        |percent: u64| Quantity::from_milli(i64::try_from(u64::from(aim) * percent * 10).unwrap_or(i64::MAX));
    let secs = |chance: &mut Stream, most: u64| Span::from_secs(chance.below(most + 1));
    let (high, low) = (part(100 + chance.below(50)), part(30 + chance.below(40)));
    match chance.below(10) {
        0 => {
            let far = part(200);
            let share = StepChange::Percent { percent: Percent(10 + count(chance.below(90))), at_least: 1 };
            // Less than half of the high one, so that what one of two replicas has alone is no reason to start the other again.
            let low = part(20 + chance.below(25));
            let above = vec![
                ScaleStep { from: Some(high), to: Some(far), change: StepChange::Replicas(1) },
                ScaleStep { from: Some(far), to: None, change: share },
            ];
            let below = vec![ScaleStep { from: None, to: Some(low), change: StepChange::Replicas(1) }];
            let breaches = 1 + count(chance.below(3));
            let of = Some(breaches + count(chance.below(3)));
            let evaluation = Evaluation { every: Span::from_secs(1 + chance.below(10)), breaches, of };
            let cooldown = Cooldown { scale_out: secs(chance, 60), scale_in: secs(chance, 60) };
            ScalePolicy::Step(StepPolicy { metric: None, above, below, evaluation, cooldown })
        }
        1 => ScalePolicy::Watermarks(WatermarkPolicy {
            metric: None,
            high,
            low,
            out_after: secs(chance, 20),
            in_after: secs(chance, 120),
        }),
        2 => ScalePolicy::TargetTracking(TrackingPolicy {
            warmup: Some(secs(chance, 120)).filter(|warmup| warmup.as_millis() % 2000 == 0),
            out_after: secs(chance, 10),
            in_after: secs(chance, 60),
        }),
        3 => {
            let stable = 20 + chance.below(280);
            ScalePolicy::Burst(BurstPolicy {
                metric: None,
                stable_window: Span::from_secs(stable),
                panic_window: Span::from_secs((stable / (1 + chance.below(20))).max(1)),
                panic_threshold_percent: 110 + count(chance.below(300)),
            })
        }
        4 => ScalePolicy::Unanimous,
        5 => ScalePolicy::Composite(CompositePolicy::default()),
        _ => ScalePolicy::Hpa,
    }
}

/// Mostly none; else one or two with policies and bounds of their own, over the metric of the acting one.
fn random_shadows(chance: &mut Stream, aim: u32) -> Vec<Shadow> {
    let many = if chance.happens(250) { 1 + chance.below(2) } else { 0 };
    let shadow = |nth| {
        let name = ServiceName::parse(&format!("shadow-{nth}")).expect("a name in the code is a name");
        let policy = Some(random_policy(chance, aim));
        let min = 1 + count(chance.below(2));
        let max = min + count(chance.below(9));
        Shadow {
            name: name.into(),
            policy,
            metrics: Vec::new(),
            behavior: None,
            min: Some(min),
            max: Some(max),
        }
    };
    (0..many).map(shadow).collect()
}

fn random_mode(chance: &mut Stream) -> ScaleMode {
    match chance.below(10) {
        0 => ScaleMode::Off,
        1 => ScaleMode::Shadow,
        2 => ScaleMode::UpOnly,
        _ => ScaleMode::On,
    }
}

/// Mostly any; else some of which now and then none lies within the bounds.
fn random_sizes(chance: &mut Stream) -> Option<Sizes> {
    match chance.below(12) {
        0 => Some(Sizes::Odd),
        1 => Some(Sizes::PowersOfTwo),
        2 => NonZeroU32::new(2 + count(chance.below(3))).map(Sizes::MultiplesOf),
        3 => Some(Sizes::OneOf(vec![2, 3 + count(chance.below(3)), 8])),
        _ => None,
    }
}

/// Budgets of times well within which a world is given to come to rest.
fn random_flaps(chance: &mut Stream) -> Option<Flaps> {
    let (most, per) = (1 + count(chance.below(4)), Span::from_secs(60 * (1 + chance.below(20))));
    chance.happens(250).then_some(Flaps { most, per })
}

/// Mostly none; steps from ones that a world has thousands of to ones that it has some of.
fn random_forecast(chance: &mut Stream) -> Option<Forecasting> {
    let mode = match chance.below(10) {
        0..=4 => return None,
        5 => ForecastMode::Off,
        6 | 7 => ForecastMode::Shadow,
        _ => ForecastMode::On,
    };
    let quantile = [0.5, 0.8, 0.95, 0.99][usize::try_from(chance.below(4)).unwrap_or(0)];
    let step = Span::from_secs([10, 60, 300][usize::try_from(chance.below(3)).unwrap_or(0)]);
    let horizon = chance.happens(300).then(|| Span::from_millis(step.as_millis() * (1 + chance.below(20))));
    let quantile = Quantile::try_from(quantile).expect("a probability in the code is one");
    let events = (0..chance.below(3)).map(|nth| random_event(nth, chance)).collect();
    Some(Forecasting { quantile, horizon, step, events, ..Forecasting::of_mode(mode) })
}

/// Sales and rests of some minutes, each hour or so.
fn random_event(nth: u64, chance: &mut Stream) -> KnownEvent {
    let (minute, hours) = (chance.below(60), 1 + chance.below(3));
    let cron = Cron::parse(&format!("{minute} */{hours} * * *")).expect("a crontab time in the code is one");
    let brings = if chance.happens(500) {
        let factor = [0.0, 0.5, 2.0, 5.0][usize::try_from(chance.below(4)).unwrap_or(0)];
        Brings::Factor(Factor::try_from(factor).expect("a factor in the code is one"))
    } else {
        Brings::Load(Quantity::from_milli(1000 * i64::try_from(1 + chance.below(200)).unwrap_or(1)))
    };
    KnownEvent {
        name: ObjectName::parse(&format!("event-{nth}")).expect("a name in the code is one"),
        begins: Begins::Cron(Box::new(cron)),
        timezone: Zone::default(),
        duration: Span::from_secs(30 + chance.below(1800)),
        brings,
    }
}

/// Mostly none; else up to a minute and a half in which a replica takes up to a third of a core more than it will.
fn random_warmup(chance: &mut Stream) -> (Duration, u64) {
    let (long, milli) = (Duration::from_secs(chance.below(90)), chance.below(333));
    if chance.happens(300) { (long, milli) } else { (Duration::ZERO, 0) }
}

fn random_removal(chance: &mut Stream) -> Remove {
    match chance.below(7) {
        0 => Remove::LeastBusy,
        1 => Remove::Oldest,
        2 => Remove::Newest,
        3 => Remove::Cheapest("sessions".into()),
        _ => Remove::HighestNumber,
    }
}

fn random_vertical(chance: &mut Stream) -> Option<Vertical> {
    let mode = match chance.below(10) {
        0..=5 => return None,
        6 => VerticalMode::Off,
        7 => VerticalMode::Recommend,
        8 => VerticalMode::Initial,
        _ => VerticalMode::Auto,
    };
    Some(Vertical { mode, ..Vertical::default() })
}

fn pick<'a>(chance: &mut Stream, of: &[&'a str]) -> &'a str {
    let index = usize::try_from(chance.below(of.len() as u64)).unwrap_or(0);
    of[index]
}

fn random_load(chance: &mut Stream, peak: MilliRps) -> Load {
    let base = MilliRps(peak.0 / (2 + chance.below(20)));
    let minutes = Duration::from_mins;
    match chance.below(4) {
        0 => Load::Constant(peak),
        1 => Load::Diurnal { base, peak, period: minutes(30 + chance.below(1410)) },
        2 => Load::FlashSale {
            base,
            peak,
            at: Simulation::begin() + minutes(chance.below(90)),
            ramp: Duration::from_secs(chance.below(120)),
            hold: minutes(1 + chance.below(60)),
        },
        _ => {
            let points = (0..48).map(|_| MilliRps(chance.below(peak.0.max(1)))).collect();
            Load::Trace { from: Simulation::begin(), every: minutes(1 + chance.below(9)), points }
        }
    }
}

/// As fast as the policy says.
fn quick_behavior() -> Behavior {
    let change = PolicyChange::Percent(Percent(100));
    let policies = vec![ScalingPolicy { change, period: Duration::from_secs(15) }];
    let rules =
        ScalingRules { stabilization: Duration::ZERO, select: SelectPolicy::Max, policies, tolerance: None };
    Behavior { scale_up: rules.clone(), scale_down: rules }
}

fn random_behavior(chance: &mut Stream) -> Behavior {
    let policy = |chance: &mut Stream| ScalingPolicy {
        change: if chance.happens(500) {
            PolicyChange::Pods(1 + count(chance.below(4)))
        } else {
            PolicyChange::Percent(Percent(10 + count(chance.below(190))))
        },
        period: Duration::from_secs(15 + chance.below(105)),
    };
    let rules = |chance: &mut Stream, stabilization| ScalingRules {
        stabilization: Duration::from_secs(stabilization),
        select: if chance.happens(700) { SelectPolicy::Max } else { SelectPolicy::Min },
        policies: (0..=chance.below(2)).map(|_| policy(chance)).collect(),
        tolerance: None,
    };
    let (up, down) = (chance.below(60), 60 + chance.below(300));
    Behavior { scale_up: rules(chance, up), scale_down: rules(chance, down) }
}

fn count(drawn: u64) -> u32 {
    u32::try_from(drawn).unwrap_or(u32::MAX)
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

/// A learned policy of any weights, found on loads of one to a few replicas: now and then it is outside of that.
fn learned(chance: &mut Stream) -> LearnedPrice {
    let mut times = |least: u64, most: u64| {
        let milli = least + chance.below(most - least);
        Factor::try_from(milli as f64 / 1000.0).expect("it is one of up to 1000")
    };
    let mut leaning = |from: u64, to: u64| Leaning {
        factor: times(1, 20_000),
        from: times(from, from + 1),
        to: times(to, to + 1),
    };
    let (level, trend, unrest) = (leaning(50, 5000), leaning(300, 3000), leaning(1000, 2500));
    LearnedPrice {
        version: LEARNED_VERSION,
        rises: times(1, 20_000),
        forecast: times(1, 20_000),
        level,
        trend,
        unrest,
    }
}
