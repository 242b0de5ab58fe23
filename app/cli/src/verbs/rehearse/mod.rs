//! `rehearse`: runs the control loop over a simulated machine before anything is started.

mod arguments;
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::input::Declared;
use model::quantity::MilliRps;
use model::resource::{Quantity, Span};
use model::settings::Settings;
use model::time::Wall;
use rehearsal::{RehearsedService, Script, ServiceLoad};
use sim::{Faults, Program};
use study::{Reading, Recording, RecordingError, Source};

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Files, Warnings};
use crate::output::Output;
use crate::verbs::up::Cpu;
use arguments::{FaultArguments, LoadArgument, PerService, RandomFault, Unit};

/// Rehearse services before they are started: the production control loop runs them on a simulated machine, under load and faults
///
/// Nothing is started, and no server is needed. Replicas are simulated as queues: a request takes CPU time, and waits while its replica is
/// busy. The machine has CPUs for all replicas. The result shows what the loop would do: starts, sizes and restarts, in the order of
/// `dependsOn`, within the limits of the guard.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// The load of a service: requests per second, or recorded load as CSV with one `timestamp,value` per line; may be given for each
    /// service
    #[arg(long, value_name = "SERVICE=RATE|CSV", value_parser = arguments::load)]
    load: Vec<PerService<LoadArgument>>,
    /// The unit of the values of recorded load
    #[arg(long, value_enum, default_value = "count")]
    unit: Unit,
    /// The factor to multiply all loads by
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = arguments::factor)]
    scale_load: f64,
    /// How long to rehearse; by default, as long as the longest recorded load
    #[arg(long = "for", value_name = "DURATION")]
    span: Option<Span>,
    /// The CPU time of a request, for one service or for all
    #[arg(long, value_name = "[SERVICE=]TIME", value_parser = arguments::time, default_value = "10ms")]
    cost: Vec<PerService<Duration>>,
    /// The time from start to ready of a replica, for one service or for all
    #[arg(long, value_name = "[SERVICE=]TIME", value_parser = arguments::time, default_value = "500ms")]
    start_up: Vec<PerService<Duration>>,
    /// The CPU time of a start, for one service or for all; by default, none
    #[arg(long, value_name = "[SERVICE=]TIME", value_parser = arguments::time)]
    start_cost: Vec<PerService<Duration>>,
    /// How `resources.cpu` is enforced: with share, a replica uses up to one CPU; with quota, no more than declared
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
    let progress = progress_bar(script.span);
    let rehearsed =
        rehearsal::rehearse(&script, &mut |elapsed| progress.set_position(whole_seconds(elapsed)));
    progress.finish_and_clear();
    let rehearsed = rehearsed.map_err(Failure::usage)?;
    context.printer.print(arguments.output.output, &rehearsed, |rehearsed| {
        show::summary(context.printer, rehearsed, arguments.events, arguments.plot)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A progress bar on the terminal; nothing without a terminal.
fn progress_bar(span: Duration) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(whole_seconds(span)), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar:.dim} {percent} %");
    bar.set_style(style.expect("the template is a constant that indicatif reads"));
    bar
}

fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().max(1)
}

/// The load of one service.
struct Load {
    load: ServiceLoad,
    /// The length and begin of recorded load; `None` for a constant rate.
    extent: Option<(Duration, Wall)>,
}

impl Arguments {
    fn script(&self, declared: Vec<Declared>) -> Result<Script, Failure> {
        self.check_names(&declared)?;
        let mut services = Vec::new();
        let mut extents = Vec::new();
        for declared in declared {
            let name = declared.name.as_str();
            let load =
                arguments::value_for(&self.load, name).map(|argument| self.load(argument)).transpose()?;
            let load = load.unwrap_or(Load { load: ServiceLoad::Rate(MilliRps(0)), extent: None });
            extents.extend(load.extent);
            services.push(RehearsedService { program: self.program(&declared), load: load.load, declared });
        }
        let longest = extents.iter().map(|(span, _)| *span).max();
        let span = self.span.map(Span::as_duration).or(longest).ok_or_else(|| {
            Failure::usage(
                "the duration of the rehearsal is missing; give --for, such as --for 1h, or recorded load",
            )
        })?;
        let faults = self.faults.random.iter();
        Ok(Script {
            services,
            gauges: Vec::new(),
            span,
            begin: extents.iter().map(|(_, begin)| *begin).min().unwrap_or(BEGIN),
            scheduled_faults: self.faults.scheduled(),
            faults: faults
                .fold(Faults::default(), |all, RandomFault { fault, rate }| all.with(*fault, *rate)),
            settings: Settings::default(),
            seed: self.faults.seed,
        })
    }

