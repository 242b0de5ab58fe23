//! `version`.

use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;
use crate::words::Desk;

/// Print the version of this program
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Words {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

pub(crate) fn run(desk: &Desk, words: Words) -> Result<(), Failure> {
    let version = Version { version: env!("CARGO_PKG_VERSION") };
    desk.printer.print(words.output.output, &version, |it| format!("homeostat {}\n", it.version))
}
