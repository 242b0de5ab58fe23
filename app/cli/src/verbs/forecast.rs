//! `forecast`: the load forecast of a service, and its accuracy.

use std::fmt::Write as _;

use api::v1;
use clap::Args;
use jiff::Timestamp;
use load::plot::{self, Between, Frame, Ink, Line};
use ratatui::crossterm::terminal;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::figures;
use crate::output::{Field, Output, Printer, STRING, UNKNOWN};
use crate::paint::printable;
use crate::target::ServiceArgument;

/// Show the load forecast of a service, its uncertainty, and its past accuracy
///
/// A forecast needs `spec.scale.slo` or `spec.scale.forecast`; with mode shadow it has no effect.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: ServiceArgument,
    /// Draw the recent load and the forecast with its uncertainty band
    #[arg(long)]
    plot: bool,
    /// The number of past steps to show
    #[arg(long, value_name = "STEPS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(0..=1000))]
    past: u16,
    #[command(flatten)]
    output: Output,
}

/// The width of the plot without a terminal and at most, and its height.
const WIDTH_DEFAULT: u16 = 80;
const WIDTH_MAX: u16 = 120;
const HEIGHT: usize = 14;

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/forecast?past={}", arguments.service.0, arguments.past);
    let response: Value = context.client()?.get(&path).await?;
    let forecast: v1::Forecast = serde_json::from_value(response.clone())?;
    let width = terminal::size().map_or(WIDTH_DEFAULT, |(columns, _)| columns).min(WIDTH_MAX);
    context.printer.print(arguments.output.output, &response, |_| {
        let plot =
            if arguments.plot { format!("\n{}", plot_of(&forecast, width.into())) } else { String::new() };
        lines(context.printer, &forecast) + &plot
    })
}

/// The forecast as text: the load, its effect, and a line for each horizon.
fn lines(printer: Printer, it: &v1::Forecast) -> String {
    let load = |load: Option<f64>| load.map_or_else(|| UNKNOWN.to_owned(), |load| figures::rate(Some(load)));
    let last = load(it.past.last().and_then(|step| step.load));
    let mut text = format!(
        "{}: {last} {} now; mode {}, steps of {}, {} known\n",
        it.target,
        it.unit,
        printable(&it.mode),
        span(it.step_seconds),
        span(it.steps as f64 * it.step_seconds),
    );
    writeln!(text, "  {}", printable(&it.message)).expect(STRING);
    if let Some(under_way) = it.under_way {
        let rises =
            format!("the load of the current step is rising; it is estimated at {}", load(Some(under_way)));
        writeln!(text, "  {rises} {}, and the forecasts start from it", it.unit).expect(STRING);
    }
    let start = it.start_seconds.map_or_else(
        || "no start has been observed yet".to_owned(),
        |start| format!("90 % of starts take at most {}", figures::seconds(Some(start))),
    );
    writeln!(text, "  {start}; looks {} ahead", span(it.reach_seconds)).expect(STRING);
    let seasons = it.seasons.iter().map(|it| format!("{} ({:.2})", span(it.seconds), it.strength));
    let seasons: Vec<String> = seasons.collect();
    if !seasons.is_empty() {
        writeln!(text, "  seasons: {}", seasons.join(", ")).expect(STRING);
    }
    for event in &it.events {
        writeln!(text, "  event {}", printable(&event_text(event, &it.unit))).expect(STRING);
    }
    let Some(first) = it.forecasts.first() else { return text };
    let levels: Vec<String> = first.quantiles.iter().map(|it| percent(it.probability)).collect();
    let mut head = vec!["AHEAD"];
    head.extend(levels.iter().map(String::as_str));
    head.extend(["BY", "LOSS/LAST", "COVERED", "SCORED"]);
    let mut grid = printer.table(&head);
    for ahead in &it.forecasts {
        let within = if ahead.is_peak { "within" } else { "in" };
        let ratio = ahead.loss_ratio.map_or_else(|| UNKNOWN.to_owned(), |ratio| format!("{ratio:.2}"));
        let mut row = vec![Field::text(format!("{within} {}", span(ahead.seconds)))];
        row.extend(ahead.quantiles.iter().map(|it| Field::number(figures::rate(Some(it.load)))));
        row.extend([
            Field::text(&ahead.by),
            Field::number(ratio),
            Field::number(if ahead.scored > 0 { percent(ahead.coverage) } else { UNKNOWN.to_owned() }),
            Field::number(ahead.scored),
        ]);
        grid.row(row);
    }
    write!(text, "\n{}", grid.finish()).expect(STRING);
    text
}

