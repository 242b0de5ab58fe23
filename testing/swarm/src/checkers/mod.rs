//! The properties that must hold, each as a small checker with a name.
//!
//! A checker sees the loop, its input and output, and the true state of the simulated world. It keeps its own state, shares no code
//! with the loop, and reports a violation in one sentence.

mod availability;
mod bounds;
mod budgets;
mod convergence;
mod determinism;
mod drained;
mod fencing;
mod livelock;
mod memory;
mod once;
mod partial;
mod protected;
mod quiet;
mod unproven;
mod withdrawal;

use std::fmt;

use control::ControlLoop;
use model::input::{Input, Report};
use model::name::ServiceName;
use model::time::Time;
use sim::{Simulation, Turn};

use crate::config::Config;
use crate::failure::Failure;

/// What a checker sees: the world right after a turn.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The world and the loop in it.
    pub sim: &'a Simulation,
    /// The turn.
    pub turn: Turn,
    /// The season of the world.
    pub season: Season,
}

/// The season of a world: whether faults and changes happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    /// Faults, changing loads, an operator at work.
    Storm,
    /// No faults, constant loads, no changes of configuration.
    Calm {
        /// Since when.
        since: Time,
    },
}

/// One property.
pub trait Checker: fmt::Debug {
    /// Its name, one word.
    fn name(&self) -> &'static str;

    /// Checks the world after a turn in which more happened than a measurement, and after every few hundred turns in any case.
    fn check(&mut self, view: &View<'_>) -> Result<(), String>;
}

/// All checkers.
#[derive(Debug)]
pub struct Checkers {
    all: Vec<Box<dyn Checker>>,
    partial: partial::Partial,
    replay: determinism::Replay,
    spin: livelock::Spin,
    turns: u64,
}

/// The checkers run at least once in this many turns: some tens of simulated seconds.
const CHECK_EVERY: u64 = 256;

impl Checkers {
    /// The checkers for a world.
    pub fn new(config: &Config) -> Self {
        let all: Vec<Box<dyn Checker>> = vec![
            Box::new(bounds::Bounds::default()),
            Box::new(budgets::Budgets::default()),
            Box::new(fencing::Fencing::default()),
            Box::new(once::Once::default()),
            Box::new(convergence::Convergence::new(config)),
            Box::new(quiet::Quiet::default()),
            Box::new(livelock::Livelock::default()),
            Box::new(memory::Memory::new(config)),
            Box::new(withdrawal::Withdrawal),
            Box::new(drained::Drained::default()),
            Box::new(protected::Protected),
            Box::new(availability::Availability::new(config)),
            Box::new(unproven::Unproven::default()),
        ];
        Self {
            all,
            partial: partial::Partial::default(),
            replay: determinism::Replay::default(),
            spin: livelock::Spin::default(),
            turns: 0,
        }
    }

    /// The names of all checkers.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.all.iter().map(|checker| checker.name()).collect();
        names.extend([self.partial.name(), determinism::NAME, livelock::SPIN]);
        names
    }

    /// Checks the world after a turn.
    pub fn check(&mut self, view: &View<'_>) -> Result<(), Failure> {
        self.turns += 1;
        if view.turn == Turn::Stepped {
            self.replay.record(view.sim);
            self.partial.note_measurements(view);
            self.spin.check(view).map_err(|message| view.failure(livelock::SPIN, message))?;
        }
        if !view.is_eventful() && !self.turns.is_multiple_of(CHECK_EVERY) {
            return Ok(());
        }
        let partial: &mut dyn Checker = &mut self.partial;
        for checker in self.all.iter_mut().map(|boxed| &mut **boxed).chain([partial]) {
            checker.check(view).map_err(|message| view.failure(checker.name(), message))?;
        }
        Ok(())
    }

    /// Checks a whole run at its end: its inputs, put into a fresh loop, give the same outputs.
    pub fn end(&mut self, sim: &Simulation) -> Option<Failure> {
        let (message, step) = self.replay.check().err()?;
        Some(Failure { checker: determinism::NAME, message, step, at: sim.now() })
    }

    /// The digest of all outputs of the loop so far.
    pub fn digest(&self) -> u64 {
        self.replay.digest()
    }
}

impl<'a> View<'a> {
    fn failure(&self, checker: &'static str, message: String) -> Failure {
        Failure { checker, message, step: self.sim.steps(), at: self.sim.now() }
    }
    /// Whether anything happened besides the passing of time and measurements.
    fn is_eventful(&self) -> bool {
        if !self.sim.effects().is_empty() {
            return true;
        }
        match self.turn {
            Turn::Stepped => {
                let is_measurement = matches!(
                    self.sim.input(),
                    Input::Woke
                        | Input::Report(
                            Report::Traffic(_)
                                | Report::Usage(_)
                                | Report::Demand(_)
                                | Report::Measured(_)
                                | Report::Allotted(_)
                                | Report::Latencies(_)
                                | Report::Ejected(_)
                        )
                );
                !is_measurement || !self.sim.out().is_empty()
            }
            Turn::Zombie { .. } => true,
            Turn::World | Turn::Over => false,
        }
    }

    /// The loop, once it has received its first inventory.
    fn control(&self) -> Option<&'a ControlLoop> {
        self.sim.control().filter(|control| control.knowledge().inventory_seen)
    }

    /// How long it has been calm; `None` in a storm.
    fn calm_for(&self) -> Option<std::time::Duration> {
        match self.season {
            Season::Storm => None,
            Season::Calm { since } => Some(self.sim.now().since(since)),
        }
    }

    /// The input of the loop in this turn, if it had one.
    fn input(&self) -> Option<&'a Input> {
        (self.turn == Turn::Stepped).then(|| self.sim.input())
    }

    /// The actions of the loop in this turn.
    fn actions(&self) -> &'a [model::action::Action] {
        if self.turn == Turn::Stepped { &self.sim.out().actions } else { &[] }
    }

    /// The names of all declared services.
    fn declared(&self) -> impl Iterator<Item = &'a ServiceName> {
        self.sim.disk().declared.keys()
    }
}
