//! `simulate`: the time that a policy takes for a year of minutes.

use fluid::policy::constant::Demands;
use fluid::ticks::Ticks;
use fluid::world::World;
use fluid::{Run, Service, Share, capacity_for, quantile};
use model::time::Wall;
use study::{BUILTINS, Candidate, PolicyContext};

use crate::figure::{Findings, Target, Unit};
use crate::spans::Stopwatch;

/// Processor time of one policy.
const YEAR: Target = Target::AtMost(1.0);

/// Processor time from a sample to the next decision.
const SAMPLE: Target = Target::AtMost(5e-6);

/// Minutes of a year.
const MINUTES: u32 = 365 * 24 * 60;

/// Runs each policy over a synthetic year on this thread.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("simulate");
    findings.describe(format!("{MINUTES} minutes with a day, a week, noise and steep evenings; 40 replicas at the 99th percentile; one thread"));
    let loads = year()?;
    let target = Share::of(0.7)?;
    let peak = quantile(&mut loads.clone(), 0.99).unwrap_or(0.0);
    let service = Service::with_capacity(capacity_for(peak, 40, target)?);
    let mut demands = Demands::of(&service);
    loads.iter().for_each(|load| demands.count(*load));
    let on = PolicyContext { service: &service, demands: &demands, objective: 0.999, learned: None };
    for builtin in &BUILTINS {
        let policy = Candidate::from(builtin).policy(&on);
        let mut run = Run::new(&service, policy, World::calm(), Wall::default());
        let watch = Stopwatch::start();
        loads.iter().for_each(|load| run.offer(*load));
        let outcome = run.finish();
        let cost = watch.stop().cpu.as_secs_f64();
        anyhow::ensure!(outcome.score.ticks > 0, "{} has no simulated tick", builtin.name);
        findings.compare(format!("a year by {}", builtin.name), cost, Unit::Seconds, YEAR);
        if builtin.name == "hpa" {
            findings.compare(
                "a sample and its decision by hpa",
                cost / f64::from(MINUTES),
                Unit::Seconds,
                SAMPLE,
            );
        }
    }
    Ok(findings)
}

/// The ticks of a year, the same each time.
fn year() -> anyhow::Result<Vec<f64>> {
    let mut ticks = Ticks::new(std::time::Duration::from_mins(1), std::time::Duration::from_secs(15));
    let mut chance = model::chance::Stream::named(1, "year");
    let mut loads = Vec::with_capacity(4 * MINUTES as usize);
    for minute in 0..MINUTES {
        let (hour, day) = (f64::from(minute % 1440) / 60.0, minute / 1440 % 7);
        let season = 1.0 + 0.8 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
        let week = if day >= 5 { 0.6 } else { 1.0 };
        let sale = if (1200..1230).contains(&(minute % 1440)) { 2.0 } else { 1.0 };
        let noise = 0.9 + chance.below(2000) as f64 / 10_000.0;
        ticks.push(i64::from(minute) * 60_000, 100.0 * season * week * sale * noise, &mut |load| {
            loads.push(load);
        })?;
    }
    ticks.finish(&mut |load| loads.push(load));
    Ok(loads)
}
