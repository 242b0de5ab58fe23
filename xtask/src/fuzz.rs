//! `cargo xtask fuzz`: fuzzes all parsers with libFuzzer and the stable toolchain.
//!
//! The coverage that guides the fuzzer comes from a pass of LLVM that the stable compiler has too
//! (<https://clang.llvm.org/docs/SanitizerCoverage.html>). Only the address sanitizer needs a nightly toolchain; it checks unsafe code,
//! and no parser has any.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};

use crate::{cargo, needs};

/// Compiler flags of the fuzzed code: it counts edges and comparisons, and has debug assertions.
const RUSTFLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // With more codegen units the linker drops counters that the fuzzer reads.
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
];

/// Folders of initial inputs for a target, besides those found by earlier runs.
const SEEDS: &[(&str, &str)] = &[("manifest", "examples"), ("heads", "fuzz/seeds/heads")];

/// Limit of the time for an input; much longer than any takes on a busy machine.
const INPUT_TIME_MAX: &str = "-timeout=20";

/// Limit of memory; far above what the limits of the parsers allow.
const MEMORY_MAX: &str = "-rss_limit_mb=1024";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Fuzz only these parsers, by the names of their files in fuzz/fuzz_targets.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Duration for each target, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Run the target with this input only, to reproduce a failure.
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    input: Option<PathBuf>,
}

impl Options {
    /// Every parser for a few seconds, which finds simple bugs.
    pub(crate) fn short() -> Self {
        Self { targets: Vec::new(), seconds: 5, input: None }
    }
}

/// Builds the targets and runs them, one per core; found inputs are stored in `target/fuzz` for the next run.
///
/// Fails, naming the folder of the input, when a parser panics, hangs or uses too much memory.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = cargo::root();
    let known = targets(&root)?;
    if let Some(unknown) = options.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; the targets are {}", known.join(", "));
    }
    if options.input.is_some() && options.targets.len() != 1 {
        bail!("an input is for one target: name it, as in `cargo xtask fuzz manifest --input FILE`");
    }
    if !needs::is_on_path("c++") {
        bail!("could not build libFuzzer: there is no C++ compiler; on Debian: apt-get install g++");
    }
    let programs = build(&root)?;
    let selected = if options.targets.is_empty() { &known } else { &options.targets };
    in_parallel(selected, |name| fuzz(&root, &programs.join(name), name, options))
}

/// Calls `work` for each name, in as many threads as there are cores. After a failure no more are started; returns the error of the first
/// of `names` that failed, after the running ones have ended.
fn in_parallel(names: &[String], work: impl Fn(&str) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..cores.min(names.len()) {
            scope.spawn(|| {
                while let Some((at, name)) = take_next(&next, names) {
                    if let Err(error) = work(name) {
                        next.store(names.len(), Ordering::Relaxed);
                        failures.lock().unwrap_or_else(PoisonError::into_inner).insert(at, error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.into_values().next().map_or(Ok(()), Err)
}

fn take_next<'n>(next: &AtomicUsize, names: &'n [String]) -> Option<(usize, &'n str)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    names.get(at).map(|name| (at, name.as_str()))
}

/// The names of all targets, in order.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort_unstable();
    Ok(names)
}

/// Builds every target; returns the folder of the programs.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let triple = host_triple()?;
    let target = root.join("target/fuzz");
    let mut call = cargo::command(&root.join("fuzz"));
    // With a named target the flags do not apply to build scripts and macros, which could not be linked with them.
    call.args(["build", "--release", "--bins", "--target", &triple, "--target-dir"]).arg(&target);
    // Replaces the flags that the user has set for other builds.
    call.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\u{1f}"));
    cargo::run(&mut call)?;
    Ok(target.join(triple).join("release"))
}

/// The target triple of this machine.
fn host_triple() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).arg("-vV").output().context("could not start rustc to read its version")?;
    let output = String::from_utf8(output.stdout).context("the version of rustc is not UTF-8")?;
    let host = output.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("the version of rustc has no line `host:`")?.to_owned())
}

