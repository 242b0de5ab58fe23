//! `tune`: settings of a service's policy that would have done better, as a diff to approve.

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

use super::recorded::HistoryWords;
use super::show::{self, ProgressLine};
use super::subject::SubjectWords;
use super::world::{self, WorldWords};
use super::{Known, MeasureWords, ReplicaWords};
use crate::arguments::CommandContext;
use crate::failure::Failure;
use crate::output::{Field, Output, Printer, STRING};
use crate::paint::{Paint, Tone, printable};
use crate::target::Subject;

/// Search the settings of a service's policy over its history, and show what a change would be worth, as a diff to approve
///
/// Targets, fewest replicas, stabilisation, tolerances, delays, thresholds and floors of the schedule are varied over the first
/// part of the history. What is found is shown only if it is also better on the rest. Nothing is changed: apply what you approve.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: SubjectWords,
    /// What to search for
    #[arg(long, value_name = "WHICH", default_value = "declared")]
    policy: PolicyArgument,
    /// How many settings to search through at most; a few more are tried to take back what is not worth it
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    runs: u32,
    /// The share of the history to search on; the rest is held out
    #[arg(long, value_name = "PART", default_value = "67%", value_parser = part)]
    search_on: f64,
    #[command(flatten)]
    history: HistoryWords,
    #[command(flatten)]
    replica: ReplicaWords,
    #[command(flatten)]
    world: WorldWords,
    #[command(flatten)]
    measure: MeasureWords,
    /// Write the manifests with the change to this file, to be applied; nothing is written if nothing is proposed
    #[arg(long, value_name = "FILE.yaml")]
    write: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Whose numbers are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PolicyArgument {
    /// Settings of the policy that is declared
    Declared,
    /// A learned policy, for a service that is sized by what it promises (scale.slo)
    Learned,
}

/// What a search came to, for scripts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    target: String,
    trace: String,
    /// Settings that were tried, and fields that can be turned.
    runs: u32,
    knobs: usize,
    /// When the held-out part begins.
    split: String,
    /// Whether a change is proposed.
    is_better: bool,
    /// On the part that was searched on.
    searched: Sides,
    /// On the held-out part.
    held_out: Sides,
    /// What would be changed; empty when nothing is proposed.
    changes: Vec<Change>,
    /// The same as a unified diff of the manifests.
    diff: String,
    verdict: String,
    notes: Vec<String>,
}

/// The declared settings, and the best that were found.
#[derive(Serialize)]
struct Sides {
    before: PartSummary,
    after: Option<PartSummary>,
}

/// One field that would change; null where it is not there.
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
    // Fewer than are declared may be tried, too.
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
                "it has no autoscaler with settings; give it min and max, or try one with simulate --compare"
            }
            SearchGoal::Policy => "learning needs an SLO, and it declares none; give it scale.slo",
        };
        return Err(Failure::failed(format!("could not tune service/{name}: {why}")));
    }
    let answer = Answer::of(name, &subject.resources, &tuned, arguments, notes)?;
    let printer = context.printer;
    printer.print(arguments.output.output, &answer, |answer| lines(answer, printer))?;
    if let (Some(path), Some(resources)) = (&arguments.write, &tuned.resources) {
        let written = std::fs::write(path, manifest::to_yaml_stream(resources)?);
        written.with_context(|| {
            format!("could not write the manifests {}; check its folder and its permissions", path.display())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Answer {
    fn of(
        name: &str,
        resources: &[Resource],
        tuned: &TuningResult,
        arguments: &Arguments,
        notes: Vec<String>,
    ) -> Result<Self, Failure> {
        let measure = arguments.measure.measure();
        let sides = |part: fn(&Parts) -> &fluid::Score| Sides {
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
            searched: sides(|parts| &parts.searched),
            held_out: sides(|parts| &parts.held_out),
            changes,
            diff,
            verdict: tuned.verdict(measure),
            notes: [notes, tuned.notes()].concat(),
        })
    }
}

/// The manifests as `apply` would take them, one against the other.
fn unified(target: &str, old: &Resource, new: &Resource) -> Result<String, Failure> {
    let (old, new) = (manifest::to_yaml(old)?, manifest::to_yaml(new)?);
    let diff = TextDiff::from_lines(&old, &new);
    Ok(diff.unified_diff().context_radius(2).header(target, &format!("{target} (tuned)")).to_string())
}

fn lines(answer: &Answer, printer: Printer) -> String {
    let mut text = format!(
        "{}: {} settings of {} fields tried over {}; held out from {} on\n\n",
        answer.target,
        answer.runs,
        answer.knobs,
        printable(&answer.trace),
        answer.split
    );
    let mut grid =
        printer.table(&["PART", "SETTINGS", "VIOLATED", "MINUTES", "REPLICA-H", "ACTIONS", "STARTS"]);
    for (part, sides) in [("searched", &answer.searched), ("held out", &answer.held_out)] {
        for (settings, side) in [("declared", Some(&sides.before)), ("found", sides.after.as_ref())] {
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
    write!(text, "{}\n{}\n", grid.finish(), answer.verdict).expect(STRING);
    if !answer.diff.is_empty() {
        write!(text, "\n{}", coloured(&answer.diff, printer.paint)).expect(STRING);
    }
    for note in &answer.notes {
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

/// A part from 10 to 95 %.
fn part(text: &str) -> Result<f64, String> {
    let part = world::part(text)?;
    let is_sound = (0.1..=0.95).contains(&part);
    if is_sound { Ok(part) } else { Err(format!("{text:?} leaves too little on one side; give 10% to 95%")) }
}
