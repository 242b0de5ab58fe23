//! Scripted scenarios: commands of an operator and faults, and how the loop reacts to them.
//!
//! A script has one command a line, `TIME COMMAND`, such as `90s kill shop 0`; a line that begins with `#` is a comment. The
//! output has the events of the loop and the effects on the world, in lines that an operator can read.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Parser, Subcommand};
use model::identity::{Generation, Ordinal, ReplicaId};
use model::input::Intent;
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::resource::{DependencyStage, Recover, Span};
use model::settings::Settings;
use sim::{Defect, Load, Simulation, Turn};

use crate::config::{Kind, ServiceConfig};
use crate::story;

/// One command, and its time from the start of the scenario.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Line {
    /// Such as `90s` or `5m`.
    #[arg(value_parser = span)]
    at: Duration,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Declares a service, or declares it again with something new to run.
    Declare(Declare),
    /// From now on this many requests a second come.
    Load { service: ServiceName, rate: u64 },
    /// `kill -9` of a replica.
    Kill { service: ServiceName, replica: u32 },
    /// A replica stops answering.
    Hang {
        service: ServiceName,
        replica: u32,
        #[arg(long = "for", value_parser = span)]
        recovery: Option<Duration>,
    },
    /// Holds a service at exactly this many replicas.
    Hold {
        service: ServiceName,
        replicas: u32,
        #[arg(long = "for", value_parser = span)]
        lasts: Option<Duration>,
    },
    /// Ends the hold.
    Release { service: ServiceName },
    /// Withdraws the service.
    Withdraw { service: ServiceName },
    /// `kill -9` of the orchestrator.
    KillOrchestrator,
    /// The end of the scenario.
    End,
}

#[derive(Debug, clap::Args)]
struct Declare {
    service: ServiceName,
    #[arg(long, default_value_t = 2)]
    replicas: u32,
    #[arg(long, requires_all = ["max", "cpu"])]
    min: Option<u32>,
    #[arg(long)]
    max: Option<u32>,
    /// Processor utilization, per cent.
    #[arg(long)]
    cpu: Option<u32>,
    /// Warm spares.
    #[arg(long)]
    standby: Option<u32>,
    #[arg(long)]
    most_active: bool,
    #[arg(long)]
    needs: Option<ServiceName>,
    /// Its program exits with code 1, this long after its start.
    #[arg(long, value_parser = span)]
    ends_after: Option<Duration>,
    #[arg(long)]
    never_ready: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(Span::as_duration).map_err(|error| error.to_string())
}

/// A line of a script that is not a valid command.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the script is not valid: {source}")]
pub struct ScriptError {
    line: usize,
    source: clap::Error,
}

/// Runs a script; returns what happened, in readable lines.
pub fn run_script(script: &str) -> Result<String, ScriptError> {
    let mut story =
        Story { sim: Simulation::new(1, Settings::default()), text: String::new(), declared: Vec::new() };
    for (index, line) in script.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = Line::try_parse_from(line.split_whitespace())
            .map_err(|source| ScriptError { line: index + 1, source })?;
        story.advance_to(parsed.at);
        let _ = writeln!(story.text, "{}  --- {}", story::clock(story.sim.now()), command_of(line));
        story.act(parsed.command);
    }
    story.summarize_requests();
    Ok(story.text)
}

fn command_of(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, command)| command.trim())
}

struct Story {
    sim: Simulation,
    text: String,
    declared: Vec<(ServiceName, u64)>,
}

impl Story {
    fn advance_to(&mut self, at: Duration) {
        let end = Simulation::begin() + at;
        loop {
            let turn = self.sim.turn(end);
            if turn == Turn::Over {
                return;
            }
            self.note(turn);
        }
    }

    fn note(&mut self, turn: Turn) {
        let at = story::clock(self.sim.now());
        for line in self.sim.effects().iter().filter_map(story::effect_line) {
            let _ = writeln!(self.text, "{at}  world  {line}");
        }
        if turn == Turn::Stepped {
            for event in &self.sim.out().events {
                let _ = writeln!(self.text, "{at}  loop   {}", story::event_line(event));
            }
        }
    }

    fn act(&mut self, command: Command) {
        let place = |service, ordinal| ReplicaId { service, ordinal: Ordinal(ordinal) };
        match command {
            Command::Declare(declare) => self.declare(declare),
            Command::Load { service, rate } => {
                self.sim.set_load(&service, Load::Constant(MilliRps(rate * 1000)));
            }
            Command::Kill { service, replica } => self.sim.kill(&place(service, replica)),
            Command::Hang { service, replica, recovery } => self.sim.hang(&place(service, replica), recovery),
            Command::Hold { service, replicas, lasts } => {
                let until = lasts.map(|span| self.sim.now() + span);
                self.sim.order(Intent::Hold { service, replicas, until });
            }
            Command::Release { service } => self.sim.order(Intent::Release(service)),
            Command::Withdraw { service } => self.sim.order(Intent::Withdraw(service)),
            Command::KillOrchestrator => self.sim.kill_orchestrator(),
            Command::End => {}
        }
    }

    fn declare(&mut self, declare: Declare) {
        let mut config = ServiceConfig::plain(declare.service.as_str());
        config.kind = match (declare.min, declare.max, declare.cpu) {
            (Some(min), Some(max), Some(percent)) => Kind::Cpu { min, max, percent, behavior: None },
            (None | Some(_), None | Some(_), None | Some(_)) => Kind::Fixed { replicas: declare.replicas },
        };
        config.recover = match (declare.standby, declare.most_active) {
            (Some(spares), _) => Recover::Standby { spares },
            (None, true) => Recover::MostActive,
            (None, false) => Recover::Reschedule,
        };
        config.needs = declare.needs.map(|service| (service, DependencyStage::Ready));
        config.program.defect = match (declare.ends_after, declare.never_ready) {
            (Some(after), _) => Defect::Ends { code: 1, after },
            (None, true) => Defect::NeverReady,
            (None, false) => Defect::None,
        };
        let generation = match self.declared.iter_mut().find(|(service, _)| *service == config.name) {
            Some((_, generation)) => {
                *generation += 1;
                Generation(*generation)
            }
            None => {
                self.declared.push((config.name.clone(), 1));
                Generation(1)
            }
        };
        self.sim.set_program(&config.name, generation, config.program.clone());
        self.sim.order(Intent::Declare(config.declared(generation, generation)));
    }

    /// Writes how many requests of each service failed, and how.
    fn summarize_requests(&mut self) {
        for site in self.sim.node().sites() {
            let tally = site.tally;
            let _ = writeln!(
                self.text,
                "{}: {} requests; {} found no replica, {} were lost with a replica that ended, {} were cut off",
                site.name, tally.received, tally.unanswered, tally.lost_in_crashes, tally.cut_off
            );
        }
    }
}
