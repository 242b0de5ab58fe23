//! `explain`: the last decision, and why.

use std::fmt::Write as _;

use api::v1;
use clap::Args;
use jiff::Timestamp;
use model::resource::Span;
use serde_json::Value;

use crate::failure::Failure;
use crate::figures;
use crate::output::{Field, Output, Printer, UNKNOWN};
use crate::paint::{Tone, printable};
use crate::target::OneService;
use crate::words::Desk;

/// Show the last scaling decision of a service, its arithmetic, and what stood in its way
#[derive(Clone, Debug, Args)]
pub(crate) struct Words {
    /// Which, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: OneService,
    /// As of this time, from the journal: RFC 3339, or how long ago, such as 5m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// Only what was not done, and why not
    #[arg(long)]
    why_not: bool,
    #[command(flatten)]
    output: Output,
}

/// A time as people write it: RFC 3339, or a length of time before now.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = Span::parse(text) {
        let now = figures::timestamp(os::wall());
        return now.checked_sub(ago.as_duration()).map_err(|error| error.to_string());
    }
    text.parse().map_err(|_| "write a time as 2026-01-31T18:00:00Z, or how long ago, as 5m".to_owned())
}

pub(crate) async fn run(desk: &Desk, words: Words) -> Result<(), Failure> {
    let at = words.at.map(|at| format!("?at={at:.3}")).unwrap_or_default();
    let path = format!("/v1/services/{}/explain{at}", words.service.0);
    let answer: Value = desk.client()?.get(&path).await?;
    let explanation: v1::Explanation = serde_json::from_value(answer.clone())?;
    let printer = desk.printer;
    desk.printer.print(words.output.output, &answer, |_| {
        if words.why_not { why_not(printer, &explanation) } else { lines(printer, &explanation) }
    })
}

const STRING: &str = "writing to a string cannot fail";

/// The whole of it: the sentence, the metrics with their arithmetic, what changed the number, what is not done yet.
pub(crate) fn lines(printer: Printer, it: &v1::Explanation) -> String {
    let (policy, summary) = (printable(&it.policy), printable(&it.summary));
    let mut text = format!(
        "{}: {}, {} before; decided by {policy} at {}\n  {summary}\n",
        it.target,
        figures::replicas(it.desired),
        it.previous,
        it.at
    );
    if !it.metrics.is_empty() {
        write!(text, "\n{}", metrics(printer, &it.metrics)).expect(STRING);
    }
    if !it.limits.is_empty() {
        let mut grid = printer.table(&["LIMIT", "FROM", "TO", "WHY"]);
        for limit in &it.limits {
            let (from, to) = (Field::number(limit.from), Field::number(limit.to));
            grid.row([Field::text(&limit.name), from, to, Field::text(&limit.note)]);
        }
        write!(text, "\n{}", grid.finish()).expect(STRING);
    }
    text.push_str(&undone(printer, it));
    if !it.changes.is_empty() {
        text.push_str("\nchanges of size\n");
        for change in &it.changes {
            writeln!(text, "  {}  {}", change.at, printable(&change.message)).expect(STRING);
        }
    }
    text
}

fn metrics(printer: Printer, metrics: &[v1::Metric]) -> String {
    let mut grid = printer.table(&["METRIC", "CURRENT", "TARGET", "RATIO", "ASKS FOR", "ARITHMETIC"]);
    for metric in metrics {
        let proposal = metric.proposal.map_or_else(|| UNKNOWN.to_owned(), |proposal| proposal.to_string());
        grid.row([
            Field::text(&metric.name),
            Field::number(printable(&metric.current)),
            Field::number(printable(&metric.target)),
            Field::number(metric.ratio.map_or_else(|| UNKNOWN.to_owned(), |ratio| format!("{ratio:.3}"))),
            Field::number(proposal),
            Field::text(&metric.note),
        ]);
    }
    grid.finish()
}

