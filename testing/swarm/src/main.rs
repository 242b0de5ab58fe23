//! `swarm`: many simulated days, each under its own faults.
//!
//! Exits with 0 when nothing objects, with 1 when a checker does, with 2 when the arguments were wrong.

use std::io::stdout;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use clap::Parser;
use sim::Fault;
use swarm::shrink::shrink;
use swarm::{Config, Cut, Failure, Report, regressions, run};

/// As in the binary that ships.
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
    /// Leave out the operator: nobody changes anything.
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
    let cut = Cut {
        without: arguments.without.clone(),
        services: arguments.services,
        no_operator: arguments.no_operator,
    };
    let failed = match arguments.seed {
        Some(seed) => one(seed, span, &cut, arguments.trace),
        None => many(&arguments, span, &cut),
    };
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one seed.
fn one(seed: u64, span: Duration, cut: &Cut, trace: bool) -> u64 {
    let config = Config::of_seed(seed, span, cut);
    print!("{config}");
    let begun = os::since_boot();
    let report = if trace { run(&config, Some(&mut stdout().lock())) } else { run(&config, None) };
    print_speed("", report.steps, report.span, os::since_boot().saturating_sub(begun), 1);
    match &report.failure {
        None => println!("seed {seed}: nothing objects; digest {:016x}", report.digest),
        Some(failure) => println!("seed {seed}: {failure}"),
    }
    u64::from(report.failure.is_some())
}

/// Runs the recorded seeds and the requested ones side by side; returns how many failed.
fn many(arguments: &Arguments, span: Duration, cut: &Cut) -> u64 {
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
        let (tell, hear) = mpsc::channel();
        for _ in 0..jobs {
            let (tell, next, tasks) = (tell.clone(), &next, &tasks);
            scope.spawn(move || {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if tell.send((*task, run_checked(*task, cut))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        for (task, report) in hear {
            steps += report.steps;
            simulated += report.span;
            if let Some(failure) = &report.failure {
                failed += 1;
                print_failure(task, cut, failure, arguments.no_shrink);
            }
        }
    });
    let wall = os::since_boot().saturating_sub(begun);
    print_speed(&format!("{} seeds: ", tasks.len()), steps, simulated, wall, jobs);
    println!("{failed} failed");
    failed
}

/// One seed and how long its world is watched.
#[derive(Clone, Copy, Debug)]
struct Task {
    seed: u64,
    span: Duration,
}

/// The beginning of every run is run twice, and must be the same.
const TWICE: Duration = Duration::from_mins(30);

fn run_checked(task: Task, cut: &Cut) -> Report {
    let config = Config::of_seed(task.seed, task.span, cut);
    let mut report = run(&config, None);
    if report.failure.is_none() {
        let short = Config::of_seed(task.seed, TWICE.min(task.span), cut);
        let (first, second) = (run(&short, None), run(&short, None));
        if first != second {
            report.failure = Some(Failure {
                checker: "determinism",
                sentence: "the same seed gave two different runs".to_owned(),
                step: first.steps,
                at: sim::Simulation::begin() + first.span,
            });
        }
    }
    report
}

fn print_failure(task: Task, cut: &Cut, failure: &Failure, is_brief: bool) {
    let command = |cut: &Cut, span: Duration| {
        let hours = span.as_secs_f64() / 3600.0;
        format!("cargo run --release -p swarm -- --seed {} --hours {hours:.4}{}", task.seed, cut.arguments())
    };
    println!("seed {} failed: {failure}", task.seed);
    println!("  again:    {}", command(cut, task.span));
    if is_brief {
        return;
    }
    let shrunk = shrink(task.seed, task.span, cut, failure);
    println!("  smallest: {} --trace", command(&shrunk.cut, shrunk.span));
    println!("  there:    {}", shrunk.failure);
    for line in Config::of_seed(task.seed, shrunk.span, &shrunk.cut).to_string().lines() {
        println!("    {line}");
    }
}

fn print_speed(whose: &str, steps: u64, simulated: Duration, wall: Duration, jobs: usize) {
    let (hours, seconds) = (simulated.as_secs_f64() / 3600.0, wall.as_secs_f64());
    let rate = if seconds > 0.0 { steps as f64 / seconds } else { 0.0 };
    println!(
        "{whose}{steps} steps, {hours:.1} simulated hours in {seconds:.2} s: {rate:.0} steps/s on {jobs} {}",
        if jobs == 1 { "thread" } else { "threads" }
    );
}
