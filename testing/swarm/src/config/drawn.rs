//! Random services and rates of faults.

use std::num::NonZeroU32;
use std::time::Duration;

use model::chance::Stream;
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::resource::{
    Behavior, BurstPolicy, CompositePolicy, Cooldown, Cron, DependencyStage, Evaluation, EventEffect,
    EventStart, Factor, Flaps, ForecastMode, Forecasting, Formula, FormulaPolicy, FormulaTarget, Fraction,
    KnownEvent, LEARNED_VERSION, LatencySlo, LearnedPrice, ObjectName, Percent, PolicyChange,
    PriceSensitivity, Quantile, Quantity, REQUEST_RATE_METRIC, Recover, Remove, ScaleMode, ScalePolicy,
    ScaleStep, ScalingPolicy, ScalingRules, Schedule, SelectPolicy, Shadow, Sizes, Slo, Span, StepChange,
    StepPolicy, ToZero, TrackingPolicy, Vertical, VerticalMode, WatermarkPolicy, Zone,
};
use sim::{Fault, Faults, Load, OFFERED_LOAD_METRIC, Program, Simulation};

use super::{Kind, ServiceConfig};

/// Names for the services of a world, of which there are at most as many.
const NAMES: [&str; 4] = ["web", "shop", "cart", "db"];

/// The services of a seed.
///
/// Each aspect has a random stream of its own, so that a new aspect changes nothing else in the worlds of existing seeds.
pub(super) fn services(seed: u64) -> Vec<ServiceConfig> {
    let mut chance = Stream::named(seed, "services");
    let count = usize::try_from(1 + chance.below(NAMES.len() as u64)).unwrap_or(1);
    let mut services: Vec<ServiceConfig> = Vec::new();
    for name in NAMES.iter().take(count) {
        services.push(ServiceConfig::random(&mut chance, name, &services));
    }
    let mut each = |stream, draw: fn(&mut ServiceConfig, &mut Stream)| {
        let mut chance = Stream::named(seed, stream);
        services.iter_mut().for_each(|service| draw(service, &mut chance));
    };
    each("schedules", |service, chance| service.schedule = random_schedule(chance));
    each("modes", |service, chance| service.mode = random_mode(chance));
    each("allowed sizes", |service, chance| service.sizes = random_sizes(chance));
    each("removals", |service, chance| {
        service.remove = random_removal(chance);
        service.flaps = random_flaps(chance);
    });
    each("metric sources", ServiceConfig::maybe_measure_externally);
    each("policies", |service, chance| service.policy = random_policy(chance, service.target_per_replica()));
    each("shadows", |service, chance| service.shadows = random_shadows(chance, service.target_per_replica()));
    each("formulas", ServiceConfig::maybe_use_formula);
    each("promises", ServiceConfig::maybe_add_slo);
    each("vertical", |service, chance| service.vertical = random_vertical(chance));
    each("platforms", |service, chance| service.program.is_resizable = chance.happens(700));
    each("forecasts", |service, chance| service.forecast = random_forecast(chance));
    each("warm-ups", |service, chance| service.program.warmup = random_warmup(chance));
    services
}

