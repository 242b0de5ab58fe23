//! Automation of the workspace. Developers and CI run the same commands:
//!
//! - `cargo xtask demo` shows Homeostat scaling a shop under load
//! - `cargo xtask test` runs all of CI
//! - `cargo xtask tidy` checks the laws of the workspace
//! - `cargo xtask fuzz` fuzzes the parsers
//! - `cargo xtask cgroup2` tests the process platform on a kernel with control groups of version 2
//! - `cargo xtask sim` passes its arguments to `swarm`, built in release, and `cargo xtask bench` to `bench`, built in profile dist
//!
//! It depends on no other crate of the workspace, so that it works when they do not compile. It exits with 0 on success, 1 when a task
//! failed, and 2 on invalid arguments.

mod cargo;
mod cgroup2;
mod demo;
mod fuzz;
mod metadata;
mod modules;
mod needs;
mod rust_source;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cargo::Profile;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Automation of the workspace.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build, start Homeostat with a small shop, run a flash sale against it, kill a replica, and report the
    /// result.
    Demo(demo::Options),
    /// Install the programs that tests need and run every check; CI runs exactly this.
    Test(test::Options),
    /// Fuzz all parsers of the workspace with libFuzzer.
    Fuzz(fuzz::Options),
    /// Test the process platform on a kernel with control groups of version 2, independent of the kernel of this machine.
    Cgroup2,
    /// Check the laws of the workspace, such as dependencies between rings, purity of core, sizes, names, links and licences.
    Tidy(tidy::Options),
    /// Run simulated days under faults; arguments go to `swarm` (--seed N --trace, --seeds N --hours H).
    #[command(disable_help_flag = true)]
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run all benchmarks or the named one; arguments go to `bench`.
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Cgroup2 => cgroup2::run(),
        Task::Tidy(options) => tidy::run(&options),
        Task::Sim { arguments } => cargo::run_optimized(Profile::Release, &["swarm"], &arguments),
        Task::Bench { arguments } => {
            cargo::run_optimized(Profile::Dist, &["homeostat", "shop", "bench"], &arguments)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
