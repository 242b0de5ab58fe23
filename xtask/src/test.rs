//! `cargo xtask test`: the whole of CI, step by step, with what each step took and what was left out and why.

mod beside;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};

use crate::cargo::{self, Profile};
use crate::{cgroup2, demo, fuzz, needs, tidy};
use beside::BackgroundSteps;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Go on after a step that failed; the exit code still says so.
    #[arg(long)]
    keep_going: bool,
    /// Run only these steps, by name.
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// Folder with recorded load (`traces/*.csv`) and Kubernetes' own cases (`hpa/vectors.json`); unless given, the folder
    /// `shared/data` beside the workspace.
    #[arg(long, env = "HOMEOSTAT_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Do the work of this one step, for a run that goes on beside it.
    #[arg(long, hide = true, value_name = "STEP")]
    beside: Option<String>,
}

/// One part of CI.
struct Step {
    name: &'static str,
    /// What a pass of it proves.
    proves: &'static str,
    core_use: CoreUse,
    work: Work,
}

/// How a step uses the cores, and so what may run beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CoreUse {
    /// It needs the cores for itself, or is short.
    Takes,
    /// It leaves cores idle, as it waits or goes on one of them: steps that only compute may run beside it.
    Waits,
    /// It only computes: it runs beside the steps before it that wait.
    Fills,
}

/// How a step is done.
enum Work {
    /// A call of cargo; passes when cargo succeeds.
    Cargo(&'static [&'static str]),
    /// Something that needs more than one call.
    Here(fn(&Options) -> anyhow::Result<Done>),
}

/// How a step that did not fail came to its end.
pub(crate) enum Done {
    Passed,
    /// A part of it could not be done: which and why, as a sentence.
    PassedWithout(String),
    /// What it needs is not here: the reason as a sentence.
    LeftOut(String),
}

/// How a step ended.
enum End {
    Passed,
    PassedWithout(String),
    /// It took so long beside those before it.
    PassedBeside(Duration),
    Failed,
    LeftOut(String),
    /// An earlier step failed.
    NotReached,
}

