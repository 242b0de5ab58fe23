//! Shows the progress and the result of a load.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use load::plot::{Between, Ink, Line};
use load::report::Point;
use load::{LoadPlan, Progress, Report};

use crate::figures;
use crate::output::Printer;
use crate::paint::{Colours, Paint, Tone};
use crate::picture;
use crate::stderr;

/// Rows of the plot.
const HEIGHT: usize = 10;

/// A line on the terminal that shows the progress of the load; nothing without a terminal.
pub(super) struct ProgressLine {
    bar: ProgressBar,
}

impl ProgressLine {
    pub(super) fn new(plan: &LoadPlan) -> Self {
        let length = millis(plan.profile.duration());
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar:.dim} {prefix} {msg}");
        bar.set_style(style.expect("the template is a constant that indicatif reads"));
        Self { bar }
    }

    pub(super) fn show(&self, progress: &Progress) {
        let now = progress.elapsed.min(progress.duration);
        self.bar.set_prefix(format!("{} of {}", figures::clock(now), figures::clock(progress.duration)));
        let rate = progress.last.map(|point| point.per_second(point.sent));
        let p99 = progress.last.and_then(|point| point.p99_seconds);
        let skipped = match progress.skipped {
            0 => String::new(),
            skipped => format!("  SKIPPED {skipped}"),
        };
        let (rate, p99) = (figures::rate(rate), figures::seconds(p99));
        let (ok, failed, in_flight) = (progress.ok, progress.failed, progress.in_flight);
        self.bar.set_message(format!(
            "{rate}/s  ok {ok}  failed {failed}{skipped}  in flight {in_flight}  p99 {p99}"
        ));
        self.bar.set_position(millis(now));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The summary, and the rates over time as a plot.
pub(super) fn summary(printer: Printer, report: &Report) -> String {
    let rows = report.summary();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let is_bad = match row.name {
            "failed" => report.failed > 0,
            "skipped" => true,
            _ => false,
        };
        let line = format!("{:<width$}  {}", row.name, row.value);
        text.push_str(&if is_bad { printer.paint.tone(Tone::Bad, &line) } else { line });
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&plot(&report.series));
    text
}

fn plot(series: &[Point]) -> String {
    let rates = |count: fn(&Point) -> u64| -> Vec<(f64, f64)> {
        series.iter().map(|point| (point.at_seconds, point.per_second(count(point)))).collect()
    };
    let (sent, ok) = (rates(|point| point.sent), rates(|point| point.ok));
    let line = |label, ink, points| Line { label, ink, between: Between::Mean, points };
    let lines = [line("sent", Ink::Dots, &sent), line("answered well", Ink::Solid, &ok)];
    picture::of(&lines, HEIGHT, "s", "req/s")
}

/// Warns that fewer requests were sent than planned.
pub(super) fn warn_of_skipped(colours: Colours, report: &Report) {
    let word = Paint::stderr(colours).tone(Tone::Bad, "warning:");
    stderr::print_line(&format!(
        "{word} {} requests were due but not sent, because all connections were busy: the latencies are those of a lower load \
         than planned; raise --connections, or consider the service too slow",
        report.skipped
    ));
}
