//! `completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::{self, CommandContext};
use crate::failure::Failure;

/// Print the completion script of a shell
///
/// For bash: source <(homeostat completions bash)
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Arguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut arguments::Arguments::command(), "homeostat", &mut script);
    context.printer.bytes(&script)
}
