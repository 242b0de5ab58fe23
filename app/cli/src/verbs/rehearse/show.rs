//! A rehearsal for people: a table, what the loop said, a picture.

use load::plot::{Between, Ink, Line};
use rehearsal::{LoopEvent, Rehearsal, Sample, ServiceReport};

use crate::output::{Field, Printer};
use crate::paint::Tone;
use crate::picture;

/// Rows of the plot of a load, and of that of the replicas for it.
const HEIGHT: usize = 6;

/// From so many seconds on a plot counts in hours.
const HOURS_FROM: f64 = 3.0 * 3600.0;

/// The table, and what else is asked for.
pub(super) fn summary(printer: Printer, rehearsal: &Rehearsal, events: bool, plots: bool) -> String {
    let header =
        ["SERVICE", "REQUESTS", "FAILED", "READY", "REPLICA-S", "ACTIONS", "STARTS", "FAILURES", "IN-FLIGHT"];
    let mut grid = printer.table(&header);
    for course in &rehearsal.services {
        grid.row(row(course));
    }
    let mut text = grid.finish();
    text.push('\n');
    if plots {
        for course in &rehearsal.services {
            text.push_str(&format!("\n{}\n{}", course.name, plot(course)));
        }
    }
    if events {
        text.push_str(&format!("\n{}\n", event_lines(printer, &rehearsal.events)));
        if rehearsal.events_left_out > 0 {
            text.push_str(&format!("and {} more\n", rehearsal.events_left_out));
        }
    } else {
        let warnings = rehearsal.events.iter().filter(|event| event.is_warning).count();
        let count = rehearsal.events.len();
        text.push_str(&format!(
            "\n{:.0} s in {} steps of the loop; {count} events, {warnings} of them of trouble: --events shows them\n",
            rehearsal.seconds, rehearsal.steps
        ));
    }
    text
}

fn row(course: &ServiceReport) -> Vec<Field> {
    let failed = course.requests.failed();
    let number = Field::number(failed);
    vec![
        Field::text(&course.name),
        Field::number(course.requests.asked),
        if failed > 0 { number.toned(Tone::Bad) } else { number },
        Field::number(format!("{}..{}", course.ready_min, course.ready_max)),
        Field::number(format!("{:.0}", course.replica_seconds)),
        Field::number(course.actions),
        Field::number(course.starts),
        Field::number(course.failures),
        Field::number(course.in_flight_max),
    ]
}

fn event_lines(printer: Printer, events: &[LoopEvent]) -> String {
    let mut grid = printer.table(&["AT", "OF", "WHAT", "WHY"]);
    for event in events {
        let what = Field::text(&event.kind);
        grid.row(vec![
            Field::text(&event.at),
            Field::text(event.replica.as_ref().unwrap_or(&event.service)),
            if event.is_warning { what.toned(Tone::Notable) } else { what },
            Field::text(&event.reason),
        ]);
    }
    grid.finish()
}

/// The load, and below it the replicas for it, over the same time.
fn plot(course: &ServiceReport) -> String {
    let (unit, x_unit) = match course.samples.last() {
        Some(sample) if sample.at_seconds >= HOURS_FROM => (3600.0, "h"),
        Some(_) | None => (1.0, "s"),
    };
    let points = |of: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        course.samples.iter().map(|sample| (sample.at_seconds / unit, of(sample))).collect()
    };
    let load = points(|sample| sample.load);
    let desired = points(|sample| f64::from(sample.desired));
    let ready = points(|sample| f64::from(sample.ready));
    let of_load = [Line { label: "load", ink: Ink::Solid, between: Between::Mean, points: &load }];
    let of_replicas = [
        Line { label: "ready", ink: Ink::Solid, between: Between::Hold, points: &ready },
        Line { label: "wanted", ink: Ink::Dots, between: Between::Hold, points: &desired },
    ];
    picture::of(&of_load, HEIGHT, x_unit, "req/s") + &picture::of(&of_replicas, HEIGHT, x_unit, "replicas")
}
