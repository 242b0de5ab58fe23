//! `protect` and `unprotect`: protect replicas from removal by scale-in.

use api::v1;
use clap::Args;
use hyper::Method;
use model::resource::Span;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::ReplicaArgument;

/// Protect a replica from removal by scale-in, for a time
///
/// The protection ends with the replica: after a restart it may be removed. Healing and rollouts are not affected.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The replica, as replica/NAME
    #[arg(value_name = "REPLICA")]
    replica: ReplicaArgument,
    /// How long, such as 2h, at most 30d
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Span,
    #[command(flatten)]
    output: Output,
}

/// End the protection of a replica from removal by scale-in
#[derive(Clone, Debug, Args)]
pub(crate) struct UnprotectArguments {
    /// The replica, as replica/NAME
    #[arg(value_name = "REPLICA")]
    replica: ReplicaArgument,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let lasting = Some(arguments.lasting.to_string());
    let request = serde_json::to_value(v1::DurationRequest { lasting, until: None })?;
    ask(context, (Method::PUT, Some(&request)), &arguments.replica, &arguments.output).await
}

pub(crate) async fn unprotect(
    context: &CommandContext,
    arguments: UnprotectArguments,
) -> Result<(), Failure> {
    ask(context, (Method::DELETE, None), &arguments.replica, &arguments.output).await
}

async fn ask(
    context: &CommandContext,
    (method, request): (Method, Option<&Value>),
    replica: &ReplicaArgument,
    output: &Output,
) -> Result<(), Failure> {
    let path = format!("/v1/replicas/{}/protection", replica.0);
    let response: Value = context.client()?.send(method, &path, request).await?;
    let protected: v1::Protected = serde_json::from_value(response.clone())?;
    context.printer.print(output.output, &response, |_| line(&protected))
}

fn line(protected: &v1::Protected) -> String {
    let target = &protected.target;
    match &protected.protected_until {
        None => format!("{target} may be removed again when its service scales in\n"),
        Some(until) => format!("{target} is protected until {until}\n"),
    }
}
