//! `rehearse`: the whole loop over a simulated machine, before anything is started.

mod arguments;
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::input::Declared;
use model::quantity::MilliRps;
use model::resource::{Quantity, Span};
use model::settings::Settings;
use model::time::Wall;
use rehearsal::{Part, Script, ServiceLoad};
use sim::{Faults, Program};
use study::{Reading, Recording, Source};

use crate::arguments::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Files, Warnings};
use crate::output::Output;
use crate::verbs::up::Cpu;
use arguments::{Chance, FaultArguments, LoadArgument, Of, Unit};

/// Rehearse services before they are started: the control loop of production runs them on a simulated machine, under load and faults
///
/// Nothing is started, and no server is needed. Replicas are queues: a request takes processor time, one that finds a replica
/// busy waits. The machine has processors for all of them. What is shown is what the loop would do: starts, sizes, restarts, in
/// the order of `dependsOn`, held back by the guard.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// The load of a service: requests a second, or a CSV of recorded load, one `timestamp,value` a line; may be given for each
    /// service
    #[arg(long, value_name = "SERVICE=RATE|CSV", value_parser = arguments::asked)]
    load: Vec<Of<LoadArgument>>,
    /// What the values of recorded load are
    #[arg(long, value_enum, default_value = "count")]
    unit: Unit,
    /// What all load is multiplied by
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = arguments::factor)]
    scale_load: f64,
    /// How long to rehearse; without it, as long as the longest recorded load
    #[arg(long = "for", value_name = "DURATION")]
    span: Option<Span>,
    /// Processor time that a request takes, of one service or of all
    #[arg(long, value_name = "[SERVICE=]TIME", value_parser = arguments::time, default_value = "10ms")]
    cost: Vec<Of<Duration>>,
    /// From the start of a replica to the first request that it can answer, of one service or of all
    #[arg(long, value_name = "[SERVICE=]TIME", value_parser = arguments::time, default_value = "500ms")]
    start_up: Vec<Of<Duration>>,
    /// Processor time that a start takes, of one service or of all; without it, none
    #[arg(long, value_name = "[SERVICE=]TIME", value_parser = arguments::time)]
    start_cost: Vec<Of<Duration>>,
    /// How `resources.cpu` is enforced: with share, a replica uses up to one processor; with quota, no more than declared
    #[arg(long, value_enum, default_value = "share")]
    cpu: Cpu,
    #[command(flatten)]
    faults: FaultArguments,
    /// Show all events of the loop
    #[arg(long)]
    events: bool,
    /// Draw the load and the replicas of each service
    #[arg(long)]
    plot: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(context: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let manifests = manifests::read(&arguments.files.file, Warnings::Shown, context.colours)?;
    let declared = study::all_declared(manifests.resources()).map_err(Failure::usage)?;
    let script = arguments.script(declared)?;
    let gauge = gauge(script.span);
    let rehearsed = rehearsal::rehearse(&script, &mut |since| gauge.set_position(whole_seconds(since)));
    gauge.finish_and_clear();
    let rehearsed = rehearsed.map_err(Failure::usage)?;
    context.printer.print(arguments.output.output, &rehearsed, |rehearsed| {
        show::summary(context.printer, rehearsed, arguments.events, arguments.plot)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The line on a terminal that shows how much is over; nothing elsewhere.
fn gauge(span: Duration) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(whole_seconds(span)), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar:.dim} {percent} %");
    bar.set_style(style.expect("the template is a constant that indicatif reads"));
    bar
}

fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().max(1)
}

/// The load of one service.
struct Recorded {
    asked: ServiceLoad,
    /// How long it is, and when it begins; `None` for one that is always the same.
    extent: Option<(Duration, Wall)>,
}

