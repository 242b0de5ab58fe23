//! `tune`: searches better settings for the policy of a service, and shows them as a diff.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use model::resource::{Bounds, Resource};
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use study::{PartSummary, Parts, SearchGoal, Tuning, TuningResult};

use super::recorded::HistoryArguments;
use super::show::{self, ProgressLine};
use super::subject::SubjectArguments;
use super::world::{self, WorldArguments};
use super::{Known, MeasureArguments, ReplicaArguments};
use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::{Field, Output, Printer, STRING};
use crate::paint::{Paint, Tone, printable};
use crate::target::Subject;

/// Search better settings for the policy of a service over its history, and show them as a diff with their benefit
///
/// Targets, minimums, stabilization windows, tolerances, delays, thresholds and minimums of the schedule are varied over the first part of
/// the history. A change is proposed only if it is also better on the rest. Nothing is changed: apply what you approve.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: SubjectArguments,
    /// What to search
    #[arg(long, value_name = "WHICH", default_value = "declared")]
    policy: PolicyArgument,
    /// The maximum number of settings to search; a few more are evaluated to revert changes without benefit
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    runs: u32,
    /// The share of the history to search on; the rest is held out
    #[arg(long, value_name = "PART", default_value = "67%", value_parser = part)]
    search_on: f64,
    #[command(flatten)]
    history: HistoryArguments,
    #[command(flatten)]
    replica: ReplicaArguments,
    #[command(flatten)]
    world: WorldArguments,
    #[command(flatten)]
    measure: MeasureArguments,
    /// Write the changed manifests to this file; nothing is written if no change is proposed
    #[arg(long, value_name = "FILE.yaml")]
    write: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PolicyArgument {
    /// Settings of the declared policy
    Declared,
    /// A learned policy, for a service with an SLO (scale.slo)
    Learned,
}

/// The result of a search.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TuneReport {
    target: String,
    trace: String,
    /// The number of settings that were evaluated, and of fields that were varied.
    runs: u32,
    knobs: usize,
    /// When the held-out part begins.
    split: String,
    /// Whether a change is proposed.
    is_better: bool,
    /// The scores on the part that was searched.
    searched: Scores,
    /// The scores on the held-out part.
    held_out: Scores,
    /// The proposed changes; empty without any.
    changes: Vec<Change>,
    /// The same as a unified diff of the manifests.
    diff: String,
    verdict: String,
    notes: Vec<String>,
}

/// The scores of the declared settings and of the best ones found.
#[derive(Serialize)]
struct Scores {
    before: PartSummary,
    after: Option<PartSummary>,
}

/// A proposed change of a field; null for an absent value.
#[derive(Serialize)]
struct Change {
    target: String,
    path: String,
    old: Option<Value>,
    new: Option<Value>,
}

