//! A comparison as a self-contained HTML page, without scripts, fonts or external images.

mod curve;
mod field;

use fluid::Service;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::compare::{Findings, PolicyResult};
use crate::setting::Measure;
use crate::summary::{PolicySummary, Summary};

const STYLE: &str = include_str!("page/style.css");

/// The page with comparisons of the same policies over one or several traces.
pub fn page(compared: &[(Findings, Summary)], measure: Measure) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Homeostat: comparison of scaling policies" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.brand { "Homeostat" }
                    h1 { "Comparison of scaling policies" }
                }
                main {
                    @if compared.len() > 1 { (overview(compared)) }
                    @for (number, (findings, summary)) in compared.iter().enumerate() {
                        (section(number, findings, summary, measure))
                    }
                    (legend(measure))
                }
            }
        }
    };
    page.into_string()
}

/// A line for each trace.
fn overview(compared: &[(Findings, Summary)]) -> Markup {
    html! {
        section {
            h2 { (compared.len()) " traces" }
            ul.verdicts {
                @for (number, (_, summary)) in compared.iter().enumerate() {
                    li { a href={ "#trace-" (number) } { (summary.trace) } span { (summary.verdict) } }
                }
            }
        }
    }
}

fn section(number: usize, findings: &Findings, summary: &Summary, measure: Measure) -> Markup {
    let days = format!("{:.1}", summary.hours / 24.0);
    html! {
        section id={ "trace-" (number) } {
            h2 { (summary.trace) }
            p.facts {
                span { b { (days) } " days, from " @if uncounted(findings) > 0 { "a day after " } (summary.begin) }
                span { b { (grouped(summary.requests)) } " requests" }
                span { "capacity of a replica: " b { (digits(summary.capacity)) } " req/s" }
                span { "start-up: " b { (summary.start_up_seconds) " s" } }
            }
            p.verdict { (summary.verdict) }
            div.pair {
                figure {
                    figcaption { b { "Cost and violations" } " Lower and further left is better." }
                    (field::draw(&summary.policies, summary.best.as_deref(), measure))
                }
                (bars(summary, measure))
            }
            h3 { "Load and capacity over time" }
            p.key {
                span.load-key { "load" } span.capacity-key { "ready capacity" } span.violation-key { "SLO violated" }
                span.action-key { "number changed" }
                @if uncounted(findings) > 0 { span.veil-key { "the first day, which does not count" } }
                span.scale { "all plots have the scale 0 to " (digits(curve::top(findings))) " req/s" }
            }
            div.runs {
                @let top = curve::top(findings);
                @for (tried, policy) in findings.results.iter().zip(&summary.policies) {
                    (run(tried, policy, (summary, findings), top, measure))
                }
            }
            h3 { "All figures" }
            (table(summary, measure))
            @for note in &summary.notes { p.note { (note) "." } }
        }
    }
}

/// Violations and cost as bars.
fn bars(summary: &Summary, measure: Measure) -> Markup {
    let most = |of: fn(&PolicySummary) -> f64| summary.policies.iter().map(of).fold(0.0, f64::max).max(1e-12);
    let (violated, hours) =
        (most(|policy| policy.violated_requests_percent), most(|policy| policy.replica_hours));
    let part = |value: f64, most: f64| format!("width:{:.1}%", 100.0 * value / most);
    html! {
        figure {
            figcaption { b { "Side by side" } " Requests during violations, and replica-hours." }
            div.bars {
                @for policy in &summary.policies {
                    div.bar-name.best[is_best(summary, policy)].known[!policy.could_run] { (policy.name) }
                    div.bar-pair {
                        div.bar {
                            i.bad.kept[policy.meets_slo(measure)] style=(part(policy.violated_requests_percent, violated)) {}
                            span { (percent(policy.violated_requests_percent)) " %" }
                        }
                        div.bar { i style=(part(policy.replica_hours, hours)) {} span { (cost_of(policy)) } }
                    }
                }
            }
        }
    }
}

/// One policy over time, with a description of its result.
fn run(
    tried: &PolicyResult,
    policy: &PolicySummary,
    (summary, findings): (&Summary, &Findings),
    top: f64,
    measure: Measure,
) -> Markup {
    let is_best = is_best(summary, policy);
    html! {
        figure.run.best[is_best] {
            figcaption {
                b { (policy.name) } @if is_best { span.badge { "best" } } @if !policy.could_run { span.badge.dull { "cannot run" } }
                span.about { (policy.about) }
            }
            (curve::draw(&tried.outcome.timeline, top, uncounted(findings)))
            div.times { @for time in times(findings) { span { (time) } } }
            p.words { (description(policy, measure)) }
        }
    }
}

/// The result of a policy in sentences.
fn description(policy: &PolicySummary, measure: Measure) -> String {
    let violations = if policy.violated_requests_percent == 0.0 {
        "Meets the SLO for every request.".to_owned()
    } else {
        format!(
            "Violates the SLO for {} % of the requests{}: {:.1} minutes in all, at most {:.1} in a row; {} % were dropped.",
            percent(policy.violated_requests_percent),
            if policy.meets_slo(measure) { "" } else { ", which is too many" },
            policy.slo_violation_minutes,
            policy.slo_violation_longest_minutes,
            percent(policy.dropped_requests_percent),
        )
    };
    format!(
        "{violations} {}. Too few replicas for {:.1} % of the time, too many for {:.1} %; {:.0} changes per day.",
        cost_of(policy),
        policy.tau_u,
        policy.tau_o,
        policy.actions_per_day
    )
}

