//! `pause` and `resume`: pause the autoscaler of a service.

use api::v1;
use clap::Args;
use hyper::Method;
use model::resource::Span;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::ServiceArgument;

/// Pause the autoscaler of a service, for a time or until resumed: the number of replicas stays as it is
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: ServiceArgument,
    /// How long, such as 1h; by default, until resumed
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Option<Span>,
    #[command(flatten)]
    output: Output,
}

/// Resume the autoscaler of a service
#[derive(Clone, Debug, Args)]
pub(crate) struct ResumeArguments {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: ServiceArgument,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let lasting = arguments.lasting.map(|span| span.to_string());
    let request = serde_json::to_value(v1::DurationRequest { lasting, until: None })?;
    ask(context, (Method::PUT, Some(&request)), &arguments.service, &arguments.output).await
}

pub(crate) async fn resume(context: &CommandContext, arguments: ResumeArguments) -> Result<(), Failure> {
    ask(context, (Method::DELETE, None), &arguments.service, &arguments.output).await
}

async fn ask(
    context: &CommandContext,
    (method, request): (Method, Option<&Value>),
    service: &ServiceArgument,
    output: &Output,
) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/pause", service.0);
    let response: Value = context.client()?.send(method, &path, request).await?;
    let paused: v1::Paused = serde_json::from_value(response.clone())?;
    context.printer.print(output.output, &response, |_| line(&paused))
}

fn line(paused: &v1::Paused) -> String {
    let target = &paused.target;
    match &paused.pause {
        None => format!("the autoscaler of {target} is resumed\n"),
        Some(v1::Pause { until: None }) => {
            format!("the autoscaler of {target} is paused, until `homeostat resume {target}`\n")
        }
        Some(v1::Pause { until: Some(until) }) => {
            format!("the autoscaler of {target} is paused until {until}\n")
        }
    }
}
