//! Shows a comparison: progress, a table, a verdict, and a plot.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use load::plot::{Between, Ink, Line};
use study::{Findings, PolicyResult, PolicySummary, Progress, Summary};

use crate::output::{Field, Printer, UNKNOWN};
use crate::paint::Tone;
use crate::picture;

/// Rows of the plot.
const HEIGHT: usize = 14;

/// A line on the terminal that shows the progress of a comparison; nothing without a terminal.
pub(super) struct ProgressLine {
    bar: ProgressBar,
}

impl ProgressLine {
    pub(super) fn new(trace: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar:.dim} {prefix} {msg}");
        bar.set_style(style.expect("the template is a constant that indicatif reads"));
        bar.set_prefix(trace.to_owned());
        Self { bar }
    }

    pub(super) fn show(&self, progress: Progress) {
        match progress {
            Progress::Reading(ticks) => self.bar.set_message(format!("reading: {ticks} ticks")),
            Progress::Simulating(ticks, of) => {
                self.bar.set_length(of);
                self.bar.set_position(ticks);
                self.bar.set_message(format!("{} %", 100 * ticks / of.max(1)));
            }
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The table, the verdict and the notes.
pub(super) fn summary(printer: Printer, summary: &Summary) -> String {
    let has_price = summary.policies.iter().any(|policy| policy.cost.is_some());
    let has_least = summary.policies.iter().any(|policy| policy.violated_requests_at_least_percent.is_some());
    let mut header = vec!["POLICY", "VIOLATED"];
    header.extend(has_least.then_some("AT LEAST"));
    header.extend(["MINUTES", "REPLICA-H", "/ORACLE"]);
    header.extend(has_price.then_some("COST"));
    header.extend(["ACTIONS", "STARTS", "θU", "θO", "τU", "τO", "υ"]);
    let mut grid = printer.table(&header);
    for policy in &summary.policies {
        let is_best = summary.best.as_ref() == Some(&policy.name);
        grid.row(row(policy, is_best, (has_least, has_price)));
    }
    let days = summary.hours / 24.0;
    let mut text = format!(
        "{}: {:.1} days that count, from {}, {} requests; a replica carries {} req/s and starts in {} s\n\n{}\n{}\n",
        summary.trace,
        days,
        summary.begin,
        whole(summary.requests),
        rate(summary.capacity),
        summary.start_up_seconds,
        grid.finish(),
        summary.verdict,
    );
    for note in &summary.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

fn row(policy: &PolicySummary, is_best: bool, (has_least, has_price): (bool, bool)) -> Vec<Field> {
    let name = Field::text(&policy.name);
    let times = policy.replica_hours_to_oracle.map_or(UNKNOWN.to_owned(), |times| format!("{times:.2}"));
    let mut fields = vec![
        if is_best { name.toned(Tone::Good) } else { name },
        Field::number(format!("{} %", percent(policy.violated_requests_percent))),
    ];
    if has_least {
        let violated = policy.violated_requests_at_least_percent;
        fields.push(Field::number(
            violated.map_or(UNKNOWN.to_owned(), |violated| format!("{} %", percent(violated))),
        ));
    }
    fields.extend([
        Field::number(format!("{:.1}", policy.slo_violation_minutes)),
        Field::number(format!("{:.1}", policy.replica_hours)),
        Field::number(times),
    ]);
    if has_price {
        fields.push(Field::number(policy.cost.map_or(UNKNOWN.to_owned(), |cost| format!("{cost:.2}"))));
    }
    fields.extend([Field::number(policy.actions), Field::number(policy.starts)]);
    let metrics = [policy.theta_u, policy.theta_o, policy.tau_u, policy.tau_o, policy.instability];
    fields.extend(metrics.map(|metric| Field::number(format!("{metric:.1}"))));
    fields
}

/// A plot of the load and of the capacity under the best policy.
pub(super) fn plot(findings: &Findings, summary: &Summary) -> String {
    let is_best = |tried: &&PolicyResult| summary.best.as_ref() == Some(&tried.name);
    let Some(tried) = findings.results.iter().find(is_best).or(findings.results.first()) else {
        return String::new();
    };
    let hours = findings.service.tick.as_secs_f64() / 3600.0;
    let mut at = 0;
    let (mut load, mut capacity) = (Vec::new(), Vec::new());
    for point in tried.outcome.timeline.points() {
        let hour = at as f64 * hours;
        load.push((hour, point.load_max));
        capacity.push((hour, point.capacity()));
        at += point.ticks;
    }
    let label = format!("capacity of {}", tried.name);
    let lines = [
        Line { label: &label, ink: Ink::Solid, between: Between::Mean, points: &capacity },
        Line { label: "load", ink: Ink::Dots, between: Between::Mean, points: &load },
    ];
    picture::of(&lines, HEIGHT, "h", "req/s")
}

/// Requests per second with significant digits.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        rate if rate < 1.0 => format!("{rate:.4}"),
        rate if rate < 100.0 => format!("{rate:.2}"),
        rate => format!("{rate:.0}"),
    }
}

/// Per cent; values above zero are never shown as 0.
pub(super) fn percent(percent: f64) -> String {
    match percent {
        0.0 => "0".to_owned(),
        percent if percent < 0.001 => "<0.001".to_owned(),
        percent => format!("{percent:.3}"),
    }
}

/// A large whole number in groups of three digits.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