impl Arguments {
    fn script(&self, declared: Vec<Declared>) -> Result<Script, Failure> {
        self.check_names(&declared)?;
        let mut parts = Vec::new();
        let mut extents = Vec::new();
        for declared in declared {
            let name = declared.name.as_str();
            let load = arguments::of(&self.load, name).map(|word| self.load(word)).transpose()?;
            let load = load.unwrap_or(Recorded { asked: ServiceLoad::Rate(MilliRps(0)), extent: None });
            extents.extend(load.extent);
            parts.push(Part { program: self.program(&declared), asked: load.asked, declared });
        }
        let longest = extents.iter().map(|(span, _)| *span).max();
        let span = self.span.map(Span::as_duration).or(longest).ok_or_else(|| {
            Failure::usage(
                "there is no recorded load that says how long to rehearse; give --for, such as --for 1h",
            )
        })?;
        let faults = self.faults.chance.iter();
        Ok(Script {
            parts,
            gauges: Vec::new(),
            span,
            begin: extents.iter().map(|(_, begin)| *begin).min().unwrap_or(BEGIN),
            scheduled_faults: self.faults.scheduled(),
            faults: faults.fold(Faults::default(), |all, Chance { fault, rate }| all.with(*fault, *rate)),
            settings: Settings::default(),
            seed: self.faults.seed,
        })
    }

    /// A name that is meant for a service and is none would be without effect, which nobody means.
    fn check_names(&self, declared: &[Declared]) -> Result<(), Failure> {
        let named = self.load.iter().filter_map(|of| of.service.as_deref());
        let named =
            named.chain(self.cost.iter().chain(&self.start_up).filter_map(|of| of.service.as_deref()));
        for name in named {
            if !declared.iter().any(|declared| declared.name.as_str() == name) {
                let names: Vec<&str> = declared.iter().map(|declared| declared.name.as_str()).collect();
                let names = names.join(", ");
                return Err(Failure::usage(format!(
                    "the manifests declare no service {name}; they declare: {names}"
                )));
            }
        }
        Ok(())
    }

    fn load(&self, word: &LoadArgument) -> Result<Recorded, Failure> {
        match word {
            LoadArgument::Rate(rate) => {
                let asked = ServiceLoad::Rate(arguments::milli_rps(rate * self.scale_load));
                Ok(Recorded { asked, extent: None })
            }
            LoadArgument::Trace(path) => self.recorded(path),
        }
    }

    fn recorded(&self, path: &Path) -> Result<Recorded, Failure> {
        let recording = Recording {
            name: path.display().to_string(),
            source: Source::File(path.to_path_buf()),
            reading: match self.unit {
                Unit::Count => Reading::Count,
                Unit::Rate => Reading::Rate,
            },
            interval: None,
            scale: self.scale_load,
        };
        let mut points = Vec::new();
        let every = recording.interval().context("could not rehearse (HS0016)")?;
        let extent = recording
            .each_tick(every, None, &mut |rate| points.push(arguments::milli_rps(rate)))
            .context("could not rehearse (HS0016)")?;
        let span = every * u32::try_from(points.len()).unwrap_or(u32::MAX);
        let begin = u64::try_from(extent.begin.as_millisecond()).unwrap_or(0);
        let asked = ServiceLoad::Recorded { every, points: points.into() };
        Ok(Recorded { asked, extent: Some((span, Wall::from_millis(begin))) })
    }

    fn program(&self, declared: &Declared) -> Program {
        let name = declared.name.as_str();
        let given = |times: &[Of<Duration>]| arguments::of(times, name).copied();
        let cost = given(&self.cost).unwrap_or(COST_DEFAULT);
        let start_up = given(&self.start_up).unwrap_or(START_UP_DEFAULT);
        let start_cost = given(&self.start_cost).unwrap_or(Duration::ZERO);
        let requested = declared.spec.resources.cpu.map(Quantity::milli);
        let quota = requested.and_then(|milli| u64::try_from(milli).ok()).filter(|_| self.cpu == Cpu::Quota);
        Program {
            exec: (EXEC, EXEC),
            boot: (start_up, start_up),
            cost,
            // A replica with one worker, as most have that count on being one of many.
            cpu_limit_milli: quota.unwrap_or(1000).max(1),
            boot_cpu_milli: u64::try_from(start_cost.as_micros() * 1000 / start_up.as_micros().max(1))
                .unwrap_or(u64::MAX),
            ..Program::default()
        }
    }
}

/// Without recorded load the clock begins at a midnight.
const BEGIN: Wall = Wall::from_millis(sim::Simulation::begin().as_millis());

/// See `--cost`.
const COST_DEFAULT: Duration = Duration::from_millis(10);

/// See `--start-up`.
const START_UP_DEFAULT: Duration = Duration::from_millis(500);

/// From the action to the running program, as measured on Linux with a control group each.
const EXEC: Duration = Duration::from_millis(5);
