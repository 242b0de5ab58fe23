//! `apply`: declares resources.

use api::v1;
use clap::Args;
use hyper::Method;
use model::resource::Resource;
use serde_json::{Value, json};

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Files, Warnings};
use crate::output::Output;
use crate::stderr;
use crate::trial;

/// Apply manifests: all of them, or none if one is invalid
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Only show what would change, and the decisions it would lead to now and would have led to over the last hour
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let mut manifests = manifests::read(&arguments.files.file, Warnings::LeftToServer, context.colours)?;
    manifests::resolve(&mut manifests)?;
    let resources: Vec<&Resource> = manifests.resources().collect();
    if resources.is_empty() {
        return Err(Failure::usage("could not apply anything: the manifests hold no resource"));
    }
    let path = if arguments.dry_run { "/v1/apply?dryRun=true" } else { "/v1/apply" };
    let response: Value =
        context.client()?.send(Method::POST, path, Some(&json!({ "items": resources }))).await?;
    let applied: v1::Applied = serde_json::from_value(response.clone())?;
    print_warnings(&applied);
    if !arguments.dry_run {
        return context.printer.print(arguments.output.output, &response, |_| lines(&applied));
    }
    let trials = trial::evaluate(context, &resources).await;
    let response = trial::with_trials(response, trials.as_ref());
    context
        .printer
        .print(arguments.output.output, &response, |_| lines(&applied) + &trial::lines(trials.as_ref()))
}

/// Prints the warnings of the server to standard error.
pub(crate) fn print_warnings(applied: &v1::Applied) {
    for item in &applied.items {
        item.warnings.iter().for_each(|warning| {
            stderr::print_line(&format!("warning: {}/{}: {warning}", item.kind, item.name));
        });
    }
}

/// A line for each resource: `service/shop created`.
pub(crate) fn lines(applied: &v1::Applied) -> String {
    let ending = if applied.dry_run { " (dry run)" } else { "" };
    applied
        .items
        .iter()
        .map(|item| format!("{}/{} {}{ending}\n", item.kind, item.name, item.change))
        .collect()
}
