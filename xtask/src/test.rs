//! `cargo xtask test`: runs all steps of CI and prints the time of each, and which were skipped and why.

mod background;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};

use crate::cargo::{self, Profile};
use crate::{cgroup2, demo, fuzz, needs, tidy};
use background::BackgroundSteps;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Continue after a failed step; the exit code still reports the failure.
    #[arg(long)]
    keep_going: bool,
    /// Run only these steps, by name.
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// Folder with recorded load (`traces/*.csv`) and test vectors of Kubernetes (`hpa/vectors.json`) [default: the folder
    /// `shared/data` next to the workspace]
    #[arg(long, env = "HOMEOSTAT_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Run this step as the background process of another run.
    #[arg(long, hide = true, value_name = "STEP")]
    background_step: Option<String>,
}

/// A step of CI.
struct Step {
    name: &'static str,
    /// What is proven when it passes.
    proves: &'static str,
    core_use: CoreUse,
    work: Work,
}

/// How a step uses the cores, which decides what may run at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CoreUse {
    /// It needs all cores, or is short.
    Exclusive,
    /// It leaves cores idle, since it waits or uses a single one: background steps may run at the same time.
    LeavesIdle,
    /// It only computes: it runs in the background of earlier steps that leave cores idle.
    Background,
}

/// The work of a step.
enum Work {
    /// A call of cargo; passes when cargo succeeds.
    Cargo(&'static [&'static str]),
    /// A function, for more than one call.
    Function(fn(&Options) -> anyhow::Result<Done>),
}

/// How a step ended without failing.
pub(crate) enum Done {
    Passed,
    /// A part could not be run: which and why, as a sentence.
    PassedInPart(String),
    /// Something it needs is missing: the reason as a sentence.
    Skipped(String),
}

/// How a step ended.
enum End {
    Passed,
    PassedInPart(String),
    /// Run in the background of earlier steps, with the time it took.
    PassedInBackground(Duration),
    Failed,
    Skipped(String),
    /// An earlier step failed.
    NotReached,
}

