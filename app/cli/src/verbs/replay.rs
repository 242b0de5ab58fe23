//! `replay`: replays a journal through the control loop, and fails on the first output that differs from the recorded one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use control::{ControlLoop, Outbox};
use journal::decision_record::DecisionRecord;
use journal::{DecisionRun, ReadError, Record, Segment, segments};
use model::decision::DecisionEntry;
use model::input::Input;
use model::name::ServiceName;
use model::settings::Settings;
use model::time::{Now, Time, Wall};
use serde::Serialize;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::figures;
use crate::output::Output;

/// The maximum number of characters of an input in a message: an inventory of many replicas is long.
const INPUT_CHARS_MAX: usize = 400;

/// Replay a journal through the control loop, and check that the decisions are the same
///
/// Fails on the first input whose output differs from the recorded one: a decision depended on something that is not in the journal, or
/// another version of this program wrote the journal. The decisions in the history below --data are repeated as well, and must be
/// identical. A segment that cannot be read is named when the others have been replayed, and the command fails.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// A segment of a journal, or a folder of them; without it, the journal below --data
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// The data folder of `homeostat up`
    #[arg(long, value_name = "DIR", default_value = super::up::DATA_DEFAULT, conflicts_with = "path")]
    data: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// The result of a successful replay.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    segments: u64,
    steps: u64,
    actions: u64,
    events: u64,
    /// Decisions of the history that were repeated.
    decisions: u64,
    /// From the first input of a segment to its last, summed.
    simulated_seconds: f64,
    elapsed_seconds: f64,
    steps_per_second: f64,
}

/// A decision of the history that differs when repeated.
#[derive(Debug, thiserror::Error)]
#[error(
    "the replay of {} differs in a decision on service/{service} of {} (HS0017): the history has {kept:?}, this program gives {again:?}",
    segment.display(),
    figures::timestamp(*at)
)]
struct OtherDecision {
    segment: PathBuf,
    service: ServiceName,
    at: Wall,
    kept: String,
    /// Empty when the replay made no decision at that time.
    again: String,
}

/// The first input whose output differs.
#[derive(Debug)]
struct Difference {
    segment: PathBuf,
    /// From 1.
    number: u64,
    record: Box<Record>,
    digest: u64,
}

impl std::error::Error for Difference {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut input = format!("{:?}", self.record.input);
        if let Some((cut, _)) = input.char_indices().nth(INPUT_CHARS_MAX) {
            input.truncate(cut);
            input.push('…');
        }
        write!(
            f,
            "the replay of {} differs at record {} of {} (HS0017): the journal has the digest {:016x}, this program gives \
             {:016x}, for the input {input}",
            self.segment.display(),
            self.number,
            figures::timestamp(self.record.now.wall),
            self.record.digest,
            self.digest
        )
    }
}

pub(crate) fn run(context: &CommandContext, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path.clone().unwrap_or_else(|| arguments.data.join("journal"));
    let paths = segments_at(&path)?;
    if paths.is_empty() {
        return Err(Failure::failed(format!("there is no journal to replay in {}", path.display())));
    }
    let mut replayed = Replayed::default();
    let begun = os::since_boot();
    let history = arguments.path.is_none().then(|| arguments.data.join("history"));
    let mut unreadable = Ok(());
    for path in &paths {
        match replay(path, history.as_deref(), &mut replayed) {
            // The others can be replayed without it.
            Err(error) if error.is::<ReadError>() => unreadable = unreadable.and(Err(error)),
            result => result?,
        }
    }
    let elapsed = os::since_boot().saturating_sub(begun);
    replayed.elapsed_seconds = elapsed.as_secs_f64();
    replayed.steps_per_second = replayed.steps as f64 / elapsed.max(Duration::from_micros(1)).as_secs_f64();
    if replayed.segments > 0 {
        context.printer.print(arguments.output.output, &replayed, lines)?;
    }
    Ok(unreadable?)
}

/// The segments at `path`: the file itself, or those in the folder, oldest first.
fn segments_at(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let attempted = || format!("could not look for a journal at {}", path.display());
    if std::fs::metadata(path).with_context(attempted)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    Ok(segments(path).with_context(attempted)?.into_iter().map(|(_, path)| path).collect())
}

const UNREADABLE: &str = "could not replay the journal (HS0011)";

fn replay(path: &Path, history: Option<&Path>, replayed: &mut Replayed) -> anyhow::Result<()> {
    let mut recorded = history
        .map_or_else(|| Ok(RecordedDecisions::default()), |folder| recorded_decisions(path, folder))?;
    let mut control = ControlLoop::new(Settings::default());
    let mut out = Outbox::default();
    let (mut first, mut last) = (None::<Now>, Now::default());
    for (number, record) in (1..).zip(Segment::open(path).context(UNREADABLE)?) {
        let record = record.context(UNREADABLE)?;
        control.step(record.now, &record.input, &mut out);
        let digest = out.digest();
        if digest != record.digest {
            let record = Box::new(record);
            return Err(Difference { segment: path.to_owned(), number, record, digest }.into());
        }
        for decided in &out.decisions {
            if let Some(kept) = recorded.remove(&(decided.service.clone(), decided.at.time)) {
                compare(path, decided, &kept)?;
                replayed.decisions += 1;
            }
        }
        replayed.steps += 1;
        replayed.actions += out.actions.len() as u64;
        replayed.events += out.events.len() as u64;
        out.clear();
        first.get_or_insert(record.now);
        last = record.now;
    }
    if let Some(((service, _), kept)) = recorded.pop_first() {
        return Err(difference(path, &service, &kept, String::new()).into());
    }
    replayed.segments += 1;
    let span = first.map_or(Duration::ZERO, |first| last.time.since(first.time));
    replayed.simulated_seconds += span.as_secs_f64();
    Ok(())
}

