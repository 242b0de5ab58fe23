//! `logs`: the output of replicas.

use std::str::FromStr;

use api::v1;
use clap::Args;
use futures_util::future::try_join_all;
use serde_json::Value;

use crate::client::Client;
use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::Printer;
use crate::target::{ObjectArgument, Subject, Target};

/// The default number of lines from the end.
const TAIL_DEFAULT: u32 = 100;

/// The maximum number of replicas to follow: half of the streams that a server allows, so that others get some.
const FOLLOWED_MAX: usize = 32;

/// Show the output of a replica, or of all replicas of a service
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// replica/NAME, or service/NAME for all of its replicas
    #[arg(value_name = "KIND/NAME")]
    target: LogTarget,
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
    match &arguments.target {
        LogTarget::Replica(replica) => copy(&client, context.printer, replica, &query, "").await,
        LogTarget::Service(service) => {
            of_service(&client, context.printer, service, arguments.follow, &query).await
        }
    }
}

/// What has logs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LogTarget {
    /// One replica, by name.
    Replica(String),
    /// All replicas of the service of this name.
    Service(String),
}

impl FromStr for LogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let without_logs = || format!("{text:?} has no logs; write replica/NAME or service/NAME");
        let (kind, _) = text.split_once('/').ok_or_else(without_logs)?;
        if !kind.parse::<Target>().is_ok_and(|all| matches!(all.subject, Subject::Replica | Subject::Service))
        {
            return Err(without_logs());
        }
        let ObjectArgument { subject, name } = text.parse()?;
        Ok(if subject == Subject::Replica { Self::Replica(name) } else { Self::Service(name) })
    }
}

/// Prints the logs of all replicas of `service`: one after the other, or concurrently when they are followed.
async fn of_service(
    client: &Client,
    printer: Printer,
    service: &str,
    is_followed: bool,
    query: &str,
) -> Result<(), Failure> {
    let list: v1::List<v1::Replica> = client.get(&format!("/v1/replicas?service={service}")).await?;
    if list.items.is_empty() {
        // Fails if the service does not exist.
        let _service: Value = client.get(&format!("/v1/services/{service}")).await?;
        return Err(Failure::failed(format!(
            "could not show the logs of service/{service}: it has no replicas"
        )));
    }
    let names = list.items.iter().map(v1::Object::name);
    let copy_of = |name| async move { copy(client, printer, name, query, &format!("{name} | ")).await };
    if !is_followed {
        for name in names {
            copy_of(name).await?;
        }
        return Ok(());
    }
    if list.items.len() > FOLLOWED_MAX {
        let sentence = format!(
            "could not follow service/{service}: it has {} replicas, and at most {FOLLOWED_MAX} can be followed at the same time; \
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replicas_and_services_have_logs() {
        assert_eq!("replica/shop-0".parse(), Ok(LogTarget::Replica("shop-0".into())));
        assert_eq!("svc/shop".parse(), Ok(LogTarget::Service("shop".into())));
        for wrong in ["shop-0", "hpa/shop", "thing/shop"] {
            let expected = format!("{wrong:?} has no logs; write replica/NAME or service/NAME");
            assert_eq!(wrong.parse::<LogTarget>(), Err(expected));
        }
        assert!("replica/shop".parse::<LogTarget>().unwrap_err().contains("such as shop-0"));
    }
}
