//! Shows a rehearsal: a table, the events of the loop, and plots.

use load::plot::{Between, Ink, Line};
use rehearsal::{LoopEvent, MissedFault, Rehearsal, Sample, ServiceReport};

use crate::output::{Field, Printer};
use crate::paint::Tone;
use crate::picture;

/// Rows of each plot.
const HEIGHT: usize = 6;

/// From this time on, in seconds, the unit of a plot is an hour.
const HOURS_FROM: f64 = 3.0 * 3600.0;

/// The table, with the events and plots if requested.
pub(super) fn summary(printer: Printer, rehearsal: &Rehearsal, events: bool, plots: bool) -> String {
    let header =
        ["SERVICE", "REQUESTS", "FAILED", "READY", "REPLICA-S", "ACTIONS", "STARTS", "FAILURES", "IN-FLIGHT"];
    let mut grid = printer.table(&header);
    for service in &rehearsal.services {
        grid.row(row(service));
    }
    let mut text = grid.finish();
    text.push('\n');
    for MissedFault { at_seconds, target } in &rehearsal.missed_faults {
        let line =
            format!("\nthe fault of {target} at {at_seconds} s had no effect: {target} did not run then\n");
        text.push_str(&line);
    }
    if plots {
        for service in &rehearsal.services {
            text.push_str(&format!("\n{}\n{}", service.name, plot(service)));
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
            "\n{:.0} s in {} steps of the loop; {count} events, {warnings} of them warnings: --events shows them\n",
            rehearsal.seconds, rehearsal.steps
        ));
    }
    text
}

fn row(service: &ServiceReport) -> Vec<Field> {
    let failed = service.requests.failed();
    let number = Field::number(failed);
    vec![
        Field::text(&service.name),
        Field::number(service.requests.asked),
        if failed > 0 { number.toned(Tone::Bad) } else { number },
        Field::number(format!("{}..{}", service.ready_min, service.ready_max)),
        Field::number(format!("{:.0}", service.replica_seconds)),
        Field::number(service.actions),
        Field::number(service.starts),
        Field::number(service.failures),
        Field::number(service.in_flight_max),
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

/// A plot of the load, and below it one of the replicas over the same time.
fn plot(service: &ServiceReport) -> String {
    let (unit, x_unit) = match service.samples.last() {
        Some(sample) if sample.at_seconds >= HOURS_FROM => (3600.0, "h"),
        Some(_) | None => (1.0, "s"),
    };
    let points = |of: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        service.samples.iter().map(|sample| (sample.at_seconds / unit, of(sample))).collect()
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
