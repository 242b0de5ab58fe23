//! The history of decisions: a plot of the replicas wanted, and a line for each run of decisions.

use api::v1;
use jiff::Timestamp;
use load::plot::{Between, Ink, Line};

use crate::output::{Field, Printer, UNKNOWN};
use crate::paint::printable;
use crate::picture;

/// Rows of the plot.
const HEIGHT: usize = 8;

/// The history as text.
pub(super) fn lines(printer: Printer, it: &v1::History) -> String {
    if it.items.is_empty() {
        return format!("{}: the history has no decisions in this period\n", it.target);
    }
    let mut text = plot_of(it);
    let mut grid = printer.table(&["FROM", "TO", "DECISIONS", "REPLICAS", "RATIOS", "WHY"]);
    for run in &it.items {
        grid.row([
            Field::text(&run.from),
            Field::text(&run.to),
            Field::number(run.count),
            Field::number(replicas(&run.decision)),
            Field::text(ratios(&run.ratios)),
            Field::text(printable(&run.decision.summary)),
        ]);
    }
    text.push('\n');
    text.push_str(&grid.finish());
    if it.is_cut {
        text.push_str("there are older decisions: use an earlier --until, or a larger --limit\n");
    }
    text
}

/// `4`, or `2 to 4` if the number changed.
fn replicas(decision: &v1::Explanation) -> String {
    let v1::Explanation { previous, desired, .. } = decision;
    if previous == desired { desired.to_string() } else { format!("{previous} to {desired}") }
}

/// The range of the ratio of each metric, such as `0.95..1.20`.
fn ratios(ratios: &[Option<v1::Range>]) -> String {
    let format_ratio = |ratio: &Option<v1::Range>| {
        ratio.map_or_else(|| UNKNOWN.to_owned(), |v1::Range { low, high }| format!("{low:.2}..{high:.2}"))
    };
    ratios.iter().map(format_ratio).collect::<Vec<_>>().join(" ")
}

/// The replicas wanted, from the first decision to the last.
fn plot_of(it: &v1::History) -> String {
    let seconds = |at: &str| at.parse::<Timestamp>().map_or(0.0, |at| at.as_millisecond() as f64 / 1000.0);
    let begin = it.items.first().map_or(0.0, |run| seconds(&run.from));
    let end = it.items.iter().map(|run| seconds(&run.to)).fold(begin, f64::max);
    let mut points: Vec<(f64, f64)> =
        it.items.iter().map(|run| (seconds(&run.from) - begin, f64::from(run.decision.desired))).collect();
    if let Some((_, last)) = points.last().copied() {
        points.push((end - begin, last));
    }
    let line = Line { label: "replicas wanted", ink: Ink::Solid, between: Between::Hold, points: &points };
    let first = it.items.first().map_or(UNKNOWN, |run| &run.from);
    format!("{}: replicas wanted since {first}\n{}", it.target, picture::of(&[line], HEIGHT, "s", ""))
}
