//! `backtest`: simulates the policy of a service over its own history.

use std::process::ExitCode;

use clap::Args;

use super::recorded::HistoryArguments;
use super::subject::SubjectArguments;
use super::world::WorldArguments;
use super::{
    CompareArguments, Comparison, Known, MeasureArguments, POLICIES, ReplicaArguments, ShowArguments,
};
use crate::context::CommandContext;
use crate::failure::Failure;

/// Show what the policy of a service would have done over its own history, compared with others
///
/// Like simulate, but over the history of a service, which is declared on the server or by -f. The load comes from Prometheus, from a
/// CSV, or else from the decisions that Homeostat has kept, or the load that it forecasts from. Nothing is changed.
#[derive(Clone, Debug, Args)]
#[command(after_help = POLICIES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    compare: CompareArguments,
    #[command(flatten)]
    history: HistoryArguments,
    #[command(flatten)]
    replica: ReplicaArguments,
    #[command(flatten)]
    world: WorldArguments,
    #[command(flatten)]
    measure: MeasureArguments,
    #[command(flatten)]
    show: ShowArguments,
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
    comparison.run(context, &[history.recording])?;
    Ok(ExitCode::SUCCESS)
}
