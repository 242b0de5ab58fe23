//! `completions`: completion scripts for shells.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::context::CommandContext;
use crate::failure::Failure;

/// Print a completion script for a shell
///
/// For bash: source <(homeostat completions bash)
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `command` is the definition of the whole command line.
pub(crate) fn run(
    context: &CommandContext,
    arguments: Arguments,
    command: &mut Command,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "homeostat", &mut script);
    context.printer.bytes(&script)
}
