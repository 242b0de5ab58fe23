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
use crate::verbs::up::{Up, UpWords};
use crate::verbs::{
    apply, completions, delete, describe, diff, events, explain, forecast, get, load, logs, pause, protect,
    recommendations, rehearse, replay, scale, schema, top, validate, version,
};

/// Keeps services in balance: runs, balances, scales and heals them, and says why.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Words {
    /// The homeostat to ask
    #[arg(long, global = true, env = "HOMEOSTAT_SERVER", value_name = "URL", default_value = SERVER_DEFAULT)]
    server: String,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Exits 0 on success, 1 when the thing asked for failed, 2 when the words or the manifests were wrong.

Begin with:
  homeostat up -f examples/flash-sale
  homeostat top";

#[derive(Debug, Subcommand)]
enum Verb {
    Up(UpWords),
    Apply(apply::Words),
    Validate(validate::Words),
    Diff(diff::Words),
    Delete(delete::Words),
    Get(get::Words),
    Describe(describe::Words),
    Events(events::Words),
    Logs(logs::Words),
    Top(top::Words),
    Scale(scale::Words),
    Pause(pause::Words),
    Resume(pause::ResumeWords),
    Protect(protect::Words),
    Unprotect(protect::UnprotectWords),
    Explain(explain::Words),
    Recommendations(recommendations::Words),
    Forecast(forecast::Words),
    Load(Box<load::Words>),
    Simulate(Box<simulate::Words>),
    Rehearse(Box<rehearse::Words>),
    Backtest(Box<backtest::Words>),
    Tune(Box<tune::Words>),
    Replay(replay::Words),
    Schema(schema::Words),
    Completions(completions::Words),
    Version(version::Words),
}

/// What every verb is given.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    /// Whether colours are wanted.
    pub(crate) colours: Colours,
    /// Where to print.
    pub(crate) printer: Printer,
    server: String,
}

impl Desk {
    #[cfg(test)]
    pub(crate) fn for_tests(colours: Colours, printer: Printer) -> Self {
        Self { colours, printer, server: SERVER_DEFAULT.to_owned() }
    }

    /// The client of the server that was named.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::of(&self.server).map_err(Failure::words)
    }
}

/// Reads the words of this process and does what they say; `up` is what the binary makes of `homeostat up`.
///
/// Not generic over `up`: all verbs would be compiled with the binary, beside what they share with those of this crate.
pub fn run(colours: Colours, up: &dyn Fn(Up) -> anyhow::Result<ExitCode>) -> ExitCode {
    let words = match Words::try_parse() {
        Ok(words) => words,
        Err(wrong) => {
            // Nobody to tell it to is no reason to say more.
            let _ = wrong.print();
            return u8::try_from(wrong.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let printer = Printer { paint: Paint::stdout(colours) };
    let desk = Desk { colours, printer, server: words.server };
    follow(words.verb, &desk, up).unwrap_or_else(|failure| failure.tell(Paint::stderr(colours)))
}

fn follow(verb: Verb, desk: &Desk, up: &dyn Fn(Up) -> anyhow::Result<ExitCode>) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match verb {
        Verb::Up(words) => Ok(up(words.read(desk)?)?),
        Verb::Apply(words) => wait_for(apply::run(desk, words)).map(done),
        Verb::Validate(words) => validate::run(desk, &words).map(done),
        Verb::Diff(words) => wait_for(diff::run(desk, words)),
        Verb::Delete(words) => wait_for(delete::run(desk, words)).map(done),
        Verb::Get(words) => wait_for(get::run(desk, words)).map(done),
        Verb::Describe(words) => wait_for(describe::run(desk, words)).map(done),
        Verb::Events(words) => wait_for(events::run(desk, words)).map(done),
        Verb::Logs(words) => wait_for(logs::run(desk, words)).map(done),
        Verb::Top(words) => wait_for(top::run(desk, words)).map(done),
        Verb::Scale(words) => wait_for(scale::run(desk, words)).map(done),
        Verb::Pause(words) => wait_for(pause::run(desk, words)).map(done),
        Verb::Resume(words) => wait_for(pause::resume(desk, words)).map(done),
        Verb::Protect(words) => wait_for(protect::run(desk, words)).map(done),
        Verb::Unprotect(words) => wait_for(protect::unprotect(desk, words)).map(done),
        Verb::Explain(words) => wait_for(explain::run(desk, words)).map(done),
        Verb::Recommendations(words) => wait_for(recommendations::run(desk, words)).map(done),
        Verb::Forecast(words) => wait_for(forecast::run(desk, words)).map(done),
        Verb::Load(words) => wait_for(load::run(desk, *words)),
        Verb::Simulate(words) => simulate::run(desk, &words),
        Verb::Rehearse(words) => rehearse::run(desk, &words),
        Verb::Backtest(words) => backtest::run(desk, &words),
        Verb::Tune(words) => tune::run(desk, &words),
        Verb::Replay(words) => replay::run(desk, &words).map(done),
        Verb::Schema(words) => schema::run(desk, words).map(done),
        Verb::Completions(words) => completions::run(desk, words).map(done),
        Verb::Version(words) => version::run(desk, words).map(done),
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
        Words::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Words::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no help", verb.get_name());
        }
    }
}
