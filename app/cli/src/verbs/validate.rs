//! `validate`: checks manifests.

use clap::Args;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Files, Warnings};
use crate::output::Output;
use crate::target::Subject;

/// Check manifests without a server, and show all problems
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(context: &CommandContext, arguments: &Arguments) -> Result<(), Failure> {
    let manifests = manifests::read(&arguments.files.file, Warnings::Shown, context.colours)?;
    let targets: Vec<String> = manifests
        .resources()
        .map(|resource| format!("{}/{}", Subject::of(resource), resource.name()))
        .collect();
    let valid = serde_json::json!({ "items": targets, "warnings": manifests.diagnostics.len() });
    context.printer.print(arguments.output.output, &valid, |_| {
        targets.iter().map(|it| format!("{it} is valid\n")).collect()
    })
}
