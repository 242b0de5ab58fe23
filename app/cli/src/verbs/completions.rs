//! `completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::words::{self, Desk};

/// Print the completion script of a shell
///
/// For bash: source <(homeostat completions bash)
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Words {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(desk: &Desk, words: Words) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(words.shell, &mut words::Words::command(), "homeostat", &mut script);
    desk.printer.bytes(&script)
}
