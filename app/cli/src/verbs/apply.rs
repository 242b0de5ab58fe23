//! `apply`.

use api::v1;
use clap::Args;
use hyper::Method;
use model::resource::Resource;
use serde_json::{Value, json};

use crate::arguments::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Files, Warnings};
use crate::output::{Output, say};
use crate::trial;

/// Apply manifests: all of them, or nothing if something is wrong
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Only show what would change, what the change would decide now, and what it would have decided over the last hour
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
    let answer: Value =
        context.client()?.ask(Method::POST, path, Some(&json!({ "items": resources }))).await?;
    let applied: v1::Applied = serde_json::from_value(answer.clone())?;
    say_warnings(&applied);
    if !arguments.dry_run {
        return context.printer.print(arguments.output.output, &answer, |_| lines(&applied));
    }
    let trials = trial::of(context, &resources).await;
    let answer = trial::beside(answer, trials.as_ref());
    context
        .printer
        .print(arguments.output.output, &answer, |_| lines(&applied) + &trial::lines(trials.as_ref()))
}

/// What the server warns of, on standard error.
pub(crate) fn say_warnings(applied: &v1::Applied) {
    for item in &applied.items {
        item.warnings
            .iter()
            .for_each(|warning| say(&format!("warning: {}/{}: {warning}", item.kind, item.name)));
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
