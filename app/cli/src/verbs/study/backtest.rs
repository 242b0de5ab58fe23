//! `backtest`: what the policy of a service would have done over its own history.

use std::process::ExitCode;

use clap::Args;

use super::recorded::HistoryWords;
use super::subject::SubjectWords;
use super::world::WorldWords;
use super::{CompareWords, Comparison, Known, MeasureWords, POLICIES, ReplicaWords, ShowWords};
use crate::arguments::CommandContext;
use crate::failure::Failure;

/// Show what the policy of a service would have done over its own history, next to others
///
/// Like simulate, but over the history of a service: the one on the server, or that of -f. Its load comes from a Prometheus, from
/// a CSV, or, without either, from the decisions that Homeostat has kept. Nothing is changed.
#[derive(Clone, Debug, Args)]
#[command(after_help = POLICIES)]
pub(crate) struct Arguments {
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

pub(crate) fn run(context: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let subject = arguments.subject.subject(context)?;
    let learned = arguments.subject.learned(context)?;
    let known = Known { declared: Some(&subject.declared), learned: learned.as_ref(), ..Known::default() };
    let history = arguments.history.read(context, arguments.subject.name())?;
    let setting = arguments.replica.setting(known, &arguments.world, arguments.measure)?;
    let comparison = Comparison {
        candidates: arguments.compare.candidates(known.declared),
        notes: [history.notes, arguments.replica.notes(known, setting.capacity)].concat(),
        setting,
        measure: arguments.measure.measure(),
        show: &arguments.show,
    };
    comparison.over(context, &[history.recording])?;
    Ok(ExitCode::SUCCESS)
}
