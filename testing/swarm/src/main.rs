//! `swarm`: many simulated days, each under its own faults.
//!
//! Exits with 0 when no checker fails, with 1 when one does, with 2 when the arguments are wrong.

use std::io::stdout;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use clap::Parser;
use sim::Fault;
use swarm::shrink::shrink;
use swarm::{Config, Exclusions, Failure, Report, regressions, run};

/// The allocator of the released program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Debug, Parser)]
#[command(name = "swarm", about = "Runs simulated days under faults, with checkers after every step.")]
struct Arguments {
    /// How many seeds to run, counting from --first.
    #[arg(long, default_value_t = 200, conflicts_with = "seed")]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Simulated hours per seed.
    #[arg(long, default_value_t = 24.0, value_parser = hours)]
    hours: f64,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Leave out these faults, separated by commas.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Fault>,
    /// Keep at most this many services.
    #[arg(long)]
    services: Option<usize>,
    /// Leave out the operator: no declaration changes.
    #[arg(long)]
    no_operator: bool,
    /// Do not look for the smallest configuration of a failure.
    #[arg(long)]
    no_shrink: bool,
    /// Seeds that run side by side. Default: one per core.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

fn hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number of hours".to_owned())?;
    if (0.01..=10_000.0).contains(&hours) {
        Ok(hours)
    } else {
        Err("hours are between 0.01 and 10000".to_owned())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let span = Duration::from_secs_f64(arguments.hours * 3600.0);
    let exclusions = Exclusions {
        without: arguments.without.clone(),
        services: arguments.services,
        no_operator: arguments.no_operator,
    };
    let failed = match arguments.seed {
        Some(seed) => run_one(seed, span, &exclusions, arguments.trace),
        None => run_many(&arguments, span, &exclusions),
    };
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one seed.
fn run_one(seed: u64, span: Duration, exclusions: &Exclusions, trace: bool) -> u64 {
    let config = Config::of_seed(seed, span, exclusions);
    print!("{config}");
    let begun = os::since_boot();
    let report = if trace { run(&config, Some(&mut stdout().lock())) } else { run(&config, None) };
    print_speed("", report.steps, report.span, os::since_boot().saturating_sub(begun), 1);
    match &report.failure {
        None => println!("seed {seed}: no failure; digest {:016x}", report.digest),
        Some(failure) => println!("seed {seed}: {failure}"),
    }
    u64::from(report.failure.is_some())
}

/// Runs the recorded seeds and the requested ones side by side; returns how many failed.
fn run_many(arguments: &Arguments, span: Duration, exclusions: &Exclusions) -> u64 {
    let jobs =
        arguments.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let recorded = regressions::regressions();
    let mut tasks: Vec<Task> = recorded.iter().map(|r| Task { seed: r.seed, span: r.span }).collect();
    tasks.extend(
        (arguments.first..arguments.first.saturating_add(arguments.seeds)).map(|seed| Task { seed, span }),
    );
    let begun = os::since_boot();
    let (mut steps, mut simulated, mut failed) = (0, Duration::ZERO, 0);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for _ in 0..jobs {
            let (sender, next, tasks) = (sender.clone(), &next, &tasks);
            scope.spawn(move || {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if sender.send((*task, run_checked(*task, exclusions))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (task, report) in results {
            steps += report.steps;
            simulated += report.span;
            if let Some(failure) = &report.failure {
                failed += 1;
                print_failure(task, exclusions, failure, arguments.no_shrink);
            }
        }
    });
    let wall = os::since_boot().saturating_sub(begun);
    print_speed(&format!("{} seeds: ", tasks.len()), steps, simulated, wall, jobs);
    println!("{failed} failed");
    failed
}

/// One seed and its simulated time.
#[derive(Clone, Copy, Debug)]
struct Task {
    seed: u64,
    span: Duration,
}

/// The first part of every run is repeated, and has to be the same both times.
const REPEATED: Duration = Duration::from_mins(30);

fn run_checked(task: Task, exclusions: &Exclusions) -> Report {
    let config = Config::of_seed(task.seed, task.span, exclusions);
    let mut report = run(&config, None);
    if report.failure.is_none() {
        let short = Config::of_seed(task.seed, REPEATED.min(task.span), exclusions);
        let (first, second) = (run(&short, None), run(&short, None));
        if first != second {
            report.failure = Some(Failure {
                checker: "determinism",
                message: "the same seed gave two different runs".to_owned(),
                step: first.steps,
                at: sim::Simulation::begin() + first.span,
            });
        }
    }
    report
}

fn print_failure(task: Task, exclusions: &Exclusions, failure: &Failure, is_brief: bool) {
    let command = |exclusions: &Exclusions, span: Duration| {
        let hours = span.as_secs_f64() / 3600.0;
        format!(
            "cargo run --release -p swarm -- --seed {} --hours {hours:.4}{}",
            task.seed,
            exclusions.arguments()
        )
    };
    println!("seed {} failed: {failure}", task.seed);
    println!("  run again: {}", command(exclusions, task.span));
    if is_brief {
        return;
    }
    let shrunk = shrink(task.seed, task.span, exclusions, failure);
    println!("  smallest:  {} --trace", command(&shrunk.exclusions, shrunk.span));
    println!("  its failure: {}", shrunk.failure);
    for line in Config::of_seed(task.seed, shrunk.span, &shrunk.exclusions).to_string().lines() {
        println!("    {line}");
    }
}

fn print_speed(label: &str, steps: u64, simulated: Duration, wall: Duration, jobs: usize) {
    let (hours, seconds) = (simulated.as_secs_f64() / 3600.0, wall.as_secs_f64());
    let rate = if seconds > 0.0 { steps as f64 / seconds } else { 0.0 };
    println!(
        "{label}{steps} steps, {hours:.1} simulated hours in {seconds:.2} s: {rate:.0} steps/s on {jobs} {}",
        if jobs == 1 { "thread" } else { "threads" }
    );
}
