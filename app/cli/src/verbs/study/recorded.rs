//! The history of the load of a service: from Prometheus, from a file, or from what Homeostat has kept: its decisions, or the load that it
//! forecasts from.

mod decisions;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use load::trace::{Row, TRACE_ROWS_MAX};
use measure::range::{TimeRange, range};
use model::name::ServiceName;
use model::resource::{HttpUrl, PrometheusOrigin, Span};
use model::time::Wall;
use study::Recording;

use super::learned::{Learned, ROWS_MIN};
use super::load::LoadArguments;
use crate::context::{CommandContext, block_on};
use crate::failure::Failure;
use crate::figures;
use crate::moment::moment;

/// The history.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The history")]
pub(super) struct HistoryArguments {
    /// A server for PromQL queries, http://HOST:PORT; without it and --trace, the decisions that Homeostat has kept, or the load that it
    /// forecasts from
    #[arg(long, value_name = "URL", requires = "query", value_parser = url)]
    prometheus: Option<HttpUrl>,
    /// The PromQL query: an expression with one series, in requests per second, such as `sum(rate(http_requests_total[1m]))`
    #[arg(long, value_name = "PROMQL", requires = "prometheus", allow_hyphen_values = true)]
    query: Option<String>,
    /// A file with a bearer token for that server
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    bearer_token_file: Option<String>,
    /// Recorded load: CSV with one `timestamp,value` per line, or - for standard input
    #[arg(long, value_name = "CSV", conflicts_with = "prometheus")]
    trace: Option<PathBuf>,
    /// The begin of the history: RFC 3339, a local time of day, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, default_value = "14d", conflicts_with = "trace")]
    since: Timestamp,
    /// The end of the history; by default, now
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, conflicts_with = "trace")]
    until: Option<Timestamp>,
    /// The interval of values, 1s to 1h; the load that Homeostat forecasts from has one of its own
    #[arg(long, value_name = "DURATION", value_parser = step, default_value = "1m", conflicts_with = "trace")]
    step: Span,
    #[command(flatten)]
    load: LoadArguments,
}

/// A history, and notes on it.
pub(super) struct History {
    pub(super) recording: Recording,
    pub(super) notes: Vec<String>,
}

impl HistoryArguments {
    /// Reads the recorded load of `service`.
    pub(super) fn read(&self, context: &CommandContext, service: &ServiceName) -> Result<History, Failure> {
        if let Some(path) = &self.trace {
            return Ok(History { recording: self.load.of_file(path)?, notes: Vec::new() });
        }
        let (from, until) = (wall(self.since), self.until.map_or_else(os::wall, wall));
        if from >= until {
            return Err(Failure::usage(format!(
                "the history would begin at {}, after its end; give an earlier --since",
                self.since
            )));
        }
        let step = self.step.as_duration();
        let step_ms = self.step.as_millis();
        // Aligned to the step, so that repeated queries for a history get the same values.
        let from = Wall::from_millis(from.as_millis().next_multiple_of(step_ms));
        let stretch = TimeRange { from, until: until.max(from), step };
        if stretch.points() > TRACE_ROWS_MAX as u64 {
            return Err(Failure::usage(format!(
                "the history has {} steps, more than the maximum of {TRACE_ROWS_MAX}; give a longer --step or a later --since",
                stretch.points()
            )));
        }
        let (name, recorded) = match (&self.prometheus, &self.query) {
            (Some(url), Some(query)) => {
                (format!("{query} at {}", url.as_str()), self.query_range(url, query, stretch)?)
            }
            _ => (format!("the history of service/{service}"), kept(context, service, stretch)?),
        };
        let RecordedRows { rows, step, notes } = recorded;
        Ok(History { recording: self.load.of_rows(name, rows, step), notes })
    }

    /// The rows of a range query.
    fn query_range(&self, url: &HttpUrl, query: &str, stretch: TimeRange) -> Result<RecordedRows, Failure> {
        let origin = PrometheusOrigin {
            url: url.clone(),
            tls: None,
            query: query.to_owned(),
            bearer_token_file: self.bearer_token_file.clone(),
        };
        let bar = ProgressBar::with_draw_target(Some(stretch.points()), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar:.dim} querying {msg} {percent} %");
        bar.set_style(style.expect("the template is a constant that indicatif reads"));
        bar.set_message(url.as_str().to_owned());
        let points = block_on(async {
            let points = range(&origin, stretch, &mut |queried| bar.set_position(queried)).await;
            points
                .with_context(|| format!("could not query the history at {} (HS0018)", url.as_str()))
                .map_err(Failure::from)
        });
        bar.finish_and_clear();
        rows_of(&points?, stretch, url.as_str())
    }
}

/// Recorded rows, and notes on them.
#[derive(Debug)]
struct RecordedRows {
    rows: Vec<Row>,
    /// What each row covers.
    step: Duration,
    notes: Vec<String>,
}

/// The load that the server has kept of `service`: that of its decisions, or, where they do not tell it, the one that it forecasts from.
///
/// Decisions by an SLO do not: what a replica carries is learned, and changes while a run of them goes on.
fn kept(
    context: &CommandContext,
    service: &ServiceName,
    stretch: TimeRange,
) -> Result<RecordedRows, Failure> {
    let runs = block_on(decisions::fetch(context, service, stretch))?;
    decisions::rows_of(&runs, service, stretch).or_else(|too_little| {
        let load = Learned::fetch(context, service)?.load();
        load.and_then(|load| of_forecast_load(load, stretch)).ok_or(too_little)
    })
}

