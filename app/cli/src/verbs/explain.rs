//! `explain`: the latest decision on a service and its reasons.

mod history;

use std::fmt::Write as _;

use api::v1;
use clap::Args;
use jiff::Timestamp;
use model::decision::{MetricVerdict, Policy};
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::figures;
use crate::moment::moment;
use crate::output::{Field, Output, Printer, STRING, UNKNOWN};
use crate::paint::{Tone, printable};
use crate::target::ServiceArgument;

/// Show the latest scaling decision on a service: its calculation, its limits, and what is pending
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: ServiceArgument,
    /// The decision at this time: RFC 3339, a local time of day such as 12:03, or how long ago, such as 5m
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    at: Option<Timestamp>,
    /// Explain why not more (out), fewer (in) or exactly N replicas, and what would lead to it; without a value, everything that was
    /// held back
    #[arg(long, value_name = "out|in|N", num_args = 0..=1, default_missing_value = "", value_parser = why_not)]
    why_not: Option<String>,
    /// Show the decisions from this time on, as a table and a plot; a time as in --at
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, conflicts_with_all = ["at", "why_not"])]
    since: Option<Timestamp>,
    /// Show the decisions up to this time; from an hour before, unless --since is given
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, conflicts_with_all = ["at", "why_not"])]
    until: Option<Timestamp>,
    /// With --since and --until: the maximum number of runs of decisions; the latest ones are shown
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    output: Output,
}

/// Parses the value of `--why-not`; empty for everything that was held back.
fn why_not(text: &str) -> Result<String, String> {
    if matches!(text, "" | "out" | "in") || text.parse::<u32>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("write out, in, or a number of replicas, and the service before it".to_owned())
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    if arguments.since.is_some() || arguments.until.is_some() {
        return past(context, &arguments).await;
    }
    let at = arguments.at.map(|at| format!("at={at:.3}"));
    let why_not =
        arguments.why_not.as_ref().filter(|value| !value.is_empty()).map(|it| format!("whyNot={it}"));
    let query: Vec<String> = at.into_iter().chain(why_not).collect();
    let path = format!("/v1/services/{}/explain?{}", arguments.service.0, query.join("&"));
    let response: Value = context.client()?.get(&path).await?;
    let explanation: v1::Explanation = serde_json::from_value(response.clone())?;
    let printer = context.printer;
    context.printer.print(arguments.output.output, &response, |_| {
        match (&explanation.why_not, &arguments.why_not) {
            (Some(why_not), _) => why_not_lines(printer, &explanation, why_not),
            (None, Some(_)) => held_back_lines(printer, &explanation),
            (None, None) => lines(printer, &explanation),
        }
    })
}

async fn past(context: &CommandContext, arguments: &Arguments) -> Result<(), Failure> {
    check_order(arguments.since, arguments.until)?;
    let bound = |name, at: Option<Timestamp>| at.map(|at| format!("&{name}={at:.3}")).unwrap_or_default();
    let (since, until) = (bound("since", arguments.since), bound("until", arguments.until));
    let path =
        format!("/v1/services/{}/history?limit={}{since}{until}", arguments.service.0, arguments.limit);
    let response: Value = context.client()?.get(&path).await?;
    let history: v1::History = serde_json::from_value(response.clone())?;
    context.printer.print(arguments.output.output, &response, |_| history::lines(context.printer, &history))
}

/// Refuses a period that ends before it begins.
fn check_order(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), Failure> {
    match (since, until) {
        (Some(since), Some(until)) if since > until => Err(Failure::usage(format!(
            "--since {since:.0} is later than --until {until:.0}; give the earlier time as --since"
        ))),
        _ => Ok(()),
    }
}

