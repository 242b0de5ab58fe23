//! `validate`.

use clap::Args;

use crate::failure::Failure;
use crate::manifests::{self, Files, Warnings};
use crate::output::Output;
use crate::target::Subject;
use crate::words::Desk;

/// Check manifests without a server, and show everything that is wrong with them
#[derive(Clone, Debug, Args)]
pub(crate) struct Words {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(desk: &Desk, words: &Words) -> Result<(), Failure> {
    let manifests = manifests::read(&words.files.file, Warnings::Shown, desk.colours)?;
    let found: Vec<String> = manifests
        .resources()
        .map(|resource| format!("{}/{}", Subject::of(resource), resource.name()))
        .collect();
    let valid = serde_json::json!({ "items": found, "warnings": manifests.diagnostics.len() });
    desk.printer
        .print(words.output.output, &valid, |_| found.iter().map(|it| format!("{it} is valid\n")).collect())
}