/// The steps of CI; fast ones that find many problems come first.
const STEPS: &[Step] = &[
    Step {
        name: "needs",
        proves: "the programs that tests call are installed",
        core_use: CoreUse::Exclusive,
        work: Work::Function(provide_needs),
    },
    Step {
        name: "fmt",
        proves: "the source is formatted",
        core_use: CoreUse::Exclusive,
        work: Work::Cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "tidy",
        proves: "the laws of the workspace hold",
        core_use: CoreUse::LeavesIdle,
        work: Work::Function(check_laws),
    },
    Step {
        name: "clippy",
        proves: "there are no lint warnings, in code or tests",
        core_use: CoreUse::Exclusive,
        work: Work::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step {
        name: "deny",
        proves: "licences, bans and sources of dependencies, checked by cargo-deny",
        core_use: CoreUse::Exclusive,
        work: Work::Function(deny),
    },
    Step {
        name: "build",
        proves: "everything compiles",
        core_use: CoreUse::Exclusive,
        work: Work::Cargo(&["build", "--workspace", "--all-targets"]),
    },
    Step {
        name: "tests",
        proves: "every test passes",
        core_use: CoreUse::LeavesIdle,
        work: Work::Function(tests),
    },
    Step {
        name: "cgroup2",
        proves: "control groups of version 2 limit replicas, on a kernel that has them",
        core_use: CoreUse::LeavesIdle,
        work: Work::Function(|_| cgroup2::try_to_run()),
    },
    Step {
        name: "release",
        proves: "the released binaries build",
        core_use: CoreUse::Background,
        work: Work::Function(release),
    },
    Step {
        name: "demo",
        proves: "scaling and healing with real processes and real load",
        core_use: CoreUse::LeavesIdle,
        work: Work::Function(short_demo),
    },
    Step {
        name: "demo-trace",
        proves: "scaling and healing under a recorded load",
        core_use: CoreUse::LeavesIdle,
        work: Work::Function(trace_demo),
    },
    Step {
        name: "fuzz",
        proves: "a short run finds no input that breaks a parser",
        core_use: CoreUse::Background,
        work: Work::Function(short_fuzz),
    },
    Step {
        name: "simulation",
        proves: "200 seeds × 24 simulated hours under faults break no checker",
        core_use: CoreUse::Background,
        work: Work::Function(simulation),
    },
    // Last, because they lock the debug build, which cgroup2 also needs.
    Step {
        name: "doc-tests",
        proves: "the examples in the documentation run",
        core_use: CoreUse::Background,
        work: Work::Cargo(&["test", "--workspace", "--doc", "--quiet"]),
    },
    Step {
        name: "doc",
        proves: "every link in the documentation of the code works",
        core_use: CoreUse::Background,
        work: Work::Function(documentation),
    },
];

/// Runs all steps or the selected ones, and prints a summary.
///
/// Stops at the first failed step, unless `keep_going`. Fails, naming the failed steps.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(name) = &options.background_step {
        return run_in_background(name, options);
    }
    let unknown = |name: &&String| STEPS.iter().all(|step| step.name != **name);
    if let Some(unknown) = options.only.iter().find(unknown) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`; the steps are {}", known.join(", "));
    }
    let is_selected =
        |step: &&Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let steps: Vec<&Step> = STEPS.iter().filter(is_selected).collect();
    let first_idle = steps.iter().position(|step| step.core_use == CoreUse::LeavesIdle);
    let mut background = None;
    let mut ends: Vec<(&Step, End, Duration)> = Vec::new();
    let (begin, mut has_failed) = (Instant::now(), false);
    for (index, step) in steps.iter().enumerate() {
        if has_failed && !options.keep_going {
            ends.push((step, End::NotReached, Duration::ZERO));
            continue;
        }
        println!("==> {}/{} {}: {}", index + 1, steps.len(), step.name, step.proves);
        let start = Instant::now();
        if first_idle == Some(index) {
            background = Some(BackgroundSteps::begin(background_steps(&steps[index..])));
        }
        let end = step.run(options, background.as_ref());
        has_failed |= matches!(end, End::Failed);
        ends.push((step, end, start.elapsed()));
    }
    summarize(&ends, begin.elapsed());
    let failed: Vec<&str> =
        ends.iter().filter(|(_, end, _)| matches!(end, End::Failed)).map(|(step, ..)| step.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(anyhow!("failed: {}", failed.join(", "))) }
}

/// Runs one step as a background process of another run.
fn run_in_background(name: &str, options: &Options) -> anyhow::Result<()> {
    background::detach();
    let step = STEPS.iter().find(|step| step.name == name).with_context(|| format!("no step is `{name}`"))?;
    match step.work.run(options)? {
        Done::Passed => Ok(()),
        Done::PassedInPart(what) | Done::Skipped(what) => bail!("{what}"),
    }
}

/// The names of the steps that run in the background.
fn background_steps(steps: &[&Step]) -> Vec<&'static str> {
    steps.iter().filter(|step| step.core_use == CoreUse::Background).map(|step| step.name).collect()
}

impl Step {
    /// Runs the step, or waits for its background process, and prints why it was skipped or failed.
    fn run(&self, options: &Options, background: Option<&BackgroundSteps>) -> End {
        let outcome = match background.filter(|_| self.core_use == CoreUse::Background) {
            Some(background) => background.take().map(End::PassedInBackground),
            None => self.work.run(options).map(End::from),
        };
        match &outcome {
            Ok(End::PassedInPart(what)) => println!("    skipped in part: {what}"),
            Ok(End::Skipped(why)) => println!("    skipped: {why}"),
            Ok(_) => {}
            Err(error) => eprintln!("    {}: {error:#}", self.name),
        }
        outcome.unwrap_or(End::Failed)
    }
}

impl Work {
    fn run(&self, options: &Options) -> anyhow::Result<Done> {
        match self {
            Self::Cargo(arguments) => {
                cargo::run(cargo::command(&cargo::root()).args(*arguments))?;
                Ok(Done::Passed)
            }
            Self::Function(work) => work(options),
        }
    }
}

impl From<Done> for End {
    fn from(done: Done) -> Self {
        match done {
            Done::Passed => Self::Passed,
            Done::PassedInPart(what) => Self::PassedInPart(what),
            Done::Skipped(why) => Self::Skipped(why),
        }
    }
}

fn summarize(ends: &[(&Step, End, Duration)], total: Duration) {
    println!("==> summary");
    for (step, end, took) in ends {
        let result = match end {
            End::Passed => "passed".to_owned(),
            End::PassedInPart(what) => format!("passed; skipped in part: {what}"),
            End::PassedInBackground(took) => {
                format!("passed, in {:.1} s in the background", took.as_secs_f64())
            }
            End::Failed => "FAILED".to_owned(),
            End::Skipped(why) => format!("skipped: {why}"),
            End::NotReached => "not reached".to_owned(),
        };
        println!("    {:<12} {:>7.1} s  {result}", step.name, took.as_secs_f64());
    }
    println!("    {:<12} {:>7.1} s", "all", total.as_secs_f64());
}

fn provide_needs(_: &Options) -> anyhow::Result<Done> {
    needs::provide()?;
    Ok(Done::Passed)
}

fn check_laws(_: &Options) -> anyhow::Result<Done> {
    tidy::run(&tidy::Options::default())?;
    Ok(Done::Passed)
}

fn deny(_: &Options) -> anyhow::Result<Done> {
    if !needs::is_on_path("cargo-deny") {
        let why = "cargo-deny is not installed and takes minutes to compile; `tidy licences` has checked the lists of deny.toml";
        return Ok(Done::Skipped(why.to_owned()));
    }
    cargo::run(cargo::command(&cargo::root()).args([
        "deny",
        "--offline",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))?;
    Ok(Done::Passed)
}

fn tests(options: &Options) -> anyhow::Result<Done> {
    let mut call = cargo::command(&cargo::root());
    if needs::is_on_path("cargo-nextest") {
        call.args(["nextest", "run", "--workspace", "--status-level", "fail", "--no-fail-fast"]);
    } else {
        call.args(["test", "--workspace", "--lib", "--bins", "--tests", "--quiet", "--no-fail-fast"]);
    }
    let data = data(options);
    // Absolute, since the working folder of a test is that of its crate.
    call.env("HOMEOSTAT_DATA", std::path::absolute(&data)?);
    cargo::run(&mut call)?;
    let missing: Vec<&str> =
        [("traces", "recorded load"), ("hpa/vectors.json", "test vectors of Kubernetes")]
            .into_iter()
            .filter_map(|(path, what)| (!data.join(path).exists()).then_some(what))
            .collect();
    if missing.is_empty() {
        return Ok(Done::Passed);
    }
    let what = missing.join(" or ");
    Ok(Done::PassedInPart(format!(
        "no test has used {what}: not found in {}; set HOMEOSTAT_DATA",
        data.display()
    )))
}

fn documentation(_: &Options) -> anyhow::Result<Done> {
    let mut call = cargo::command(&cargo::root());
    call.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // Private items are documented too, so links to them work.
    cargo::run(call.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"))?;
    Ok(Done::Passed)
}

fn short_fuzz(_: &Options) -> anyhow::Result<Done> {
    fuzz::run(&fuzz::Options::short())?;
    Ok(Done::Passed)
}

fn release(_: &Options) -> anyhow::Result<Done> {
    cargo::build_optimized(&cargo::root(), Profile::Release, &["homeostat", "shop", "swarm"])?;
    Ok(Done::Passed)
}

fn simulation(_: &Options) -> anyhow::Result<Done> {
    let arguments = ["--seeds", "200", "--hours", "24"].map(str::to_owned);
    cargo::run_optimized(Profile::Release, &["homeostat", "shop", "swarm"], &arguments)?;
    Ok(Done::Passed)
}

fn short_demo(_: &Options) -> anyhow::Result<Done> {
    demo::run(&demo::Options::short())?;
    Ok(Done::Passed)
}

fn trace_demo(options: &Options) -> anyhow::Result<Done> {
    let trace = data(options).join("traces/wc98_group.csv");
    if !trace.is_file() {
        return Ok(Done::Skipped(format!(
            "there is no recorded load to replay: {} does not exist; set HOMEOSTAT_DATA to the folder with traces/wc98_group.csv",
            trace.display()
        )));
    }
    demo::run(&demo::Options::short_trace(trace))?;
    Ok(Done::Passed)
}

/// The folder with recorded load and test vectors, which may not exist; the default is the same as in the tests that use it.
fn data(options: &Options) -> PathBuf {
    options.data.clone().unwrap_or_else(|| cargo::root().with_file_name("shared").join("data"))
}

#[cfg(test)]
mod step_tests {
    use super::*;

    #[test]
    fn step_names_are_unique() {
        let names: std::collections::BTreeSet<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }

    #[test]
    fn background_steps_start_with_the_first_step_that_leaves_cores_idle() {
        let all: Vec<&Step> = STEPS.iter().collect();
        let first = all.iter().position(|step| step.core_use == CoreUse::LeavesIdle).expect("there is one");

        assert_eq!(background_steps(&all[..first]), [""; 0], "they would never be started");
        assert_eq!(background_steps(&all[first..]), ["release", "fuzz", "simulation", "doc-tests", "doc"]);
    }

    #[test]
    fn a_missing_recorded_load_is_named() {
        let data = Some(PathBuf::from("/nowhere"));
        let options = Options { keep_going: false, only: Vec::new(), data, background_step: None };

        let Ok(Done::Skipped(why)) = trace_demo(&options) else { panic!("there is nothing to replay") };
        assert!(why.contains("/nowhere/traces/wc98_group.csv") && why.contains("HOMEOSTAT_DATA"), "{why}");
    }

    #[test]
    fn an_unknown_step_is_reported_with_the_known_ones() {
        let options =
            Options { keep_going: false, only: vec!["clipy".to_owned()], data: None, background_step: None };

        let error = run(&options).expect_err("there is no such step").to_string();
        assert!(error.starts_with("there is no step `clipy`; the steps are needs, fmt"), "{error}");
    }
}