/// Each fault is on in some worlds only, so that none masks another; a tenth of the worlds has none at all.
pub(super) fn faults(chance: &mut Stream) -> Faults {
    if chance.happens(100) {
        return Faults::default();
    }
    let mut faults = Faults::default();
    for fault in Fault::ALL {
        let (is_on, rate) = (chance.happens(400), chance.below(1000));
        // Up to one in eight messages; up to one fault every five minutes, except for crashes of Homeostat itself.
        let most = match fault {
            Fault::Crash | Fault::OutOfMemory | Fault::Hang | Fault::Flap | Fault::Eject => 288,
            Fault::SharedStall | Fault::Blind | Fault::ClockStep => 96,
            Fault::OrchestratorDies => 144,
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
    fn random(chance: &mut Stream, name: &str, others: &[Self]) -> Self {
        let mut service = Self::plain(name);
        let min = count(1 + chance.below(3));
        let max = min + count(1 + chance.below(8));
        service.program = random_program(chance);
        let capacity_milli_rps = 1_000_000 * service.program.cpu_limit_milli
            / u64::try_from(service.program.cost.as_micros()).unwrap_or(1).max(1);
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
        // What the maximum number of replicas serves at half of their capacity.
        let peak = MilliRps(capacity_milli_rps * u64::from(max) / 2 * chance.below(1000) / 1000);
        service.load = random_load(chance, peak);
        if service.is_exposed && chance.happens(250) {
            // It gets requests now and then, or none at all; a constant trickle of requests would never let it scale to zero.
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

    /// Sometimes measures its requests by an external source instead of the proxy.
    fn maybe_measure_externally(&mut self, chance: &mut Stream) {
        if let (Kind::RequestRate { min, max, average }, true) = (&self.kind, chance.happens(500)) {
            self.kind = Kind::OfferedLoad { min: *min, max: *max, average: *average };
        }
    }

    /// Sometimes computes its size by a formula over its metric. Some formulas divide by what may be zero, which keeps the size as it is.
    fn maybe_use_formula(&mut self, chance: &mut Stream) {
        let (metric, metric_type) = match self.kind {
            Kind::Fixed { .. } => return,
            Kind::Cpu { .. } => ("cpu", FormulaTarget::Value),
            Kind::RequestRate { .. } => (REQUEST_RATE_METRIC, FormulaTarget::Value),
            Kind::OfferedLoad { .. } => (OFFERED_LOAD_METRIC, FormulaTarget::AverageValue),
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
        let target = Some(Quantity::from_milli(i64::from(self.target_per_replica()) * 1000));
        self.policy = ScalePolicy::Formula(FormulaPolicy { expression, target, metric_type });
    }

    /// Sometimes adds a latency objective that its replicas meet up to some load, as its policy or as a shadow.
    fn maybe_add_slo(&mut self, chance: &mut Stream) {
        if matches!(self.kind, Kind::Fixed { .. } | Kind::OfferedLoad { .. }) || !chance.happens(250) {
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

/// Mostly none; otherwise one or two that come several times in a simulated day, in time zones that are whole hours apart and others that are not.
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

/// Mostly the Kubernetes policy; otherwise one of the others, with thresholds around the target.
fn random_policy(chance: &mut Stream, target_per_replica: u32) -> ScalePolicy {
    let part = |percent: u64| {
        Quantity::from_milli(i64::try_from(u64::from(target_per_replica) * percent * 10).unwrap_or(i64::MAX))
    };
    let secs = |chance: &mut Stream, most: u64| Span::from_secs(chance.below(most + 1));
    let (high, low) = (part(100 + chance.below(50)), part(30 + chance.below(40)));
    match chance.below(10) {
        0 => {
            let far = part(200);
            let share = StepChange::Percent { percent: Percent(10 + count(chance.below(90))), at_least: 1 };
            // Less than half of the upper threshold, so that the load of two replicas does not exceed it after a scale-in to one.
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

/// Mostly none; otherwise one or two with policies and bounds of their own, on the metric of the acting autoscaler.
fn random_shadows(chance: &mut Stream, target_per_replica: u32) -> Vec<Shadow> {
    let many = if chance.happens(250) { 1 + chance.below(2) } else { 0 };
    let shadow = |nth| {
        let name = ServiceName::parse(&format!("shadow-{nth}")).expect("a name in the code is a name");
        let policy = Some(random_policy(chance, target_per_replica));
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

/// Mostly any size; otherwise a set of which sometimes none lies within the bounds.
fn random_sizes(chance: &mut Stream) -> Option<Sizes> {
    match chance.below(12) {
        0 => Some(Sizes::Odd),
        1 => Some(Sizes::PowersOfTwo),
        2 => NonZeroU32::new(2 + count(chance.below(3))).map(Sizes::MultiplesOf),
        3 => Some(Sizes::OneOf(vec![2, 3 + count(chance.below(3)), 8])),
        _ => None,
    }
}

/// Budgets over times much shorter than the time for convergence.
fn random_flaps(chance: &mut Stream) -> Option<Flaps> {
    let (most, per) = (1 + count(chance.below(4)), Span::from_secs(60 * (1 + chance.below(20))));
    chance.happens(250).then_some(Flaps { most, per })
}

/// Mostly none; otherwise with steps from so short that a run has thousands of them to so long that it has a few.
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

/// Sales and quiet times of some minutes, every one to three hours.
fn random_event(nth: u64, chance: &mut Stream) -> KnownEvent {
    let (minute, hours) = (chance.below(60), 1 + chance.below(3));
    let cron = Cron::parse(&format!("{minute} */{hours} * * *")).expect("a crontab time in the code is one");
    let effect = if chance.happens(500) {
        let factor = [0.0, 0.5, 2.0, 5.0][usize::try_from(chance.below(4)).unwrap_or(0)];
        EventEffect::Factor(Factor::try_from(factor).expect("a factor in the code is one"))
    } else {
        EventEffect::Load(Quantity::from_milli(1000 * i64::try_from(1 + chance.below(200)).unwrap_or(1)))
    };
    KnownEvent {
        name: ObjectName::parse(&format!("event-{nth}")).expect("a name in the code is one"),
        start: EventStart::Cron(Box::new(cron)),
        timezone: Zone::default(),
        duration: Span::from_secs(30 + chance.below(1800)),
        effect,
    }
}

/// Mostly none; otherwise up to a minute and a half in which a replica uses up to a third of a core more than later.
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

/// A learned policy with arbitrary weights, trained on loads of one to a few replicas: sometimes the load is outside of that range.
fn learned(chance: &mut Stream) -> LearnedPrice {
    let mut times = |least: u64, most: u64| {
        let milli = least + chance.below(most - least);
        Factor::try_from(milli as f64 / 1000.0).expect("it is one of up to 1000")
    };
    let mut leaning = |from: u64, to: u64| PriceSensitivity {
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
