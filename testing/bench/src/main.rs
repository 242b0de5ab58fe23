//! Benches: what the house reaches, beside what it must reach.
//!
//! Each bench prints its figures with their targets and the command that repeats it. A missed target is told, and is no
//! failure unless `--strict` asks for that: on a machine that others share, a figure is an observation, not a test.
//! docs/benchmarks.md has a run of all of them.

mod core_step;
mod figure;
mod print;
mod simulator;
mod spans;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use figure::Findings;

#[derive(Clone, Debug, Parser)]
#[command(name = "bench", about = "Measures what the house reaches, beside what it must reach.")]
struct Words {
    /// Which benches to run; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<Bench>,
    /// Print JSON on standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a target is missed or a bench could not be run.
    #[arg(long)]
    strict: bool,
}

/// The benches, in the order in which they run: memory is measured first, before others have used any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Bench {
    /// One step of the loop with 10,000 services and 100,000 replicas known: time and memory.
    CoreStep,
    /// Steps of the simulator in a second of one core.
    Simulator,
}

impl Bench {
    fn run(self) -> anyhow::Result<Findings> {
        match self {
            Self::CoreStep => core_step::run(),
            Self::Simulator => simulator::run(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CoreStep => "core-step",
            Self::Simulator => "simulator",
        }
    }
}

fn main() -> ExitCode {
    let words = Words::parse();
    let mut benches = words.names.clone();
    if benches.is_empty() {
        benches.extend_from_slice(Bench::value_variants());
    }
    benches.sort_unstable();
    benches.dedup();
    let mut all = Vec::new();
    for bench in benches {
        eprintln!("running {}", bench.name());
        let findings = bench.run().unwrap_or_else(|error| {
            let mut findings = Findings::of(bench.name());
            findings.skipped = Some(format!("{error:#}"));
            findings
        });
        if !words.json {
            print::table(&findings);
        }
        all.push(findings);
    }
    if words.json {
        print::json(&all);
    } else {
        print::verdict(&all);
    }
    let is_whole = all.iter().all(|findings| findings.misses() == 0 && findings.skipped.is_none());
    if words.strict && !is_whole { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