fn fuzz(root: &Path, program: &Path, name: &str, options: &Options) -> anyhow::Result<()> {
    let findings = root.join("target/fuzz/found").join(name);
    let corpus = findings.join("corpus");
    fs::create_dir_all(&corpus).with_context(|| format!("could not create {}", corpus.display()))?;
    let mut call = Command::new(program);
    call.current_dir(root).args([INPUT_TIME_MAX, MEMORY_MAX]);
    call.arg(format!("-artifact_prefix={}/", findings.display()));
    if let Some(input) = &options.input {
        return cargo::run(call.arg(std::path::absolute(input)?));
    }
    call.args(["-verbosity=0", "-print_final_stats=1"]).arg(format!("-max_total_time={}", options.seconds));
    call.arg(&corpus);
    call.args(SEEDS.iter().filter(|(target, _)| *target == name).map(|(_, folder)| root.join(folder)));
    let done = call.output().with_context(|| format!("could not start the fuzz target {name}"))?;
    let output = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        eprintln!("{output}");
        bail!(
            "the fuzz target `{name}` failed: the input is the newest file in {}; reproduce it with `cargo xtask fuzz {name} --input FILE`",
            findings.display()
        );
    }
    let inputs = statistic(&output, "number_of_executed_units").unwrap_or_default();
    let new = statistic(&output, "new_units_added").unwrap_or_default();
    println!("      {name:<12} {inputs:>9} inputs in {} s, {new} of them with new coverage", options.seconds);
    Ok(())
}

/// A number in the final statistics of libFuzzer, `stat::NAME: NUMBER`.
fn statistic(output: &str, name: &str) -> Option<u64> {
    let value =
        |line: &str| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
    output.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_reported_with_the_known_ones() {
        let options = Options { targets: vec!["manifst".to_owned()], seconds: 1, input: None };

        let error = run(&options).expect_err("there is no such target").to_string();
        assert!(
            error.starts_with("there is no fuzz target `manifst`; the targets are exposition, formula"),
            "{error}"
        );
    }

    #[test]
    fn every_target_is_run_once_and_the_first_that_fails_is_named() {
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        let done = Mutex::new(Vec::new());
        let record = |name: &str| done.lock().expect("nobody panics").push(name.to_owned());

        in_parallel(&names, |name| {
            record(name);
            Ok(())
        })
        .expect("none fails");
        let mut all = std::mem::take(&mut *done.lock().expect("nobody panics"));
        all.sort_unstable();
        assert_eq!(all, names);

        let fails = |name: &str| if name < "c" { bail!("{name} failed") } else { Ok(()) };
        let error = in_parallel(&names, fails).expect_err("two fail").to_string();
        assert_eq!(error, "a failed");
    }

    #[test]
    fn every_seed_belongs_to_a_target_and_exists() {
        let known = targets(&cargo::root()).expect("there are targets");

        for (target, folder) in SEEDS {
            assert!(known.iter().any(|name| name == target), "{target}");
            assert!(cargo::root().join(folder).is_dir(), "{folder}");
        }
    }

    #[test]
    fn an_input_without_its_target_is_refused() {
        let options = Options { targets: Vec::new(), seconds: 60, input: Some(PathBuf::from("crash")) };

        assert!(run(&options).is_err_and(|error| error.to_string().contains("name it")));
    }

    #[test]
    fn a_statistic_of_the_fuzzer_is_read_by_name() {
        let output = "Done 84811 runs in 6 second(s)\nstat::number_of_executed_units: 84811\nstat::new_units_added:          857\n";

        assert_eq!(statistic(output, "number_of_executed_units"), Some(84_811));
        assert_eq!(statistic(output, "new_units_added"), Some(857));
        assert_eq!(statistic(output, "slowest_unit_time_sec"), None);
    }
}