pub(crate) fn run(context: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let subject = arguments.subject.subject(context)?;
    let name = arguments.subject.name().as_str();
    let history = arguments.history.read(context, arguments.subject.name())?;
    let learned = arguments.subject.learned(context)?;
    let known = Known { declared: Some(&subject.declared), learned: learned.as_ref(), ..Known::default() };
    let mut setting = arguments.replica.setting(known, &arguments.world, arguments.measure)?;
    let notes = [history.notes, arguments.replica.notes(known, setting.capacity)].concat();
    // Fewer replicas than declared may be simulated as well.
    setting.bounds = Bounds { min: setting.bounds.min.min(1), ..setting.bounds };
    let goal = match arguments.policy {
        PolicyArgument::Declared => SearchGoal::Settings,
        PolicyArgument::Learned => SearchGoal::Policy,
    };
    let tuning =
        Tuning { goal, runs_max: arguments.runs, seed: arguments.world.seed, searched: arguments.search_on };
    let gauge = ProgressLine::new(&history.recording.name);
    let on = (&setting, arguments.measure.measure());
    let tuned = study::tune(&history.recording, on, (&subject.resources, name), tuning, &mut |progress| {
        gauge.show(progress);
    });
    gauge.end();
    let tuned = tuned.context("could not tune (HS0016)")?;
    if tuned.knobs == 0 {
        let why = match goal {
            SearchGoal::Settings => {
                "it has no autoscaler with settings; declare min and max, or compare policies with simulate --compare"
            }
            SearchGoal::Policy => "learning needs an SLO, and it has none; declare scale.slo",
        };
        return Err(Failure::failed(format!("could not tune service/{name}: {why}")));
    }
    let report = TuneReport::new(name, &subject.resources, &tuned, arguments, notes)?;
    let printer = context.printer;
    printer.print(arguments.output.output, &report, |report| lines(report, printer))?;
    if let (Some(path), Some(resources)) = (&arguments.write, &tuned.resources) {
        let written = std::fs::write(path, manifest::to_yaml_stream(resources)?);
        written.with_context(|| {
            format!("could not write the manifests {}; check its folder and its permissions", path.display())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

impl TuneReport {
    fn new(
        name: &str,
        resources: &[Resource],
        tuned: &TuningResult,
        arguments: &Arguments,
        notes: Vec<String>,
    ) -> Result<Self, Failure> {
        let measure = arguments.measure.measure();
        let scores = |part: fn(&Parts) -> &fluid::Score| Scores {
            before: PartSummary::of(part(&tuned.before), measure),
            after: tuned.after.as_ref().map(|after| PartSummary::of(part(after), measure)),
        };
        let (mut changes, mut diff) = (Vec::new(), String::new());
        for (old, new) in resources.iter().zip(tuned.resources.iter().flatten()) {
            let target = format!("{}/{}", Subject::of(old), old.name());
            let changed = manifest::diff(old, new);
            if !changed.is_empty() {
                diff.push_str(&unified(&target, old, new)?);
            }
            changes.extend(changed.into_iter().map(|change| Change {
                target: target.clone(),
                path: change.path,
                old: change.old,
                new: change.new,
            }));
        }
        Ok(Self {
            target: format!("service/{name}"),
            trace: tuned.trace.clone(),
            runs: tuned.runs,
            knobs: tuned.knobs,
            split: tuned.split.to_string(),
            is_better: tuned.resources.is_some(),
            searched: scores(|parts| &parts.searched),
            held_out: scores(|parts| &parts.held_out),
            changes,
            diff,
            verdict: tuned.verdict(measure),
            notes: [notes, tuned.notes()].concat(),
        })
    }
}

/// A unified diff of two resources as manifests.
fn unified(target: &str, old: &Resource, new: &Resource) -> Result<String, Failure> {
    let (old, new) = (manifest::to_yaml(old)?, manifest::to_yaml(new)?);
    let diff = TextDiff::from_lines(&old, &new);
    Ok(diff.unified_diff().context_radius(2).header(target, &format!("{target} (tuned)")).to_string())
}

fn lines(report: &TuneReport, printer: Printer) -> String {
    let mut text = format!(
        "{}: {} settings of {} fields evaluated over {}; held out from {} on\n\n",
        report.target,
        report.runs,
        report.knobs,
        printable(&report.trace),
        report.split
    );
    let mut grid =
        printer.table(&["PART", "SETTINGS", "VIOLATED", "MINUTES", "REPLICA-H", "ACTIONS", "STARTS"]);
    for (part, scores) in [("searched", &report.searched), ("held out", &report.held_out)] {
        for (settings, side) in [("declared", Some(&scores.before)), ("found", scores.after.as_ref())] {
            let Some(side) = side else { continue };
            grid.row([
                Field::text(part),
                Field::text(settings),
                Field::number(format!("{} %", show::percent(side.violated_requests_percent))),
                Field::number(format!("{:.1}", side.slo_violation_minutes)),
                Field::number(format!("{:.1}", side.replica_hours)),
                Field::number(side.actions),
                Field::number(side.starts),
            ]);
        }
    }
    write!(text, "{}\n{}\n", grid.finish(), report.verdict).expect(STRING);
    if !report.diff.is_empty() {
        write!(text, "\n{}", coloured(&report.diff, printer.paint)).expect(STRING);
    }
    for note in &report.notes {
        writeln!(text, "note: {note}").expect(STRING);
    }
    text
}

fn coloured(diff: &str, paint: Paint) -> String {
    let line = |line: &str| {
        let tone = match line.chars().next() {
            Some('+') => Some(Tone::Good),
            Some('-') => Some(Tone::Bad),
            _ => None,
        };
        let line = printable(line);
        format!("{}\n", tone.map_or(line.clone(), |tone| paint.tone(tone, &line)))
    };
    diff.lines().map(line).collect()
}

/// Parses a share from 10 to 95 %.
fn part(text: &str) -> Result<f64, String> {
    let part = world::part(text)?;
    let is_sound = (0.1..=0.95).contains(&part);
    if is_sound { Ok(part) } else { Err(format!("{text:?} leaves too little on one side; give 10% to 95%")) }
}
