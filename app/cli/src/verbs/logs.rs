//! `logs`: the output of replicas.

use api::v1;
use clap::Args;
use futures_util::future::try_join_all;
use serde_json::Value;

use crate::client::Client;
use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::Printer;
use crate::target::{ObjectArgument, Subject};

/// The default number of lines from the end.
const TAIL_DEFAULT: u32 = 100;

/// The maximum number of replicas to follow: half of the streams that a server allows, so that others get some.
const FOLLOWED_MAX: usize = 32;

/// Show the output of a replica, or of all replicas of a service
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// replica/NAME, or service/NAME for all of its replicas
    #[arg(value_name = "KIND/NAME")]
    target: ObjectArgument,
    /// Keep running and show new lines
    #[arg(short, long)]
    follow: bool,
    /// The number of lines from the end to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = TAIL_DEFAULT)]
    tail: u32,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let client = context.client()?;
    let query = format!("tail={}&follow={}", arguments.tail, arguments.follow);
    match arguments.target.subject {
        Subject::Replica => copy(&client, context.printer, &arguments.target.name, &query, "").await,
        Subject::Service => of_service(&client, context.printer, &arguments, &query).await,
        Subject::Autoscaler | Subject::Route | Subject::MetricSource | Subject::Node | Subject::Scaling => {
            Err(Failure::usage(format!(
                "{} has no logs; write replica/NAME or service/NAME",
                arguments.target
            )))
        }
    }
}

/// Prints the logs of all replicas of a service: one after the other, or concurrently when they are followed.
async fn of_service(
    client: &Client,
    printer: Printer,
    arguments: &Arguments,
    query: &str,
) -> Result<(), Failure> {
    let target = &arguments.target;
    let list: v1::List<v1::Replica> = client.get(&format!("/v1/replicas?service={}", target.name)).await?;
    if list.items.is_empty() {
        // Fails if the service does not exist.
        let _service: Value = client.get(&format!("/v1/services/{}", target.name)).await?;
        return Err(Failure::failed(format!("could not show the logs of {target}: it has no replicas")));
    }
    let names = list.items.iter().map(v1::Object::name);
    let copy_of = |name| async move { copy(client, printer, name, query, &format!("{name} | ")).await };
    if !arguments.follow {
        for name in names {
            copy_of(name).await?;
        }
        return Ok(());
    }
    if list.items.len() > FOLLOWED_MAX {
        let sentence = format!(
            "could not follow {target}: it has {} replicas, and at most {FOLLOWED_MAX} can be followed at the same time; \
             follow one with logs -f replica/NAME",
            list.items.len()
        );
        return Err(Failure::failed(sentence));
    }
    try_join_all(names.map(copy_of)).await.map(drop)
}

async fn copy(
    client: &Client,
    printer: Printer,
    replica: &str,
    query: &str,
    prefix: &str,
) -> Result<(), Failure> {
    let mut lines = client.follow(&format!("/v1/replicas/{replica}/logs?{query}")).await?;
    while let Some(line) = lines.next().await {
        printer.line(&format!("{prefix}{}", line?))?;
    }
    Ok(())
}