    /// Refuses names of services that are not declared: such arguments would have no effect.
    fn check_names(&self, declared: &[Declared]) -> Result<(), Failure> {
        let named = self.load.iter().filter_map(|it| it.service.as_deref());
        let times = self.cost.iter().chain(&self.start_up).chain(&self.start_cost);
        let named = named.chain(times.filter_map(|it| it.service.as_deref()));
        for name in named {
            if self.load.iter().filter(|it| it.service.as_deref() == Some(name)).count() > 1 {
                return Err(Failure::usage(format!(
                    "the load of service {name} is given more than once; give --load once for each service"
                )));
            }
            if !declared.iter().any(|declared| declared.name.as_str() == name) {
                let names: Vec<&str> = declared.iter().map(|declared| declared.name.as_str()).collect();
                let names = names.join(", ");
                return Err(Failure::usage(format!(
                    "the manifests do not declare service {name}; they declare: {names}"
                )));
            }
        }
        Ok(())
    }

    fn load(&self, argument: &LoadArgument) -> Result<Load, Failure> {
        match argument {
            LoadArgument::Rate(rate) => {
                let load = ServiceLoad::Rate(arguments::milli_rps(rate * self.scale_load));
                Ok(Load { load, extent: None })
            }
            LoadArgument::Trace(path) => self.recorded_load(path),
        }
    }

    fn recorded_load(&self, path: &Path) -> Result<Load, Failure> {
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
        let every = recording.interval().map_err(without_interval).context("could not rehearse (HS0016)")?;
        let (loads, extent) = recording.loads(INTERVALS_MAX).context("could not rehearse (HS0016)")?;
        let points: Vec<MilliRps> = loads.into_iter().map(arguments::milli_rps).collect();
        let span = every * u32::try_from(points.len()).unwrap_or(u32::MAX);
        let begin = u64::try_from(extent.begin.as_millisecond()).unwrap_or(0);
        let load = ServiceLoad::Recorded { every, points: points.into() };
        Ok(Load { load, extent: Some((span, Wall::from_millis(begin))) })
    }

    fn program(&self, declared: &Declared) -> Program {
        let name = declared.name.as_str();
        let given = |times: &[PerService<Duration>]| arguments::value_for(times, name).copied();
        let cost = given(&self.cost).unwrap_or(COST_DEFAULT);
        let start_up = given(&self.start_up).unwrap_or(START_UP_DEFAULT);
        let start_cost = given(&self.start_cost).unwrap_or(Duration::ZERO);
        let requested = declared.spec.resources.cpu.map(Quantity::milli);
        let quota = requested.and_then(|milli| u64::try_from(milli).ok()).filter(|_| self.cpu == Cpu::Quota);
        Program {
            exec: (EXEC, EXEC),
            boot: (start_up, start_up),
            cost,
            // A replica with one worker.
            cpu_limit_milli: quota.unwrap_or(1000).max(1),
            boot_cpu_milli: u64::try_from(start_cost.as_micros() * 1000 / start_up.as_micros().max(1))
                .unwrap_or(u64::MAX),
            ..Program::default()
        }
    }
}

/// The error with advice for `rehearse`, which takes the interval of recorded load from its rows only.
fn without_interval(error: RecordingError) -> anyhow::Error {
    match error {
        RecordingError::NoInterval { name } => anyhow!(
            "the trace {name} has a single row, so its interval is not known; give at least two rows, or a rate"
        ),
        RecordingError::Interval { name, interval } => anyhow!(
            "the interval of the rows of the trace {name} is {interval:?}; give rows from 1ms to 24h apart"
        ),
        RecordingError::Trace(_) | RecordingError::Row { .. } => error.into(),
    }
}

/// The most intervals of recorded load, which is held in memory.
///
/// 8,640,000 = 100 days of seconds: 69 MB.
const INTERVALS_MAX: u64 = 100 * 24 * 60 * 60;

/// The begin of the simulated time without recorded load: a midnight.
const BEGIN: Wall = Wall::from_millis(sim::Simulation::begin().as_millis());

/// The default of `--cost`.
const COST_DEFAULT: Duration = Duration::from_millis(10);

/// The default of `--start-up`.
const START_UP_DEFAULT: Duration = Duration::from_millis(500);

/// The time from the action to the running process, as measured on Linux with a control group per replica.
const EXEC: Duration = Duration::from_millis(5);
