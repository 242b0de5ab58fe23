//! Parsing the command line, and calling the verb that it names.

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::client::{Client, SERVER_DEFAULT};
use crate::failure::Failure;
use crate::output::Printer;
use crate::paint::{Colours, Paint};
use crate::verbs::study::{backtest, simulate, tune};
use crate::verbs::up::{Up, UpArguments};
use crate::verbs::{
    apply, completions, delete, describe, diff, events, explain, forecast, get, load, logs, pause, protect,
    recommendations, rehearse, replay, scale, schema, top, validate, version,
};

/// Keeps services in balance: runs, balances, scales and heals them, and says why.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The homeostat to ask
    #[arg(long, global = true, env = "HOMEOSTAT_SERVER", value_name = "URL", default_value = SERVER_DEFAULT)]
    server: String,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Exits 0 on success, 1 when the thing asked for failed, 2 when the arguments or the manifests were wrong.

Begin with:
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

/// What every command is given.
#[derive(Clone, Debug)]
pub(crate) struct CommandContext {
    /// Whether colours are wanted.
    pub(crate) colours: Colours,
    /// Where to print.
    pub(crate) printer: Printer,
    server: String,
}

impl CommandContext {
    #[cfg(test)]
    pub(crate) fn for_tests(colours: Colours, printer: Printer) -> Self {
        Self { colours, printer, server: SERVER_DEFAULT.to_owned() }
    }

    /// The client of the server that was named.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::of(&self.server).map_err(Failure::usage)
    }
}

/// Reads the arguments of this process and runs the command that they name; `up` is what the binary makes of `homeostat up`.
///
/// Not generic over `up`: all verbs would be compiled with the binary, beside what they share with those of this crate.
pub fn run(colours: Colours, up: &dyn Fn(Up) -> anyhow::Result<ExitCode>) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            // A closed standard output or error is ignored.
            let _ = wrong.print();
            return u8::try_from(wrong.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let printer = Printer { paint: Paint::stdout(colours) };
    let context = CommandContext { colours, printer, server: arguments.server };
    follow(arguments.verb, &context, up).unwrap_or_else(|failure| failure.report(Paint::stderr(colours)))
}

fn follow(
    verb: Verb,
    context: &CommandContext,
    up: &dyn Fn(Up) -> anyhow::Result<ExitCode>,
) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match verb {
        Verb::Up(arguments) => Ok(up(arguments.read(context)?)?),
        Verb::Apply(arguments) => wait_for(apply::run(context, arguments)).map(done),
        Verb::Validate(arguments) => validate::run(context, &arguments).map(done),
        Verb::Diff(arguments) => wait_for(diff::run(context, arguments)),
        Verb::Delete(arguments) => wait_for(delete::run(context, arguments)).map(done),
        Verb::Get(arguments) => wait_for(get::run(context, arguments)).map(done),
        Verb::Describe(arguments) => wait_for(describe::run(context, arguments)).map(done),
        Verb::Events(arguments) => wait_for(events::run(context, arguments)).map(done),
        Verb::Logs(arguments) => wait_for(logs::run(context, arguments)).map(done),
        Verb::Top(arguments) => wait_for(top::run(context, arguments)).map(done),
        Verb::Scale(arguments) => wait_for(scale::run(context, arguments)).map(done),
        Verb::Pause(arguments) => wait_for(pause::run(context, arguments)).map(done),
        Verb::Resume(arguments) => wait_for(pause::resume(context, arguments)).map(done),
        Verb::Protect(arguments) => wait_for(protect::run(context, arguments)).map(done),
        Verb::Unprotect(arguments) => wait_for(protect::unprotect(context, arguments)).map(done),
        Verb::Explain(arguments) => wait_for(explain::run(context, arguments)).map(done),
        Verb::Recommendations(arguments) => wait_for(recommendations::run(context, arguments)).map(done),
        Verb::Forecast(arguments) => wait_for(forecast::run(context, arguments)).map(done),
        Verb::Load(arguments) => wait_for(load::run(context, *arguments)),
        Verb::Simulate(arguments) => simulate::run(context, &arguments),
        Verb::Rehearse(arguments) => rehearse::run(context, &arguments),
        Verb::Backtest(arguments) => backtest::run(context, &arguments),
        Verb::Tune(arguments) => tune::run(context, &arguments),
        Verb::Replay(arguments) => replay::run(context, &arguments).map(done),
        Verb::Schema(arguments) => schema::run(context, arguments).map(done),
        Verb::Completions(arguments) => completions::run(context, arguments).map(done),
        Verb::Version(arguments) => version::run(context, arguments).map(done),
    }
}

/// Runs a verb that talks to others to its end.
pub(crate) fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("could not start: the system gave no event queue")?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_words_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Arguments::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no help", verb.get_name());
        }
    }
}
