//! `recommendations`: bottlenecks and waste found in the history, and changes of declarations against them.

use std::fmt::Write as _;

use api::v1;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::figures;
use crate::moment::moment;
use crate::output::{Output, STRING};
use crate::paint::{Paint, printable};
use crate::target::ServiceArgument;
use crate::verbs::diff::change_lines;

/// List bottlenecks and waste found in 30 days of decisions, with the benefit of each recommended change
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The service, as service/NAME; without it, all services
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceArgument>,
    /// Look back to this time: RFC 3339, a local time of day such as 12:03, or how long ago, such as 7d
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let since = arguments.since.map(|since| format!("?since={since:.3}")).unwrap_or_default();
    let path = match &arguments.service {
        Some(service) => format!("/v1/services/{}/recommendations{since}", service.0),
        None => format!("/v1/recommendations{since}"),
    };
    let response: Value = context.client()?.get(&path).await?;
    let recommendations: v1::Recommendations = serde_json::from_value(response.clone())?;
    context
        .printer
        .print(arguments.output.output, &response, |_| lines(&recommendations, context.printer.paint))
}

fn lines(recommendations: &v1::Recommendations, paint: Paint) -> String {
    if recommendations.items.is_empty() {
        return format!("no recommendations from the decisions since {}\n", recommendations.since);
    }
    let mut text = String::new();
    for advice in &recommendations.items {
        let v1::Advice { target, kind, message, worth, changes } = advice;
        writeln!(text, "{target}: {}\n  {}", printable(kind), printable(message)).expect(STRING);
        if let Some(benefit) = benefit(worth) {
            writeln!(text, "  {benefit}").expect(STRING);
        }
        text.push_str(&change_lines(changes, paint));
        text.push('\n');
    }
    writeln!(
        text,
        "since {}; each recommendation is independent of the others, and its benefit is estimated for that period",
        recommendations.since
    )
    .expect(STRING);
    text
}

/// The estimated benefit as text; `None` when it cannot be estimated.
fn benefit(worth: &v1::AdviceWorth) -> Option<String> {
    let lacked = |what: String| format!("it lacked {what}");
    let spared = |what: String| format!("it could save {what}");
    let replica_hours = |hours: f64| format!("{hours:.1} replica-hours");
    let cores = |cores: f64| format!("{cores:.2} cores");
    let memory = |bytes: u64| figures::bytes(Some(bytes));
    let starts = |starts: u32| format!("{starts} starts of replicas");
    worth
        .lacked_replica_hours
        .map(replica_hours)
        .or_else(|| worth.lacked_cores.map(cores))
        .or_else(|| worth.lacked_bytes.map(memory))
        .map(lacked)
        .or_else(|| worth.spared_replica_hours.map(replica_hours).map(spared))
        .or_else(|| worth.spared_cores.map(cores).map(spared))
        .or_else(|| worth.spared_bytes.map(memory).map(spared))
        .or_else(|| worth.spared_starts.map(starts).map(spared))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_recommendation_shows_the_observation_the_benefit_and_the_change() {
        let change =
            v1::FieldChange { path: "spec.scale.max".into(), old: Some(json!(10)), new: Some(json!(14)) };
        let advice = v1::Advice {
            target: "service/shop".into(),
            kind: "MaxReached".into(),
            message: "for 2.0 h its metrics asked for more".into(),
            worth: v1::AdviceWorth { lacked_replica_hours: Some(6.0), ..Default::default() },
            changes: vec![change],
        };
        let found = v1::Recommendations {
            since: "2026-11-01T00:00:00.000Z".into(),
            until: "2026-12-01T00:00:00.000Z".into(),
            items: vec![advice],
        };
        let text = lines(&found, Paint { is_on: false });
        let expected = "service/shop: MaxReached\n  for 2.0 h its metrics asked for more\n  it lacked 6.0 replica-hours\n  \
                        - spec.scale.max: 10\n  + spec.scale.max: 14\n";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn an_empty_list_is_reported() {
        let found = v1::Recommendations { since: "then".into(), until: "now".into(), items: Vec::new() };
        assert_eq!(
            lines(&found, Paint { is_on: false }),
            "no recommendations from the decisions since then\n"
        );
    }
}
