//! `scale`: a size by hand.

use api::v1;
use clap::{ArgGroup, Args};
use hyper::Method;
use model::resource::Span;
use model::settings::REPLICAS_RUN_MAX;
use serde_json::Value;

use crate::arguments::CommandContext;
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
    /// How many replicas, at most 1000: the guard lets no more of one service run
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(REPLICAS_RUN_MAX)))]
    replicas: Option<u32>,
    /// How long, such as 10m; without it, until --auto
    #[arg(long = "for", value_name = "DURATION", requires = "replicas")]
    lasting: Option<Span>,
    /// End the hold: the service sizes itself again
    #[arg(long)]
    auto: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/scale", arguments.service.0);
    let client = context.client()?;
    let answer: Value = match arguments.replicas {
        Some(replicas) => {
            let lasting = arguments.lasting.map(|span| span.to_string());
            let request = serde_json::to_value(v1::ScaleRequest { replicas, lasting, until: None })?;
            client.ask(Method::PUT, &path, Some(&request)).await?
        }
        None => client.ask(Method::DELETE, &path, None).await?,
    };
    let scaled: v1::Scaled = serde_json::from_value(answer.clone())?;
    context.printer.print(arguments.output.output, &answer, |_| line(&scaled))
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