/// An event as text, such as `black-friday: ×3 from 2026-11-27T07:00:00.000Z to 2026-11-27T19:00:00.000Z`.
fn event_text(event: &v1::KnownEvent, unit: &str) -> String {
    let brings = match (event.factor, event.load) {
        (Some(factor), _) => format!("×{factor}"),
        (None, load) => format!("at least {} {unit}", figures::rate(load)),
    };
    format!("{}: {brings} from {} to {}", event.name, event.from, event.until)
}

/// `95 %`, `99.9 %`.
fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

/// A duration in its two largest units: `45s`, `2m`, `1h30m`, `2d4h`.
fn span(seconds: f64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut left = seconds.round().max(0.0) as u64;
    let first = UNITS.iter().position(|(_, size)| left >= *size).unwrap_or(UNITS.len() - 1);
    let mut text = String::new();
    for (unit, size) in UNITS.iter().skip(first).take(2) {
        if left >= *size || text.is_empty() {
            write!(text, "{}{unit}", left / size).expect(STRING);
        }
        left %= size;
    }
    text
}

/// A plot of the recent load, and of the median and the band of the forecast, linear between horizons.
fn plot_of(it: &v1::Forecast, width: usize) -> String {
    let begin = it.past.last().map_or(0.0, |step| seconds(&step.at) + it.step_seconds);
    let past = it.past.iter().filter_map(|step| Some((seconds(&step.at) - begin, step.load?)));
    let past: Vec<(f64, f64)> = past.chain(it.under_way.map(|load| (0.0, load))).collect();
    let now = past.last().map_or(0.0, |(_, load)| *load);
    let ends = it.forecasts.first().map(|first| {
        let quantiles = &first.quantiles;
        (
            quantiles.first().map_or(0.0, |it| it.probability),
            quantiles.last().map_or(1.0, |it| it.probability),
        )
    });
    let (low, high) = ends.unwrap_or((0.0, 1.0));
    let events = Events::of(it, begin);
    let [low_line, middle, high_line] = [low, 0.5, high].map(|probability| {
        let points = ahead_of(it, probability, now);
        points
            .into_iter()
            .map(|(at, load)| (at, events.lifted(at, it.step_seconds, load)))
            .collect::<Vec<_>>()
    });
    let (middle_label, band) = ("50 % ahead", format!("{} and {} ahead", percent(low), percent(high)));
    let line = |label, ink, points| Line { label, ink, between: Between::Mean, points };
    let mut lines = vec![line("load", Ink::Solid, past.as_slice())];
    if !middle.is_empty() {
        lines.push(line(&band, Ink::Dots, low_line.as_slice()));
        lines.push(line("", Ink::Dots, high_line.as_slice()));
        lines.push(line(middle_label, Ink::Solid, middle.as_slice()));
    }
    plot::lines(&lines, Frame { width, height: HEIGHT, x_unit: "s", y_unit: &it.unit })
}

fn seconds(at: &str) -> f64 {
    at.parse::<Timestamp>().map_or(0.0, |at| at.as_millisecond() as f64 / 1000.0)
}

/// Known events with their begin and end, in seconds after the last step.
struct Events(Vec<(f64, f64, v1::KnownEvent)>);

impl Events {
    fn of(it: &v1::Forecast, begin: f64) -> Self {
        let of = |event: &v1::KnownEvent| {
            (seconds(&event.from) - begin, seconds(&event.until) - begin, event.clone())
        };
        Self(it.events.iter().map(of).collect())
    }

    /// The load of the step that ends at `until`, given its `load` without events.
    fn lifted(&self, until: f64, step: f64, load: f64) -> f64 {
        let holds = |(from, end, _): &&(f64, f64, v1::KnownEvent)| *from < until && *end > until - step;
        let held: Vec<&v1::KnownEvent> = self.0.iter().filter(holds).map(|(_, _, event)| event).collect();
        let factor = held.iter().map(|event| event.factor.unwrap_or(1.0)).reduce(f64::max).unwrap_or(1.0);
        let least = held.iter().filter_map(|event| event.load).fold(0.0, f64::max);
        (load * factor).max(least)
    }
}

