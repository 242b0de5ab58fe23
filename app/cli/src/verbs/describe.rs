//! `describe`: everything about one service on one screen.

use std::fmt::Write as _;

use api::v1;
use clap::Args;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{Field, Output, Printer, UNKNOWN};
use crate::paint::Tone;
use crate::tables;
use crate::target::OneService;
use crate::verbs::explain;
use crate::words::Desk;

/// Show everything about one service: conditions, replicas, the last decision, what happened lately
#[derive(Clone, Debug, Args)]
pub(crate) struct Words {
    /// Which, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: OneService,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(desk: &Desk, words: Words) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/describe", words.service.0);
    let answer: Value = desk.client()?.get(&path).await?;
    let description: v1::Description = serde_json::from_value(answer.clone())?;
    let printer = desk.printer;
    desk.printer.print(words.output.output, &answer, |_| lines(printer, &description))
}

fn lines(printer: Printer, it: &v1::Description) -> String {
    let mut text = String::new();
    let mut part = |title: &str, body: &str| {
        let gap = if text.is_empty() { "" } else { "\n" };
        write!(text, "{gap}{title}\n{body}").expect("writing to a string cannot fail");
    };
    let mut grid = printer.table(tables::SERVICE_HEADER);
    grid.row(tables::service(&it.service));
    part(&format!("service/{}", it.service.name()), &grid.finish());
    if let Ok(spec) = serde_saphyr::to_string(&it.service.spec) {
        part("spec", &spec.lines().map(|line| format!("  {line}\n")).collect::<String>());
    }
    part("conditions", &conditions(printer, &it.service.status.conditions));
    if let Some(autoscaler) = &it.autoscaler {
        let mut grid = printer.table(tables::AUTOSCALER_HEADER);
        grid.row(tables::autoscaler(autoscaler));
        part(
            "autoscaler",
            &format!("{}{}", grid.finish(), conditions(printer, &autoscaler.status.conditions)),
        );
    }
    let mut grid = printer.table(tables::REPLICA_HEADER);
    it.replicas.iter().for_each(|replica| grid.row(tables::replica(replica, os::wall())));
    part("replicas", &if it.replicas.is_empty() { "there is none\n".to_owned() } else { grid.finish() });
    if let Some(explanation) = &it.explanation {
        part("the last decision", &explain::lines(printer, explanation));
    }
    let mut grid = printer.table(tables::EVENT_HEADER);
    it.events.iter().for_each(|event| grid.row(tables::event(event)));
    part(
        "events",
        &if it.events.is_empty() { "nothing has happened yet\n".to_owned() } else { grid.finish() },
    );
    text
}

fn conditions(printer: Printer, conditions: &[v1::Condition]) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    let mut grid = printer.table(&["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in conditions {
        let tone = match condition.status.as_str() {
            "True" => Tone::Good,
            "False" => Tone::Bad,
            _ => Tone::Notable,
        };
        grid.row([
            Field::text(&condition.kind),
            Field::text(&condition.status).toned(tone),
            Field::text(&condition.reason),
            Field::text(condition.since.as_deref().unwrap_or(UNKNOWN)),
            Field::text(&condition.message),
        ]);
    }
    grid.finish()
}
