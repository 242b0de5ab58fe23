//! Benchmarks of Homeostat, compared with targets.
//!
//! Each bench prints its figures with their targets and the command that repeats it. A missed target is shown, but is not a
//! failure without `--strict`: on a shared machine a figure is an observation, not a test.
//! docs/benchmarks.md has the results of one run.

mod figure;
mod print;
mod recorded;
mod spans;

mod core_step;
mod explaining;
mod scaling;
mod simulate;
mod simulator;

mod forecast;
mod foresight;

mod instance;
mod loading;
mod replica;

mod idle;
mod restart;
mod scale_out;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use figure::Findings;

/// The allocator of the released program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Debug, Parser)]
#[command(name = "bench", about = "Measures Homeostat and compares the figures with their targets.")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Which benches to run; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<Bench>,
    /// Print JSON on standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// The folder that has recorded loads, as `traces/*.csv`.
    #[arg(long, env = "HOMEOSTAT_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Exit with 1 when a target is missed or a bench could not be run.
    #[arg(long)]
    strict: bool,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Clone, Debug, Subcommand)]
enum Mode {
    /// Run as a replica of a bench.
    #[command(hide = true)]
    Replica(replica::Options),
}

/// The benches, in the order in which they run: memory is measured first, before others have used any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Bench {
    /// One step of the loop with 10,000 services and 100,000 replicas known: time and memory.
    CoreStep,
    /// Decisions of 10,000 autoscalers with four metrics each.
    Scaling,
    /// The cost of explaining why a decision was made, and what would change it.
    Explaining,
    /// Steps of the simulator per second of one core.
    Simulator,
    /// A year of minutes by each policy of `homeostat simulate`.
    Simulate,
    /// From kill -9 of a replica to its successor's exec.
    Restart,
    /// From a step of the load to the first request that a new replica serves.
    ScaleOut,
    /// Memory and processor of Homeostat while nothing happens, and the size of its binary.
    Idle,
    /// Requests and connections per second, latency and processor time of the proxy, compared with nginx and HAProxy.
    Proxy,
    /// Memory of idle connections, compared with nginx and HAProxy.
    Connections,
    /// Latency for clients when one backend is slower than the others, compared with nginx and HAProxy.
    Unequal,
    /// Failed requests while replicas are killed and scaled and configurations change, compared with nginx and HAProxy.
    ZeroLoss,
    /// The accuracy of forecasts over recorded loads.
    Forecast,
    /// What policies would have done over recorded loads.
    Foresight,
}

impl Bench {
    fn run(self, data: Option<&Path>) -> anyhow::Result<Findings> {
        match self {
            Self::CoreStep => core_step::run(),
            Self::Scaling => scaling::run(),
            Self::Explaining => explaining::run(),
            Self::Simulator => simulator::run(),
            Self::Simulate => simulate::run(),
            Self::Restart => restart::run(),
            Self::ScaleOut => scale_out::run(),
            Self::Idle => idle::run(),
            Self::Proxy => traffic::proxy::run(),
            Self::Connections => traffic::connections::run(),
            Self::Unequal => traffic::unequal::run(),
            Self::ZeroLoss => traffic::zero_loss::run(),
            Self::Forecast => forecast::run(data),
            Self::Foresight => foresight::run(data),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CoreStep => "core-step",
            Self::Scaling => "scaling",
            Self::Explaining => "explaining",
            Self::Simulator => "simulator",
            Self::Simulate => "simulate",
            Self::Restart => "restart",
            Self::ScaleOut => "scale-out",
            Self::Idle => "idle",
            Self::Proxy => "proxy",
            Self::Connections => "connections",
            Self::Unequal => "unequal",
            Self::ZeroLoss => "zero-loss",
            Self::Forecast => "forecast",
            Self::Foresight => "foresight",
        }
    }
}

fn main() -> ExitCode {
    // Before anything else, because a replica reports its start.
    let begun = os::since_boot();
    let arguments = Arguments::parse();
    match &arguments.mode {
        Some(Mode::Replica(options)) => match replica::run(options, begun) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench: {error:#}");
                ExitCode::FAILURE
            }
        },
        None => run_benches(&arguments),
    }
}

fn run_benches(arguments: &Arguments) -> ExitCode {
    let mut benches = arguments.names.clone();
    if benches.is_empty() {
        benches.extend_from_slice(Bench::value_variants());
    }
    benches.sort_unstable();
    benches.dedup();
    let mut all = Vec::new();
    for bench in benches {
        eprintln!("running {}", bench.name());
        let findings = bench
            .run(arguments.data.as_deref())
            .unwrap_or_else(|error| Findings::skipped(bench.name(), &error));
        if !arguments.json {
            print::table(&findings);
        }
        all.push(findings);
    }
    if arguments.json {
        print::json(&all);
    } else {
        print::verdict(&all);
    }
    let is_success = all.iter().all(|findings| findings.misses() == 0 && findings.skipped.is_none());
    if arguments.strict && !is_success { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