/// Points along what is usual ahead at `probability`, one for each step.
fn ahead_of(it: &v1::Forecast, probability: f64, now: f64) -> Vec<(f64, f64)> {
    let load = |ahead: &v1::Ahead| {
        let usual = if ahead.usual.is_empty() { &ahead.quantiles } else { &ahead.usual };
        let quantile = usual.iter().find(|it| it.probability == probability)?;
        Some((ahead.seconds, quantile.load))
    };
    let looks = it.forecasts.iter().filter(|ahead| !ahead.is_peak).filter_map(load);
    let mut points = Vec::new();
    let behind = if it.under_way.is_some() { it.step_seconds } else { 0.0 };
    let mut from = (behind, now);
    for to in looks.map(|(at, load)| (at + behind, load)) {
        let steps = ((to.0 - from.0) / it.step_seconds).round().max(1.0);
        for nth in 1..=steps as u32 {
            let share = f64::from(nth) / steps;
            points.push((from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1)));
        }
        from = to;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::Paint;

    #[test]
    fn a_duration_is_shown_in_its_two_largest_units() {
        let shown = [0.0, 45.0, 60.0, 90.0, 3600.0, 5430.0, 187_200.0].map(span);
        assert_eq!(shown, ["0s", "45s", "1m", "1m30s", "1h", "1h30m", "2d4h"]);
    }

    #[test]
    fn what_is_ahead_goes_on_from_the_load_of_now() {
        let ahead = |seconds, load| v1::Ahead {
            is_peak: false,
            seconds,
            quantiles: vec![v1::LoadQuantile { probability: 0.5, load }],
            usual: Vec::new(),
            by: "blend".into(),
            loss_ratio: Some(0.5),
            coverage: 0.95,
            scored: 100,
            models: Vec::new(),
        };
        let it = v1::Forecast {
            target: "service/shop".into(),
            at: "2026-11-28T08:00:00.000Z".into(),
            mode: "on".into(),
            unit: "requests/s".into(),
            step_seconds: 60.0,
            steps: 100,
            quantile: 0.95,
            reach_seconds: 120.0,
            start_seconds: Some(2.0),
            seasons: Vec::new(),
            message: "nothing".into(),
            replicas_needed: None,
            under_way: None,
            events: vec![v1::KnownEvent {
                name: "sale".into(),
                from: "2026-11-28T08:02:00.000Z".into(),
                until: "2026-11-28T10:00:00.000Z".into(),
                factor: Some(3.0),
                load: None,
            }],
            forecasts: vec![ahead(60.0, 20.0), ahead(180.0, 40.0)],
            past: vec![v1::PastLoad { at: "2026-11-28T07:59:00.000Z".into(), load: Some(10.0) }],
        };
        assert_eq!(ahead_of(&it, 0.5, 10.0), [(60.0, 20.0), (120.0, 30.0), (180.0, 40.0)]);
        let printer = Printer { paint: Paint { is_on: false } };
        let events = Events::of(&it, seconds("2026-11-28T08:00:00Z"));
        let lifted = [60.0, 120.0, 180.0].map(|until| events.lifted(until, 60.0, 10.0));
        assert_eq!(lifted, [10.0, 10.0, 30.0], "from the third minute on");
        assert!(plot_of(&it, 80).contains("50 % ahead"));
        assert!(lines(printer, &it).contains("event sale: ×3 from 2026-11-28T08:02"));
        assert!(!lines(printer, &it).contains("under way"));

        let rising = v1::Forecast { under_way: Some(15.0), ..it };
        assert_eq!(ahead_of(&rising, 0.5, 15.0), [(120.0, 20.0), (180.0, 30.0), (240.0, 40.0)]);
        let expected = "the load of the current step is rising; it is estimated at 15 requests/s, and the forecasts start from it";
        assert!(lines(printer, &rising).contains(expected), "{}", lines(printer, &rising));
    }
}
