//! `version`: the version of this program.

use clap::Args;
use serde::Serialize;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::Output;

/// Print the version of this program
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

pub(crate) fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let version = Version { version: env!("CARGO_PKG_VERSION") };
    context.printer.print(arguments.output.output, &version, |it| format!("homeostat {}\n", it.version))
}