/// What the guard refuses, and what waits; empty when nothing does.
fn undone(printer: Printer, it: &v1::Explanation) -> String {
    let mut text = String::new();
    if let Some(guard) = &it.guard {
        let refused = printer.paint.tone(Tone::Notable, "refused by the guard");
        write!(text, "\n{refused}: {}\n", printable(guard)).expect(STRING);
    }
    if !it.waits.is_empty() {
        write!(text, "\n{}\n", printer.paint.tone(Tone::Notable, "waits")).expect(STRING);
        for wait in &it.waits {
            let who = wait
                .replica
                .as_ref()
                .map_or_else(|| it.target.clone(), |replica| format!("replica/{replica}"));
            writeln!(text, "  {who}: {}", printable(&wait.message)).expect(STRING);
        }
    }
    text
}

/// What was not done: metrics that could not say, limits that changed the number, the guard's refusals, waits.
fn why_not(printer: Printer, it: &v1::Explanation) -> String {
    let silent = it.metrics.iter().filter(|metric| metric.proposal.is_none());
    let silent = silent.map(|metric| {
        format!("  {} asks for nothing: {}\n", printable(&metric.name), printable(&metric.note))
    });
    let limits = it.limits.iter().map(|limit| {
        let (name, from, to) = (printable(&limit.name), limit.from, limit.to);
        format!("  not {from} but {to}, by {name}: {}\n", printable(&limit.note))
    });
    let held_back: String = silent.chain(limits).collect();
    let undone = undone(printer, it);
    if held_back.is_empty() && undone.is_empty() {
        let (target, desired, summary) = (&it.target, figures::replicas(it.desired), printable(&it.summary));
        return format!("{target}: nothing was held back; {desired} is what was asked for\n  {summary}\n");
    }
    format!("{}: {}, decided at {}\n{held_back}{undone}", it.target, figures::replicas(it.desired), it.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::Paint;

    const PRINTER: Printer = Printer { paint: Paint { is_on: false } };

    fn explanation() -> v1::Explanation {
        v1::Explanation {
            target: "service/shop".into(),
            at: "2026-11-21T06:00:00.000Z".into(),
            desired: 4,
            previous: 2,
            policy: "hpa".into(),
            metrics: vec![v1::Metric {
                name: "cpu".into(),
                current: "150 %".into(),
                target: "50 %".into(),
                ratio: Some(3.0),
                proposal: Some(6),
                note: "ceil(2 x 3.000) = 6".into(),
            }],
            limits: vec![v1::Limit {
                name: "ScaleUpLimit".into(),
                from: 6,
                to: 4,
                note: "at most double".into(),
            }],
            guard: None,
            reasons: Vec::new(),
            waits: vec![v1::Wait { replica: Some("shop-3".into()), message: "starts in 2 s".into() }],
            changes: Vec::new(),
            summary: "cpu asks for 6".into(),
        }
    }

    #[test]
    fn an_explanation_shows_the_arithmetic_and_each_limit() {
        let text = lines(PRINTER, &explanation());
        for part in [
            "service/shop: 4 replicas, 2 before",
            "ceil(2 x 3.000) = 6",
            "ScaleUpLimit",
            "replica/shop-3: starts",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn why_not_leaves_out_what_was_done() {
        let text = why_not(PRINTER, &explanation());
        assert!(text.contains("not 6 but 4") && text.contains("starts in 2 s"), "{text}");
        assert!(!text.contains("ceil("), "{text}");
        let done = v1::Explanation { limits: Vec::new(), waits: Vec::new(), ..explanation() };
        assert!(why_not(PRINTER, &done).contains("nothing was held back"));
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("2026-01-31T18:00:00+01:00").unwrap(), "2026-01-31T17:00:00Z".parse().unwrap());
        assert!(moment("5m").unwrap() < figures::timestamp(os::wall()));
        assert!(moment("yesterday").is_err());
    }
}