fn cost_of(policy: &PolicySummary) -> String {
    let hours = format!("{} replica-hours", grouped(policy.replica_hours));
    let times =
        policy.replica_hours_to_oracle.map(|times| format!(", {times:.2} × oracle")).unwrap_or_default();
    let cost = policy.cost.map(|cost| format!(", costs {}", digits(cost))).unwrap_or_default();
    format!("{hours}{times}{cost}")
}

fn table(summary: &Summary, measure: Measure) -> Markup {
    let has_price = measure.price.is_some();
    html! {
        div.wide {
            table {
                thead { tr {
                    th { "policy" } th { "violated requests" } th { "minutes" } th { "longest" } th { "dropped" } th { "replica-hours" }
                    th { "× oracle" } @if has_price { th { "cost" } } th { "changes per day" } th { "starts" } th { "hot time" }
                    th title="mean missing share of the demand" { "θ" sub { "U" } }
                    th title="mean surplus as a share of the demand" { "θ" sub { "O" } }
                    th title="share of the time with too few replicas" { "τ" sub { "U" } }
                    th title="share of the time with too many replicas" { "τ" sub { "O" } }
                    th title="share of the ticks in which supply and demand moved in different directions" { "υ" }
                } }
                tbody {
                    @for policy in &summary.policies {
                        tr.best[is_best(summary, policy)].known[!policy.could_run] {
                            th scope="row" { (policy.name) }
                            td.broken[!policy.meets_slo(measure)] { (percent(policy.violated_requests_percent)) " %" }
                            td { (format!("{:.1}", policy.slo_violation_minutes)) }
                            td { (format!("{:.1}", policy.slo_violation_longest_minutes)) }
                            td { (percent(policy.dropped_requests_percent)) " %" }
                            td { (grouped(policy.replica_hours)) }
                            td { (policy.replica_hours_to_oracle.map_or("–".to_owned(), |times| format!("{times:.2}"))) }
                            @if has_price { td { (policy.cost.map_or("–".to_owned(), digits)) } }
                            td { (format!("{:.0}", policy.actions_per_day)) }
                            td { (policy.starts) }
                            td { (percent(policy.hot_percent)) " %" }
                            @for metric in [policy.theta_u, policy.theta_o, policy.tau_u, policy.tau_o, policy.instability] {
                                td { (format!("{metric:.1}")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn legend(measure: Measure) -> Markup {
    html! {
        footer {
            p {
                "The SLO is violated while more than half a second of work waits or requests are dropped; it should be met for "
                (digits(100.0 * measure.objective)) " % of the requests. A policy knows the past; an oracle knows the load for the start-up time ahead, so it "
                "shows what could be reached. Starting replicas count as cost. θ and τ are how far and how long supply deviated from demand, υ is how often "
                "they moved in different directions, all in per cent (SPEC RG, Herbst et al. 2018). Of traces longer than two days, the first day does not count."
            }
        }
    }
}

fn is_best(summary: &Summary, policy: &PolicySummary) -> bool {
    summary.best.as_ref() == Some(&policy.name)
}

/// The number of ticks at the start that do not count.
fn uncounted(findings: &Findings) -> u64 {
    let counted = findings.results.first().map_or(findings.extent.ticks, |tried| tried.outcome.score.ticks);
    findings.extent.ticks.saturating_sub(counted)
}

/// The begin, the middle and the end of the trace, in UTC.
fn times(findings: &Findings) -> [String; 3] {
    let Service { tick, .. } = findings.service;
    let seconds = (tick.as_secs_f64() * findings.extent.ticks as f64) as i64;
    let form = if seconds > 2 * 86_400 { "%-d %b" } else { "%-d %b %H:%M" };
    let at = |seconds: i64| {
        let at: Timestamp =
            findings.extent.begin.checked_add(seconds.seconds()).unwrap_or(findings.extent.begin);
        at.to_zoned(TimeZone::UTC).strftime(form).to_string()
    };
    [at(0), at(seconds / 2), at(seconds)]
}

/// Per cent; values above zero are never shown as 0.
fn percent(percent: f64) -> String {
    match percent {
        0.0 => "0".to_owned(),
        percent if percent < 0.01 => "<0.01".to_owned(),
        percent if percent < 10.0 => format!("{percent:.2}"),
        percent => format!("{percent:.1}"),
    }
}

/// A number with significant digits.
fn digits(number: f64) -> String {
    match number {
        number if number < 1.0 => format!("{number:.4}"),
        number if number < 100.0 => {
            format!("{number:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        number => grouped(number),
    }
}

/// A whole number in groups of three digits, separated by narrow spaces.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let length = digits.len();
    let gap = |index: usize| index > 0 && (length - index).is_multiple_of(3);
    digits
        .char_indices()
        .flat_map(|(index, digit)| gap(index).then_some('\u{202f}').into_iter().chain([digit]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_significant_digits_and_groups() {
        assert_eq!(
            (grouped(1_234_567.0), grouped(12.4)),
            ("1\u{202f}234\u{202f}567".to_owned(), "12".to_owned())
        );
        assert_eq!(
            (percent(0.0), percent(0.0001), percent(2.783)),
            ("0".into(), "<0.01".into(), "2.78".into())
        );
        assert_eq!((digits(0.0357), digits(50.0), digits(2.5)), ("0.0357".into(), "50".into(), "2.5".into()));
    }
}
