//! `core-step`: the cost of a step of the control loop with 10,000 services.

mod world;

use std::time::Duration;

use anyhow::Context;

use crate::figure::{Findings, Target, Unit};
use crate::spans::Costs;
use world::{REPLICAS, SERVICES, World};

/// The target for a step with one report.
const REPORT: Target = Target::AtMost(1e-3);
/// The target for a step that plans every service.
const FULL_PLAN: Target = Target::AtMost(0.25);
/// The target for the loop's memory for a replica, with its share of its service.
const BYTES_A_REPLICA: Target = Target::AtMost(2048.0);

/// Rounds of a second in which nothing needs to be changed.
const QUIET_ROUNDS: usize = 20;
/// Rounds in which one service in [`world::RISING_ONE_IN`] doubles.
const RISING_ROUNDS: usize = 5;

/// Steps a loop that knows 10,000 services and 100,000 replicas, and times each step.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("core-step");
    findings.describe(format!(
        "{SERVICES} services of 10 replicas each, all with an autoscaler on cpu and all due at the same moment; \
         one thread; what is timed is `ControlLoop::step`"
    ));
    let before = resident()?;
    let mut world = World::declared();
    let declared = resident()?;
    let inventory = world.take_inventory();
    let mut steps = Steps::new();
    for round in 0..QUIET_ROUNDS {
        steps.round(&mut world, round, 0);
    }
    let known = resident()?;
    world.expect_size(REPLICAS);
    for round in 0..RISING_ROUNDS {
        steps.round(&mut world, round, round + 1);
    }
    world.expect_scaled_out(RISING_ROUNDS * SERVICES / world::RISING_ONE_IN);
    steps.traffic.note("traffic of one service", REPORT, &mut findings);
    steps.usage.note("usage of one service", REPORT, &mut findings);
    steps.readiness.note("one replica turns ready or unready", REPORT, &mut findings);
    steps.ends.note("one replica ends, its successor is started", REPORT, &mut findings);
    steps.quiet.note("full plan, nothing to change", FULL_PLAN, &mut findings);
    steps.rising.note("full plan, one service in 20 scales out", FULL_PLAN, &mut findings);
    findings.note("first inventory, each replica adopted", inventory.elapsed.as_secs_f64(), Unit::Seconds);
    let grown = known.saturating_sub(before) as f64;
    findings.compare("memory a replica, all counted", grown / REPLICAS as f64, Unit::Bytes, BYTES_A_REPLICA);
    findings.note("memory a service, its replicas counted", grown / SERVICES as f64, Unit::Bytes);
    let of_declarations = declared.saturating_sub(before) as f64 / SERVICES as f64;
    findings.note("memory a service before its replicas are seen", of_declarations, Unit::Bytes);
    Ok(findings)
}

/// The costs of steps, by kind of input.
struct Steps {
    traffic: Costs,
    usage: Costs,
    readiness: Costs,
    ends: Costs,
    quiet: Costs,
    rising: Costs,
}

impl Steps {
    fn new() -> Self {
        let [traffic, usage, readiness, ends, quiet, rising] = std::array::from_fn(|_| Costs::new());
        Self { traffic, usage, readiness, ends, quiet, rising }
    }

    /// One second: the counters of all services, changes of replicas in one of the rounds, and finally the plan of every service.
    ///
    /// `wave` selects the services whose load rises; 0 for none.
    fn round(&mut self, world: &mut World, round: usize, wave: usize) {
        const QUARTER: Duration = Duration::from_millis(250);
        for quarter in 0..4 {
            world.wait(QUARTER);
            if quarter == 3 {
                let plans = if wave == 0 { &mut self.quiet } else { &mut self.rising };
                plans.add(world.wake());
            }
            world.traffic(&mut self.traffic);
            if quarter % 2 == 1 {
                world.usage(wave, &mut self.usage);
            }
            match (wave, round, quarter) {
                (0, 1, 1) => world.turn_readiness(false, &mut self.readiness),
                (0, 1, 2) => world.turn_readiness(true, &mut self.readiness),
                (0, 2, 1) => world.end_replicas(&mut self.ends),
                _ => {}
            }
        }
        world.answer();
    }
}

/// Memory of this process that is in use now, in bytes.
fn resident() -> anyhow::Result<u64> {
    let statm = procfs::process::Process::myself().and_then(|process| process.statm());
    Ok(statm.context("could not read /proc/self/statm")?.resident * procfs::page_size())
}
