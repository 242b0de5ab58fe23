//! `protect` and `unprotect`: which replicas are not removed when their service shrinks.

use api::v1;
use clap::Args;
use hyper::Method;
use model::resource::Span;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::Output;
use crate::target::OneReplica;
use crate::words::Desk;

/// Protect a replica from being removed when its service shrinks, for a time
///
/// The protection ends when the replica does: one that is started anew may be removed. Healing and rollouts go on.
#[derive(Clone, Debug, Args)]
pub(crate) struct Words {
    /// The replica, as replica/NAME
    #[arg(value_name = "REPLICA")]
    replica: OneReplica,
    /// How long, such as 2h, at most 30d
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Span,
    #[command(flatten)]
    output: Output,
}

/// Let a replica be removed again when its service shrinks
#[derive(Clone, Debug, Args)]
pub(crate) struct UnprotectWords {
    /// The replica, as replica/NAME
    #[arg(value_name = "REPLICA")]
    replica: OneReplica,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(desk: &Desk, words: Words) -> Result<(), Failure> {
    let lasting = Some(words.lasting.to_string());
    let request = serde_json::to_value(v1::DurationRequest { lasting, until: None })?;
    ask(desk, (Method::PUT, Some(&request)), &words.replica, &words.output).await
}

pub(crate) async fn unprotect(desk: &Desk, words: UnprotectWords) -> Result<(), Failure> {
    ask(desk, (Method::DELETE, None), &words.replica, &words.output).await
}

async fn ask(
    desk: &Desk,
    (method, request): (Method, Option<&Value>),
    replica: &OneReplica,
    output: &Output,
) -> Result<(), Failure> {
    let path = format!("/v1/replicas/{}/protection", replica.0);
    let answer: Value = desk.client()?.ask(method, &path, request).await?;
    let protected: v1::Protected = serde_json::from_value(answer.clone())?;
    desk.printer.print(output.output, &answer, |_| line(&protected))
}

fn line(protected: &v1::Protected) -> String {
    let target = &protected.target;
    match &protected.protected_until {
        None => format!("{target} may be removed again when its service scales in\n"),
        Some(until) => format!("{target} is protected until {until}\n"),
    }
}