/// The rows of `stretch` in the load that the server forecasts from; `None` if there are too few.
fn of_forecast_load((mut rows, step): (Vec<Row>, Duration), stretch: TimeRange) -> Option<RecordedRows> {
    rows.retain(|row| (stretch.from..stretch.until).contains(&wall(row.at)));
    let note = format!(
        "the load is the mean of each {step:?}, from which the server forecasts; --step has no effect on it"
    );
    (rows.len() >= ROWS_MIN).then(|| RecordedRows { rows, step, notes: vec![note] })
}

/// The rows for the points of a range query. The value at a time covers the step before.
fn rows_of(points: &[(Wall, f64)], stretch: TimeRange, url: &str) -> Result<RecordedRows, Failure> {
    let mut recorded =
        RecordedRows { rows: Vec::with_capacity(points.len()), step: stretch.step, notes: Vec::new() };
    let mut missing = 0;
    for (at, value) in points {
        if !value.is_finite() {
            missing += 1;
            continue;
        }
        let at = figures::timestamp(*at);
        if *value < 0.0 {
            return Err(Failure::failed(format!(
                "could not use the history at {url}: it is {value} at {at}, and a load is zero or more; query a rate of requests (HS0018)"
            )));
        }
        let at = at.checked_sub(stretch.step).context(
            "could not use the history: it begins before the earliest time that can be represented",
        )?;
        recorded.rows.push(Row { at, value: *value });
    }
    let (Some(first), since) = (recorded.rows.first(), figures::timestamp(stretch.from)) else {
        return Err(Failure::failed(format!(
            "{url} has no number for the query since {}; check the query there, or give an earlier --since (HS0018)",
            figures::timestamp(stretch.from)
        )));
    };
    if missing > 0 {
        recorded
            .notes
            .push(format!("{missing} values are not numbers (NaN or infinite) and count as missing"));
    }
    let late = first.at.duration_since(since).unsigned_abs();
    if first.at > since && late > Duration::from_hours(1) {
        recorded.notes.push(format!("the server has values for the query only from {} on", first.at));
    }
    Ok(recorded)
}

fn wall(at: Timestamp) -> Wall {
    Wall::from_millis(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

fn url(text: &str) -> Result<HttpUrl, String> {
    HttpUrl::parse(text).map_err(|error| error.to_string())
}

fn step(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    let is_sound = (Span::from_secs(1)..=Span::from_secs(3600)).contains(&span);
    if is_sound { Ok(span) } else { Err(format!("a step of {text} is out of range; give 1s to 1h")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH: TimeRange = TimeRange {
        from: Wall::from_millis(600_000),
        until: Wall::from_millis(900_000),
        step: Duration::from_mins(1),
    };

    fn recorded(points: &[(u64, f64)]) -> Result<RecordedRows, Failure> {
        let points: Vec<_> =
            points.iter().map(|(second, value)| (Wall::from_millis(second * 1000), *value)).collect();
        rows_of(&points, STRETCH, "http://a")
    }

    fn error_of(recorded: Result<RecordedRows, Failure>) -> String {
        match recorded {
            Err(Failure::Usage(error) | Failure::Failed(error)) => error.to_string(),
            Err(Failure::OutputClosed) | Ok(_) => panic!("it is refused"),
        }
    }

    #[test]
    fn a_value_covers_the_step_before_it_and_values_that_are_not_numbers_are_left_out() {
        let recorded = recorded(&[(600, 2.0), (660, f64::NAN), (720, f64::INFINITY), (780, 0.0)]).unwrap();
        let rows: Vec<_> = recorded.rows.iter().map(|row| (row.at.as_second(), row.value)).collect();
        assert_eq!(rows, [(540, 2.0), (720, 0.0)]);
        assert_eq!(recorded.notes, ["2 values are not numbers (NaN or infinite) and count as missing"]);
    }

    #[test]
    fn the_load_that_is_forecast_from_is_cut_to_the_requested_time_and_keeps_its_steps() {
        let step = Duration::from_secs(2);
        let rows: Vec<Row> = (0..400)
            .map(|n| Row { at: Timestamp::from_second(500 + 2 * n).unwrap(), value: n as f64 })
            .collect();
        let recorded = of_forecast_load((rows.clone(), step), STRETCH).unwrap();
        let seconds: Vec<i64> = recorded.rows.iter().map(|row| row.at.as_second()).collect();
        assert_eq!((seconds.first(), seconds.last(), recorded.step), (Some(&600), Some(&898), step));
        assert!(recorded.notes[0].contains("the mean of each 2s"), "{:?}", recorded.notes);
        assert!(of_forecast_load((rows[..109].to_vec(), step), STRETCH).is_none(), "59 steps are too few");
    }

    #[test]
    fn negative_and_missing_values_are_reported() {
        let negative = error_of(recorded(&[(600, 2.0), (660, -3.5)]));
        assert!(negative.contains("it is -3.5 at 1970-01-01T00:11:00Z"), "{negative}");
        assert!(
            error_of(recorded(&[(600, f64::NAN)]))
                .contains("no number for the query since 1970-01-01T00:10:00Z")
        );
        let late = recorded(&[(36_000, 1.0)]).unwrap();
        assert_eq!(late.notes, ["the server has values for the query only from 1970-01-01T09:59:00Z on"]);
    }
}
