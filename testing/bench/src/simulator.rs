//! `simulator`: the speed of the simulator.

use std::time::Duration;

use anyhow::ensure;
use swarm::{Config, Exclusions};

use crate::figure::{Findings, Target, Unit};
use crate::spans::Stopwatch;

/// Steps of the loop per second of one core, with faults and checkers.
const SPEED: Target = Target::AtLeast(1e6);

/// Simulated time of each seed.
const SPAN: Duration = Duration::from_hours(24);

/// Seeds: worlds differ in their services, so one alone is not representative.
const SEEDS: u64 = 10;

/// Runs simulated days one after the other on this thread.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("simulator");
    findings.describe(format!(
        "seeds 1 to {SEEDS}, {} simulated hours each, one thread; faults and every checker of `swarm` are on",
        SPAN.as_secs() / 3600
    ));
    let (mut steps, mut simulated, mut cpu, mut elapsed) =
        (0, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut slowest = f64::INFINITY;
    for seed in 1..=SEEDS {
        let config = Config::of_seed(seed, SPAN, &Exclusions::default());
        let watch = Stopwatch::start();
        let report = swarm::run(&config, None);
        let cost = watch.stop();
        ensure!(report.failure.is_none(), "seed {seed} failed; see cargo xtask sim --seed {seed}");
        steps += report.steps;
        simulated += report.span;
        cpu += cost.cpu;
        elapsed += cost.elapsed;
        slowest = slowest.min(report.steps as f64 / cost.cpu.as_secs_f64());
    }
    let steps = steps as f64;
    findings.compare(
        "steps in a second of processor time",
        steps / cpu.as_secs_f64(),
        Unit::PerSecond,
        SPEED,
    );
    findings.note("the same, slowest seed", slowest, Unit::PerSecond);
    findings.note("steps in a second by the clock", steps / elapsed.as_secs_f64(), Unit::PerSecond);
    findings.note("steps", steps, Unit::Count);
    findings.note(
        "a simulated day",
        elapsed.as_secs_f64() / (simulated.as_secs_f64() / 86_400.0),
        Unit::Seconds,
    );
    Ok(findings)
}
