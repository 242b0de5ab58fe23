//! `scale`: holds a service at a size.

use api::v1;
use clap::{ArgGroup, Args};
use hyper::Method;
use model::resource::Span;
use model::settings::REPLICAS_RUN_MAX;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::ServiceArgument;

/// Hold a service at a size, for a time or until --auto
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("size").required(true).args(["replicas", "auto"]))]
pub(crate) struct Arguments {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: ServiceArgument,
    /// The number of replicas, at most 1000, which is the guard's limit for one service
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(REPLICAS_RUN_MAX)))]
    replicas: Option<u32>,
    /// How long, such as 10m; by default, until --auto
    #[arg(long = "for", value_name = "DURATION", requires = "replicas")]
    lasting: Option<Span>,
    /// End the hold, so that the service scales automatically again
    #[arg(long)]
    auto: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/scale", arguments.service.0);
    let client = context.client()?;
    let response: Value = match arguments.replicas {
        Some(replicas) => {
            let lasting = arguments.lasting.map(|span| span.to_string());
            let request = serde_json::to_value(v1::ScaleRequest { replicas, lasting, until: None })?;
            client.send(Method::PUT, &path, Some(&request)).await?
        }
        None => client.send(Method::DELETE, &path, None).await?,
    };
    let scaled: v1::Scaled = serde_json::from_value(response.clone())?;
    context.printer.print(arguments.output.output, &response, |_| line(&scaled))
}

fn line(scaled: &v1::Scaled) -> String {
    let target = &scaled.target;
    match &scaled.hold {
        None => format!("{target} scales automatically\n"),
        Some(v1::Hold { replicas, until: None }) => {
            format!("{target} is held at {replicas}, until `homeostat scale {target} --auto`\n")
        }
        Some(v1::Hold { replicas, until: Some(until) }) => {
            format!("{target} is held at {replicas} until {until}\n")
        }
    }
}