/// The decisions in the history of the run of a segment, by service and time.
type RecordedDecisions = BTreeMap<(ServiceName, Time), DecisionRun>;

/// The maximum number of runs of decisions per service: more than a segment holds of a busy service.
const RUNS_MAX: usize = 20_000;

fn recorded_decisions(path: &Path, history: &Path) -> anyhow::Result<RecordedDecisions> {
    let (mut run, mut within) = (None, None::<(Now, Now)>);
    for record in Segment::open(path).context(UNREADABLE)? {
        let record = record.context(UNREADABLE)?;
        if let Input::Started(start) = &record.input {
            run = Some(start.epoch);
        }
        within = Some((within.map_or(record.now, |(first, _)| first), record.now));
    }
    let (Some(run), Some((first, last))) = (run, within) else { return Ok(RecordedDecisions::new()) };
    let attempted = || format!("could not read the history in {}", history.display());
    let mut recorded = RecordedDecisions::new();
    for service in journal::recorded_services(history).with_context(attempted)? {
        // The wall clock may have been set during the run, so decisions are matched by the epoch of the run.
        let within = (first.wall.min(last.wall), first.wall.max(last.wall));
        let past = journal::read(history, &service, within, RUNS_MAX).with_context(attempted)?;
        let of_run =
            |kept: &DecisionRun| kept.epoch == run && (first.time..=last.time).contains(&kept.from.time);
        let kept = past.runs.into_iter().filter(of_run);
        recorded.extend(kept.map(|kept| ((service.clone(), kept.from.time), kept)));
    }
    Ok(recorded)
}

/// Fails if the record of the decision differs from the kept one.
fn compare(segment: &Path, decided: &DecisionEntry, kept: &DecisionRun) -> Result<(), OtherDecision> {
    let (decision, prospects) = (decided.explanation.decision(), decided.explanation.prospects());
    let again = DecisionRecord::new(&decision, &prospects, decided.guard.as_ref());
    if again.encoded() == kept.record.encoded() {
        return Ok(());
    }
    Err(difference(segment, &decided.service, kept, format!("{again:?}")))
}

fn difference(segment: &Path, service: &ServiceName, kept: &DecisionRun, again: String) -> OtherDecision {
    let (service, at) = (service.clone(), kept.from.wall);
    OtherDecision { segment: segment.to_owned(), service, at, kept: format!("{:?}", kept.record), again }
}

fn lines(it: &Replayed) -> String {
    format!(
        "{} inputs of {} segments gave the same {} actions and {} events again, and {} decisions of the history\n\
         {} of the loop's time in {:.2} s, {:.0} steps a second\n",
        it.steps,
        it.segments,
        it.actions,
        it.events,
        it.decisions,
        figures::clock(Duration::from_secs_f64(it.simulated_seconds)),
        it.elapsed_seconds,
        it.steps_per_second
    )
}

#[cfg(test)]
mod tests {
    use journal::Writer;
    use model::identity::Epoch;
    use model::input::Start;
    use model::name::NodeName;

    use super::*;
    use crate::failure::sentence_of;

    /// A journal of one run without any output, with these recorded digests.
    fn journal_of(digests: &[u64]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::begin(folder.path()).unwrap();
        let node = NodeName::parse("here").unwrap();
        let start = Start { epoch: Epoch(1), node, seed: 7, settings: Settings::default().into() };
        let inputs = [Input::Started(start), Input::Woke, Input::Woke];
        for ((second, digest), input) in (0..).zip(digests).zip(inputs) {
            let ms = 1_700_000_000_000 + second * 1000;
            let now = Now { time: Time::from_millis(ms), wall: Wall::from_millis(ms) };
            let input = writer.encode(&input).unwrap();
            writer.append(now, &input, *digest).unwrap();
        }
        writer.sync().unwrap();
        folder
    }

    fn replay_all(folder: &Path) -> anyhow::Result<Replayed> {
        let mut replayed = Replayed::default();
        for path in segments_at(folder)? {
            replay(&path, None, &mut replayed)?;
        }
        Ok(replayed)
    }

    #[test]
    fn a_replay_with_the_recorded_output_succeeds() {
        let folder = journal_of(&[0, 0, 0]);
        let replayed = replay_all(folder.path()).unwrap();
        assert_eq!((replayed.segments, replayed.steps), (1, 3));
        assert!((replayed.simulated_seconds - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_first_output_that_differs_is_reported_with_its_input() {
        let folder = journal_of(&[0, 5, 6]);
        let sentence = sentence_of(&replay_all(folder.path()).unwrap_err());
        for part in ["record 2", "2023-11-14T22:13:21Z", "0000000000000005", "Woke", "HS0017", ".journal"] {
            assert!(sentence.contains(part), "{part} is missing: {sentence}");
        }
    }
}
