//! `pause` and `resume`: whether the autoscaler of a service decides.

use api::v1;
use clap::Args;
use hyper::Method;
use model::resource::Span;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::Output;
use crate::target::OneService;
use crate::words::Desk;

/// Pause the autoscaler of a service: its number stays as it is, for a time or until resumed
#[derive(Clone, Debug, Args)]
pub(crate) struct Words {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: OneService,
    /// How long, such as 1h; without it, until resumed
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Option<Span>,
    #[command(flatten)]
    output: Output,
}

/// Let the autoscaler of a service decide again
#[derive(Clone, Debug, Args)]
pub(crate) struct ResumeWords {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: OneService,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(desk: &Desk, words: Words) -> Result<(), Failure> {
    let lasting = words.lasting.map(|span| span.to_string());
    let request = serde_json::to_value(v1::DurationRequest { lasting, until: None })?;
    ask(desk, (Method::PUT, Some(&request)), &words.service, &words.output).await
}

pub(crate) async fn resume(desk: &Desk, words: ResumeWords) -> Result<(), Failure> {
    ask(desk, (Method::DELETE, None), &words.service, &words.output).await
}

async fn ask(
    desk: &Desk,
    (method, request): (Method, Option<&Value>),
    service: &OneService,
    output: &Output,
) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/pause", service.0);
    let answer: Value = desk.client()?.ask(method, &path, request).await?;
    let paused: v1::Paused = serde_json::from_value(answer.clone())?;
    desk.printer.print(output.output, &answer, |_| line(&paused))
}

fn line(paused: &v1::Paused) -> String {
    let target = &paused.target;
    match &paused.pause {
        None => format!("the autoscaler of {target} decides again\n"),
        Some(v1::Pause { until: None }) => {
            format!("the autoscaler of {target} is paused, until `homeostat resume {target}`\n")
        }
        Some(v1::Pause { until: Some(until) }) => {
            format!("the autoscaler of {target} is paused until {until}\n")
        }
    }
}
