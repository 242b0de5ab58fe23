//! `backtest`: what the policy of a service would have done over its own history.

use std::process::ExitCode;

use clap::Args;

use super::recorded::HistoryWords;
use super::subject::SubjectWords;
use super::world::WorldWords;
use super::{CompareWords, Comparison, Known, MeasureWords, POLICIES, ReplicaWords, ShowWords};
use crate::failure::Failure;
use crate::words::Desk;

/// Show what the policy of a service would have done over its own history, next to others
///
/// Like simulate, but over the history of a service: the one on the server, or that of -f. Its load comes from a Prometheus, from
/// a CSV, or, without either, from the decisions that Homeostat has kept. Nothing is changed.
#[derive(Clone, Debug, Args)]
#[command(after_help = POLICIES)]
pub(crate) struct Words {
    #[command(flatten)]
    subject: SubjectWords,
    #[command(flatten)]
    compare: CompareWords,
    #[command(flatten)]
    history: HistoryWords,
    #[command(flatten)]
    replica: ReplicaWords,
    #[command(flatten)]
    world: WorldWords,
    #[command(flatten)]
    measure: MeasureWords,
    #[command(flatten)]
    show: ShowWords,
}

pub(crate) fn run(desk: &Desk, words: &Words) -> Result<ExitCode, Failure> {
    let subject = words.subject.subject(desk)?;
    let learned = words.subject.learned(desk)?;
    let known = Known { declared: Some(&subject.declared), learned: learned.as_ref(), ..Known::default() };
    let history = words.history.read(desk, words.subject.name())?;
    let setting = words.replica.setting(known, &words.world, words.measure)?;
    let comparison = Comparison {
        candidates: words.compare.candidates(known.declared),
        notes: [history.notes, words.replica.notes(known, setting.capacity)].concat(),
        setting,
        measure: words.measure.measure(),
        show: &words.show,
    };
    comparison.over(desk, &[history.recording])?;
    Ok(ExitCode::SUCCESS)
}
