//! Runs one configuration, up to its end or the first failure.

use std::io::Write;
use std::time::Duration;

use model::settings::Settings;
use model::time::Time;
use sim::{Faults, Simulation, Turn};

use crate::checkers::{Checkers, Season, View};
use crate::config::Config;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::story;

/// The first part of a run: faults, changing loads, and an operator at work.
const STORM: Duration = Duration::from_mins(80);

/// The second part, without faults: long enough for the slowest thing that the loop may wait for, and some time to see that it then does nothing.
const CALM: Duration = Duration::from_mins(40);

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Steps of the loop.
    pub steps: u64,
    /// Simulated time.
    pub span: Duration,
    /// The digest of all outputs of the loop, in order: two runs of one configuration have the same.
    pub digest: u64,
    /// The first failure, which ends the run.
    pub failure: Option<Failure>,
}

/// Runs one configuration, and writes every event and action to `trace` when there is one.
pub fn run(config: &Config, mut trace: Option<&mut dyn Write>) -> Report {
    let mut sim = Simulation::new(config.seed, Settings::default());
    if config.is_one_process {
        sim = sim.in_one_process();
    }
    let mut operator = Operator::new(config);
    let mut checkers = Checkers::new(config);
    operator.begin(&mut sim);
    let end = sim.now() + config.span;
    let mut failure = None;
    while failure.is_none() && sim.now() < end {
        let mut run_until = |sim: &mut Simulation, until: Time, season| {
            advance(sim, until.min(end), season, &mut checkers, &mut trace)
        };
        sim.set_faults(config.faults.clone());
        operator.resume(&mut sim);
        let storm_ends = sim.now() + STORM;
        while failure.is_none() && sim.now() < storm_ends.min(end) {
            let next = if config.has_operator { sim.now() + operator.pause() } else { storm_ends };
            failure = run_until(&mut sim, next.min(storm_ends), Season::Storm);
            if config.has_operator && failure.is_none() && sim.now() < storm_ends {
                operator.act(&mut sim);
            }
        }
        if failure.is_none() && sim.now() < end {
            sim.set_faults(Faults::default());
            operator.settle(&mut sim);
            let since = sim.now();
            failure = run_until(&mut sim, since + CALM, Season::Calm { since });
        }
    }
    let failure = failure.or_else(|| checkers.end(&sim));
    let span = sim.now().since(Simulation::begin());
    Report { steps: sim.steps(), span, digest: checkers.digest(), failure }
}

fn advance(
    sim: &mut Simulation,
    until: Time,
    season: Season,
    checkers: &mut Checkers,
    trace: &mut Option<&mut dyn Write>,
) -> Option<Failure> {
    loop {
        let turn = sim.turn(until);
        if turn == Turn::Over {
            return None;
        }
        if let Some(out) = trace {
            story::write_turn(sim, turn, out);
        }
        if let Err(failure) = checkers.check(&View { sim, turn, season }) {
            return Some(failure);
        }
    }
}
