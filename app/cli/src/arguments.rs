//! Parses the command line and runs the command that it names.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::client::SERVER_DEFAULT;
use crate::context::{CommandContext, block_on};
use crate::failure::Failure;
use crate::paint::{Colours, Paint};
use crate::verbs::study::{backtest, simulate, tune};
use crate::verbs::up::{Up, UpArguments};
use crate::verbs::{
    apply, completions, delete, describe, diff, events, explain, forecast, get, load, logs, pause, protect,
    recommendations, rehearse, replay, scale, schema, top, validate, version,
};

/// Runs, load-balances, scales and heals services, and explains its decisions
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The API of the homeostat to use
    #[arg(long, global = true, env = "HOMEOSTAT_SERVER", value_name = "URL", default_value = SERVER_DEFAULT)]
    server: String,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Exit codes: 0 success, 1 failure, 2 invalid arguments or manifests.

To begin:
  homeostat up -f examples/flash-sale
  homeostat top";

#[derive(Debug, Subcommand)]
enum Verb {
    Up(UpArguments),
    Apply(apply::Arguments),
    Validate(validate::Arguments),
    Diff(diff::Arguments),
    Delete(delete::Arguments),
    Get(get::Arguments),
    Describe(describe::Arguments),
    Events(events::Arguments),
    Logs(logs::Arguments),
    Top(top::Arguments),
    Scale(scale::Arguments),
    Pause(pause::Arguments),
    Resume(pause::ResumeArguments),
    Protect(protect::Arguments),
    Unprotect(protect::UnprotectArguments),
    Explain(explain::Arguments),
    Recommendations(recommendations::Arguments),
    Forecast(forecast::Arguments),
    Load(Box<load::Arguments>),
    Simulate(Box<simulate::Arguments>),
    Rehearse(Box<rehearse::Arguments>),
    Backtest(Box<backtest::Arguments>),
    Tune(Box<tune::Arguments>),
    Replay(replay::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Version(version::Arguments),
}

/// Parses the arguments of this process and runs the command that they name; `up` implements `homeostat up`.
///
/// Not generic over `up`, so that the commands are compiled once with this crate and not again with the binary.
pub fn run(colours: Colours, up: &dyn Fn(Up) -> anyhow::Result<ExitCode>) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed standard output or error is ignored.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let context = CommandContext::new(colours, arguments.server);
    execute(arguments.verb, &context, up).unwrap_or_else(|failure| failure.report(Paint::stderr(colours)))
}

fn execute(
    verb: Verb,
    context: &CommandContext,
    up: &dyn Fn(Up) -> anyhow::Result<ExitCode>,
) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match verb {
        Verb::Up(arguments) => Ok(up(arguments.read(context)?)?),
        Verb::Apply(arguments) => block_on(apply::run(context, arguments)).map(done),
        Verb::Validate(arguments) => validate::run(context, &arguments).map(done),
        Verb::Diff(arguments) => block_on(diff::run(context, arguments)),
        Verb::Delete(arguments) => block_on(delete::run(context, arguments)).map(done),
        Verb::Get(arguments) => block_on(get::run(context, arguments)).map(done),
        Verb::Describe(arguments) => block_on(describe::run(context, arguments)).map(done),
        Verb::Events(arguments) => block_on(events::run(context, arguments)).map(done),
        Verb::Logs(arguments) => block_on(logs::run(context, arguments)).map(done),
        Verb::Top(arguments) => block_on(top::run(context, arguments)).map(done),
        Verb::Scale(arguments) => block_on(scale::run(context, arguments)).map(done),
        Verb::Pause(arguments) => block_on(pause::run(context, arguments)).map(done),
        Verb::Resume(arguments) => block_on(pause::resume(context, arguments)).map(done),
        Verb::Protect(arguments) => block_on(protect::run(context, arguments)).map(done),
        Verb::Unprotect(arguments) => block_on(protect::unprotect(context, arguments)).map(done),
        Verb::Explain(arguments) => block_on(explain::run(context, arguments)).map(done),
        Verb::Recommendations(arguments) => block_on(recommendations::run(context, arguments)).map(done),
        Verb::Forecast(arguments) => block_on(forecast::run(context, arguments)).map(done),
        Verb::Load(arguments) => block_on(load::run(context, *arguments)),
        Verb::Simulate(arguments) => simulate::run(context, &arguments),
        Verb::Rehearse(arguments) => rehearse::run(context, &arguments),
        Verb::Backtest(arguments) => backtest::run(context, &arguments),
        Verb::Tune(arguments) => tune::run(context, &arguments),
        Verb::Replay(arguments) => replay::run(context, &arguments).map(done),
        Verb::Schema(arguments) => schema::run(context, arguments).map(done),
        Verb::Completions(arguments) => {
            completions::run(context, arguments, &mut Arguments::command()).map(done)
        }
        Verb::Version(arguments) => version::run(context, arguments).map(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_all_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_help_text() {
        for verb in Arguments::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no help", verb.get_name());
        }
    }
}