/// The explanation as text: the summary, the metrics with their calculation, the limits, and what is pending.
pub(crate) fn lines(printer: Printer, it: &v1::Explanation) -> String {
    let (policy, summary) = (printable(&it.policy), printable(&it.summary));
    let mut text = format!(
        "{}: {}, {} before; decided by {policy} at {}\n  {summary}\n",
        it.target,
        figures::replicas(it.desired),
        it.previous,
        it.at
    );
    if let Some(v1::KeptSpan { to, count, .. }) = &it.kept {
        writeln!(text, "  from the history: {count} such decisions until {to}, of which this was the first")
            .expect(STRING);
    }
    if !it.metrics.is_empty() {
        write!(text, "\n{}", metrics(printer, &it.metrics)).expect(STRING);
    }
    if !it.shadows.is_empty() {
        write!(text, "\n{}", shadows(printer, &it.shadows)).expect(STRING);
    }
    if !it.limits.is_empty() {
        let mut grid = printer.table(&["LIMIT", "FROM", "TO", "WHY"]);
        for limit in &it.limits {
            let (from, to) = (Field::number(limit.from), Field::number(limit.to));
            grid.row([Field::text(&limit.name), from, to, Field::text(&limit.note)]);
        }
        write!(text, "\n{}", grid.finish()).expect(STRING);
    }
    text.push_str(&evidence_lines(it));
    if let Some(size) = &it.size_of_replica {
        write!(text, "\nsize of a replica\n  {}\n", printable(size)).expect(STRING);
    }
    text.push_str(&pending_lines(printer, it));
    text.push_str(&prospect_lines(&it.prospects));
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

/// The earlier recommendations and changes behind the limits; empty without any.
fn evidence_lines(it: &v1::Explanation) -> String {
    let mut text = String::new();
    if !it.evidence.is_empty() {
        text.push_str("\nbehind the limits\n");
    }
    for v1::Evidence { at, kind, replicas } in &it.evidence {
        writeln!(text, "  {at}  {} {}", figures::replicas(*replicas), printable(kind)).expect(STRING);
    }
    text
}

/// The changes that would lead to another outcome.
fn prospect_lines(prospects: &[v1::Prospect]) -> String {
    let mut text = String::new();
    if !prospects.is_empty() {
        text.push_str("\nwhat would change it\n");
    }
    for prospect in prospects {
        writeln!(text, "  {}", printable(&prospect.message)).expect(STRING);
    }
    text
}

/// The answer to `--why-not` with a value.
fn why_not_lines(printer: Printer, it: &v1::Explanation, why_not: &v1::WhyNot) -> String {
    let asked = match &*why_not.asked {
        "out" => "more".to_owned(),
        "in" => "fewer".to_owned(),
        number => printable(number),
    };
    let (decided, at) = (figures::replicas(it.desired), &it.at);
    let mut text = format!("{}: why not {asked}? {decided}, decided at {at}\n", it.target);
    for cause in &why_not.because {
        writeln!(text, "  {}", printable(cause)).expect(STRING);
    }
    text.push_str(&pending_lines(printer, it));
    text.push_str(&prospect_lines(&why_not.prospects));
    text
}

/// The decisions of the shadow autoscalers.
fn shadows(printer: Printer, shadows: &[v1::ShadowExplanation]) -> String {
    let mut grid = printer.table(&["SHADOW", "POLICY", "WANTS", "WHY"]);
    for shadow in shadows {
        let (name, policy) = (Field::text(&shadow.name), Field::text(&shadow.policy));
        grid.row([name, policy, Field::number(shadow.desired), Field::text(&shadow.summary)]);
    }
    grid.finish()
}

/// What the guard rejects, and what is pending; empty without either.
fn pending_lines(printer: Printer, it: &v1::Explanation) -> String {
    let mut text = String::new();
    if let Some(guard) = &it.guard {
        let refused = printer.paint.tone(Tone::Notable, "refused by the guard");
        write!(text, "\n{refused}: {}\n", printable(guard)).expect(STRING);
    }
    if !it.waits.is_empty() {
        write!(text, "\n{}\n", printer.paint.tone(Tone::Notable, "waits")).expect(STRING);
        for wait in &it.waits {
            let subject = wait
                .replica
                .as_ref()
                .map_or_else(|| it.target.clone(), |replica| format!("replica/{replica}"));
            writeln!(text, "  {subject}: {}", printable(&wait.message)).expect(STRING);
        }
    }
    text
}

/// The answer to `--why-not` without a value: metrics without a proposal, metrics that were overruled, limits that changed the number, what the
/// guard rejects, and what is pending. Metrics that have no proposal of their own follow, such as the parts of a formula or of a mean.
fn held_back_lines(printer: Printer, it: &v1::Explanation) -> String {
    let (unmeasured, parts): (Vec<_>, Vec<_>) = it
        .metrics
        .iter()
        .filter(|metric| metric.proposal.is_none())
        .partition(|metric| metric.current == MetricVerdict::UNKNOWN);
    // With other policies the largest proposal wins, and smaller ones are not held back.
    let is_unanimous = it.policy == Policy::Unanimous.name();
    let unmeasured = unmeasured.into_iter().map(|metric| {
        format!("  {} gives no number: {}\n", printable(&metric.name), printable(&metric.note))
    });
    let parts: String = parts.into_iter().map(part).collect();
    let overruled = it.metrics.iter().filter_map(|metric| {
        let proposal = metric.proposal.filter(|proposal| is_unanimous && *proposal != it.desired)?;
        Some(format!("  {} asks for {proposal}: {}\n", printable(&metric.name), printable(&metric.note)))
    });
    // A limit that did not change the number is only listed for its note.
    let limits = it.limits.iter().filter(|limit| limit.from != limit.to).map(|limit| {
        let (name, from, to) = (printable(&limit.name), limit.from, limit.to);
        format!("  {name} changes {from} to {to}: {}\n", printable(&limit.note))
    });
    let causes: String = unmeasured.chain(overruled).chain(limits).collect();
    let pending = pending_lines(printer, it);
    if causes.is_empty() && pending.is_empty() {
        let (target, desired, summary) = (&it.target, figures::replicas(it.desired), printable(&it.summary));
        return format!(
            "{target}: nothing was held back; {desired} is what was asked for\n  {summary}\n{parts}"
        );
    }
    format!(
        "{}: {}, decided at {}\n{causes}{parts}{pending}",
        it.target,
        figures::replicas(it.desired),
        it.at
    )
}

/// A metric without a proposal of its own, such as `cpu at 15 %, target 50 %: it weighs 3 of 6.5`.
fn part(metric: &v1::Metric) -> String {
    let v1::Metric { name, current, target, note, .. } = metric;
    let [name, current, target, note] = [name, current, target, note].map(|text| printable(text));
    format!("  {name} at {current}, target {target}: {note}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::Paint;

    const PRINTER: Printer = Printer { paint: Paint { is_on: false } };

    #[test]
    fn a_period_that_ends_before_it_begins_is_refused() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert!(check_order(at(2), at(1)).is_err());
        for (since, until) in [(at(1), at(2)), (at(1), at(1)), (at(2), None), (None, at(1))] {
            assert!(check_order(since, until).is_ok());
        }
    }

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
                samples: None,
                note: "ceil(2 x 3.000) = 6".into(),
            }],
            tolerance: Some(v1::Tolerance { up: 0.1, down: 0.1 }),
            evidence: vec![v1::Evidence {
                at: "2026-11-21T05:59:50.000Z".into(),
                kind: "added".into(),
                replicas: 2,
            }],
            prospects: vec![v1::Prospect {
                desired: 6,
                need: "time".into(),
                levels: Vec::new(),
                at: Some("2026-11-21T06:00:05.000Z".into()),
                message: "at 06:00:05 UTC if the load stays as it is: 6 replicas".into(),
            }],
            why_not: None,
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
            kept: None,
            summary: "cpu asks for 6".into(),
            size_of_replica: Some("auto: changed in place".into()),
            shadows: Vec::new(),
        }
    }

    #[test]
    fn an_explanation_shows_the_calculation_and_each_limit() {
        let text = lines(PRINTER, &explanation());
        for part in [
            "service/shop: 4 replicas, 2 before",
            "ceil(2 x 3.000) = 6",
            "ScaleUpLimit",
            "replica/shop-3: starts",
            "2 replicas added",
            "size of a replica\n  auto: changed in place",
            "what would change it\n  at 06:00:05 UTC",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn why_not_shows_only_what_was_held_back() {
        let text = held_back_lines(PRINTER, &explanation());
        assert!(text.contains("changes 6 to 4") && text.contains("starts in 2 s"), "{text}");
        assert!(!text.contains("ceil("), "{text}");
        let done = v1::Explanation { limits: Vec::new(), waits: Vec::new(), ..explanation() };
        assert!(held_back_lines(PRINTER, &done).contains("nothing was held back"));
    }

    #[test]
    fn why_not_distinguishes_an_unmeasured_metric_from_a_part_of_a_mean() {
        let metric = |current: &str, note: &str| v1::Metric {
            current: current.into(),
            proposal: None,
            note: note.into(),
            ..explanation().metrics[0].clone()
        };
        let mean = v1::Explanation {
            metrics: vec![metric("15 %", "its weight is 3 of 4"), explanation().metrics[0].clone()],
            limits: Vec::new(),
            waits: Vec::new(),
            ..explanation()
        };
        let text = held_back_lines(PRINTER, &mean);
        assert!(text.contains("nothing was held back"), "{text}");
        assert!(text.contains("cpu at 15 %, target 50 %: its weight is 3 of 4"), "{text}");
        assert!(!text.contains("gives no number"), "{text}");
        let silent = metric("unknown", "reading it failed");
        let text = held_back_lines(PRINTER, &v1::Explanation { metrics: vec![silent], ..mean });
        assert!(text.contains("cpu gives no number: reading it failed"), "{text}");
    }

    #[test]
    fn why_not_omits_limits_that_changed_nothing() {
        let limit = v1::Limit { name: "Forecast".into(), from: 4, to: 4, note: "it changes nothing".into() };
        let only = |limits: Vec<v1::Limit>| v1::Explanation { limits, waits: Vec::new(), ..explanation() };
        assert!(held_back_lines(PRINTER, &only(vec![limit.clone()])).contains("nothing was held back"));
        let text = held_back_lines(PRINTER, &only(vec![v1::Limit { from: 6, ..limit }]));
        assert!(text.contains("Forecast changes 6 to 4: it changes nothing"), "{text}");
    }

    #[test]
    fn why_not_names_metrics_that_were_overruled() {
        let agreeing = |policy: &str| {
            let of = |policy: &str| v1::Explanation {
                policy: policy.into(),
                limits: Vec::new(),
                waits: Vec::new(),
                ..explanation()
            };
            held_back_lines(PRINTER, &of(policy))
        };
        assert!(agreeing("unanimous").contains("cpu asks for 6: ceil(2 x 3.000) = 6"));
        assert!(agreeing("hpa").contains("nothing was held back"));
    }

    #[test]
    fn why_not_a_number_shows_the_reasons_and_what_would_lead_to_it() {
        let because = vec!["cpu asks for 4: because".to_owned()];
        let prospects = explanation().prospects;
        let why = v1::WhyNot { asked: "8".into(), because, prospects };
        let text = why_not_lines(PRINTER, &explanation(), &why);
        for part in ["why not 8? 4 replicas", "cpu asks for 4", "if the load stays as it is: 6 replicas"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn why_not_takes_out_in_a_number_or_no_value() {
        assert!(["", "out", "in", "8"].into_iter().all(|it| why_not(it).is_ok()));
        assert!(why_not("service/web").unwrap_err().contains("the service before it"));
    }
}