/// CI, cheap and telling things first.
const STEPS: &[Step] = &[
    Step {
        name: "needs",
        proves: "the programs that tests call are there",
        core_use: CoreUse::Takes,
        work: Work::Here(provide_needs),
    },
    Step {
        name: "fmt",
        proves: "the text has one form",
        core_use: CoreUse::Takes,
        work: Work::Cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "tidy",
        proves: "the laws of the workspace hold",
        core_use: CoreUse::Waits,
        work: Work::Here(hold_laws),
    },
    Step {
        name: "clippy",
        proves: "no lint speaks, in code or tests",
        core_use: CoreUse::Takes,
        work: Work::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step {
        name: "deny",
        proves: "licences, bans and sources as cargo-deny reads them",
        core_use: CoreUse::Takes,
        work: Work::Here(deny),
    },
    Step {
        name: "build",
        proves: "everything compiles",
        core_use: CoreUse::Takes,
        work: Work::Cargo(&["build", "--workspace", "--all-targets"]),
    },
    Step { name: "tests", proves: "every test passes", core_use: CoreUse::Waits, work: Work::Here(tests) },
    Step {
        name: "cgroup2",
        proves: "control groups of version 2 hold replicas, on a kernel that has them",
        core_use: CoreUse::Waits,
        work: Work::Here(|_| cgroup2::try_to_run()),
    },
    Step {
        name: "release",
        proves: "what ships builds",
        core_use: CoreUse::Fills,
        work: Work::Here(release),
    },
    Step {
        name: "demo",
        proves: "the main job on real processes and real load",
        core_use: CoreUse::Waits,
        work: Work::Here(short_demo),
    },
    Step {
        name: "demo-trace",
        proves: "the main job under a recorded load",
        core_use: CoreUse::Waits,
        work: Work::Here(trace_demo),
    },
    Step {
        name: "fuzz",
        proves: "no parser falls to what is quickly found",
        core_use: CoreUse::Fills,
        work: Work::Here(short_fuzz),
    },
    Step {
        name: "simulation",
        proves: "200 seeds × 24 simulated hours under faults break no checker",
        core_use: CoreUse::Fills,
        work: Work::Here(simulation),
    },
    // Last, as they take the lock of the debug build, which control groups want in their turn.
    Step {
        name: "doc-tests",
        proves: "the examples in the documentation run",
        core_use: CoreUse::Fills,
        work: Work::Cargo(&["test", "--workspace", "--doc", "--quiet"]),
    },
    Step {
        name: "doc",
        proves: "every name in brackets links",
        core_use: CoreUse::Fills,
        work: Work::Here(documentation),
    },
];

/// Runs every step, or those named, and prints a summary.
///
/// Stops at the first step that fails, unless asked to keep going. Fails, naming the steps, when one failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(name) = &options.beside {
        return do_one(name, options);
    }
    let unknown = |name: &&String| STEPS.iter().all(|step| step.name != **name);
    if let Some(unknown) = options.only.iter().find(unknown) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`; the steps are {}", known.join(", "));
    }
    let is_asked =
        |step: &&Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let steps: Vec<&Step> = STEPS.iter().filter(is_asked).collect();
    let first_wait = steps.iter().position(|step| step.core_use == CoreUse::Waits);
    let mut beside = None;
    let mut ends: Vec<(&Step, End, Duration)> = Vec::new();
    let (begin, mut has_failed) = (Instant::now(), false);
    for (index, step) in steps.iter().enumerate() {
        if has_failed && !options.keep_going {
            ends.push((step, End::NotReached, Duration::ZERO));
            continue;
        }
        println!("==> {}/{} {}: {}", index + 1, steps.len(), step.name, step.proves);
        let start = Instant::now();
        if first_wait == Some(index) {
            beside = Some(BackgroundSteps::begin(fillers(&steps[index..])));
        }
        let end = step.end(options, beside.as_ref());
        has_failed |= matches!(end, End::Failed);
        ends.push((step, end, start.elapsed()));
    }
    summarize(&ends, begin.elapsed());
    let failed: Vec<&str> =
        ends.iter().filter(|(_, end, _)| matches!(end, End::Failed)).map(|(step, ..)| step.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(anyhow!("failed: {}", failed.join(", "))) }
}

/// Does the work of one step for the run that started us.
fn do_one(name: &str, options: &Options) -> anyhow::Result<()> {
    beside::tied();
    let step = STEPS.iter().find(|step| step.name == name).with_context(|| format!("no step is `{name}`"))?;
    match step.work.run(options)? {
        Done::Passed => Ok(()),
        Done::PassedWithout(what) | Done::LeftOut(what) => bail!("{what}"),
    }
}

/// The steps that are done beside others, as these are from the first one that waits.
fn fillers(steps: &[&Step]) -> Vec<&'static str> {
    steps.iter().filter(|step| step.core_use == CoreUse::Fills).map(|step| step.name).collect()
}

impl Step {
    /// Does it, or takes what was done of it beside others, and says how it ended.
    fn end(&self, options: &Options, beside: Option<&BackgroundSteps>) -> End {
        let outcome = match beside.filter(|_| self.core_use == CoreUse::Fills) {
            Some(beside) => beside.take().map(End::PassedBeside),
            None => self.work.run(options).map(End::from),
        };
        match &outcome {
            Ok(End::PassedWithout(what)) => println!("    left out in part: {what}"),
            Ok(End::LeftOut(why)) => println!("    left out: {why}"),
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
            Self::Here(work) => work(options),
        }
    }
}

impl From<Done> for End {
    fn from(done: Done) -> Self {
        match done {
            Done::Passed => Self::Passed,
            Done::PassedWithout(what) => Self::PassedWithout(what),
            Done::LeftOut(why) => Self::LeftOut(why),
        }
    }
}

fn summarize(ends: &[(&Step, End, Duration)], total: Duration) {
    println!("==> summary");
    for (step, end, took) in ends {
        let word = match end {
            End::Passed => "passed".to_owned(),
            End::PassedWithout(what) => format!("passed; left out in part: {what}"),
            End::PassedBeside(took) => format!("passed, in {:.1} s beside those before", took.as_secs_f64()),
            End::Failed => "FAILED".to_owned(),
            End::LeftOut(why) => format!("left out: {why}"),
            End::NotReached => "not reached".to_owned(),
        };
        println!("    {:<12} {:>7.1} s  {word}", step.name, took.as_secs_f64());
    }
    println!("    {:<12} {:>7.1} s", "all", total.as_secs_f64());
}

fn provide_needs(_: &Options) -> anyhow::Result<Done> {
    needs::provide()?;
    Ok(Done::Passed)
}

fn hold_laws(_: &Options) -> anyhow::Result<Done> {
    tidy::run(&tidy::Options::default())?;
    Ok(Done::Passed)
}

fn deny(_: &Options) -> anyhow::Result<Done> {
    if !needs::is_on_path("cargo-deny") {
        let why = "cargo-deny is not installed and takes minutes to compile; `tidy licences` held the lists of deny.toml";
        return Ok(Done::LeftOut(why.to_owned()));
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
    // Tests stand in the folder of their crate.
    call.env("HOMEOSTAT_DATA", std::path::absolute(&data)?);
    cargo::run(&mut call)?;
    let missing: Vec<&str> = [("traces", "recorded load"), ("hpa/vectors.json", "Kubernetes' own cases")]
        .into_iter()
        .filter_map(|(path, what)| (!data.join(path).exists()).then_some(what))
        .collect();
    if missing.is_empty() {
        return Ok(Done::Passed);
    }
    let what = missing.join(" or ");
    Ok(Done::PassedWithout(format!("no test read {what}: not in {}; set HOMEOSTAT_DATA", data.display())))
}

fn documentation(_: &Options) -> anyhow::Result<Done> {
    let mut call = cargo::command(&cargo::root());
    call.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // The pages are for the people of the house: a link to something private leads somewhere.
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
        return Ok(Done::LeftOut(format!(
            "there is no recorded load to replay: {} is not there; set HOMEOSTAT_DATA to the folder that has traces/wc98_group.csv",
            trace.display()
        )));
    }
    demo::run(&demo::Options::short_trace(trace))?;
    Ok(Done::Passed)
}

/// The folder with recorded load and Kubernetes' own cases, whether it is there or not: beside the workspace unless it is told,
/// as the tests that read it by themselves have it.
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
    fn steps_are_selected_from_the_first_name_on() {
        let all: Vec<&Step> = STEPS.iter().collect();
        let first = all.iter().position(|step| step.core_use == CoreUse::Waits).expect("some wait");

        assert_eq!(fillers(&all[..first]), [""; 0], "those would be done by nobody");
        assert_eq!(fillers(&all[first..]), ["release", "fuzz", "simulation", "doc-tests", "doc"]);
    }

    #[test]
    fn a_missing_recorded_load_is_named() {
        let data = Some(PathBuf::from("/nowhere"));
        let options = Options { keep_going: false, only: Vec::new(), data, beside: None };

        let Ok(Done::LeftOut(why)) = trace_demo(&options) else { panic!("there is nothing to replay") };
        assert!(why.contains("/nowhere/traces/wc98_group.csv") && why.contains("HOMEOSTAT_DATA"), "{why}");
    }

    #[test]
    fn an_unknown_step_is_reported_with_the_known_ones() {
        let options = Options { keep_going: false, only: vec!["clipy".to_owned()], data: None, beside: None };

        let error = run(&options).expect_err("there is no such step").to_string();
        assert!(error.starts_with("there is no step `clipy`; the steps are needs, fmt"), "{error}");
    }
}
