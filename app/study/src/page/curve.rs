//! A plot of one policy over time: the load, the ready capacity, violations of the SLO, and changes of size.
//!
//! The plot is stretched to the available width, so it has no text; strokes keep their width.

use std::fmt::Write as _;

use fluid::timeline::{Point, Timeline};
use maud::{Markup, html};

use crate::compare::Findings;

/// The number of columns of the plot, more than a screen shows of one of several plots in a row.
const COLUMNS: usize = 480;
/// The height of the plot, of which the lowest part is for changes of size.
const HEIGHT: f64 = 120.0;
const STRIP: f64 = 8.0;

/// The largest value of the plots of a comparison, which all have the same scale.
pub(super) fn top(findings: &Findings) -> f64 {
    let load =
        findings.results.iter().flat_map(|tried| tried.outcome.timeline.points()).map(|point| point.load_max);
    // Policies that overshoot exceed the plot, so that the others are not flat.
    load.fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.5
}

/// `uncounted` is the number of ticks at the start that do not count.
pub(super) fn draw(timeline: &Timeline, top: f64, uncounted: u64) -> Markup {
    let columns = columns(timeline.points());
    let width = columns.len().max(1);
    let size = format!("0 0 {width} {HEIGHT}");
    let floor = HEIGHT - STRIP;
    let y = |value: f64| floor * (1.0 - (value / top).clamp(0.0, 1.0));
    let line = |of: fn(&Column) -> f64| {
        let mut path = String::new();
        for (x, column) in columns.iter().enumerate() {
            let step = if x == 0 { 'M' } else { 'L' };
            write!(path, "{step}{x} {0:.1}H{1}", y(of(column)), x + 1)
                .expect("writing to a String does not fail");
        }
        path
    };
    let marks = |of: fn(&Column) -> bool| {
        let mut path = String::new();
        for (x, _) in columns.iter().enumerate().filter(|(_, column)| of(column)) {
            write!(path, "M{x} 0h1V{HEIGHT}h-1Z").expect("writing to a String does not fail");
        }
        path
    };
    let load = format!("{}V{floor}H0Z", line(|column| column.load));
    let ticks: u64 = timeline.points().iter().map(|point| point.ticks).sum();
    let veiled = uncounted as f64 / ticks.max(1) as f64 * width as f64;
    html! {
        svg.curve viewBox=(size) preserveAspectRatio="none" role="img" aria-label="load and capacity over time" {
            path.violation d=(marks(|column| column.violated)) {}
            path.load d=(load) {}
            path.capacity d=(line(|column| column.capacity)) {}
            @if uncounted > 0 { rect.veil width=(format!("{veiled:.1}")) height=(HEIGHT) {} }
            svg y=(floor) height=(STRIP) viewBox=(size) preserveAspectRatio="none" { path.action d=(marks(|column| column.changed)) {} }
        }
    }
}

/// Consecutive points, combined into one column.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Column {
    load: f64,
    capacity: f64,
    violated: bool,
    changed: bool,
}

/// At most [`COLUMNS`] columns, with the maximum of the load and the mean of the capacity, so that a short shortage stays visible.
fn columns(points: &[Point]) -> Vec<Column> {
    let each = points.len().div_ceil(COLUMNS).max(1);
    let column = |points: &[Point]| Column {
        load: points.iter().map(|point| point.load_max).fold(0.0, f64::max),
        capacity: points.iter().map(Point::capacity).sum::<f64>() / points.len() as f64,
        violated: points.iter().any(|point| point.violated > 0),
        changed: points.iter().any(|point| point.actions > 0),
    };
    points.chunks(each).map(column).collect()
}
