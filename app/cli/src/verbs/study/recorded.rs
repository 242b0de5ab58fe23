//! The history of a service's load: from a Prometheus, from a file, or from what Homeostat itself has kept.

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

use super::load::LoadWords;
use crate::arguments::{CommandContext, wait_for};
use crate::failure::Failure;
use crate::figures;
use crate::moment::moment;

/// The history.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The history")]
pub(super) struct HistoryWords {
    /// A server that answers PromQL, http://HOST:PORT; without it and without --trace, what Homeostat has kept of its decisions
    #[arg(long, value_name = "URL", requires = "query", value_parser = url)]
    prometheus: Option<HttpUrl>,
    /// The PromQL query: an expression that gives one series, in requests a second, as `sum(rate(http_requests_total[1m]))`
    #[arg(long, value_name = "PROMQL", requires = "prometheus", allow_hyphen_values = true)]
    query: Option<String>,
    /// A file with a bearer token for that server
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    bearer_token_file: Option<String>,
    /// Recorded load: CSV, one `timestamp,value` a line, or - for standard input
    #[arg(long, value_name = "CSV", conflicts_with = "prometheus")]
    trace: Option<PathBuf>,
    /// From this time on: RFC 3339, a local time of day, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, default_value = "14d", conflicts_with = "trace")]
    since: Timestamp,
    /// Up to this time; without it, now
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, conflicts_with = "trace")]
    until: Option<Timestamp>,
    /// The step between values, 1s to 1h
    #[arg(long, value_name = "DURATION", value_parser = step, default_value = "1m", conflicts_with = "trace")]
    step: Span,
    #[command(flatten)]
    load: LoadWords,
}

/// A history, and what is to be said of it.
pub(super) struct History {
    pub(super) recording: Recording,
    pub(super) notes: Vec<String>,
}

impl HistoryWords {
    /// Reads what is recorded of `service`.
    pub(super) fn read(&self, context: &CommandContext, service: &ServiceName) -> Result<History, Failure> {
        if let Some(path) = &self.trace {
            return Ok(History { recording: self.load.of_file(path)?, notes: Vec::new() });
        }
        let (from, until) = (wall(self.since), self.until.map_or_else(os::wall, wall));
        if from >= until {
            return Err(Failure::usage(format!(
                "the history would begin at {} and end before that; give an earlier --since",
                self.since
            )));
        }
        let step = self.step.as_duration();
        let step_ms = self.step.as_millis();
        // On the grid of the step, so that the same history is asked for in the same way.
        let from = Wall::from_millis(from.as_millis().next_multiple_of(step_ms));
        let stretch = TimeRange { from, until: until.max(from), step };
        if stretch.points() > TRACE_ROWS_MAX as u64 {
            return Err(Failure::usage(format!(
                "{} moments are more than the {TRACE_ROWS_MAX} that are looked at; give a longer --step or a later --since",
                stretch.points()
            )));
        }
        let (name, recorded) = match (&self.prometheus, &self.query) {
            (Some(url), Some(query)) => {
                (format!("{query} at {}", url.as_str()), self.asked(url, query, stretch)?)
            }
            _ => (
                format!("the history of service/{service}"),
                wait_for(decisions::read(context, service, stretch))?,
            ),
        };
        Ok(History { recording: self.load.of_rows(name, recorded.rows, step), notes: recorded.notes })
    }

    /// What a server of PromQL has.
    fn asked(&self, url: &HttpUrl, query: &str, stretch: TimeRange) -> Result<RecordedRows, Failure> {
        let origin = PrometheusOrigin {
            url: url.clone(),
            tls: None,
            query: query.to_owned(),
            bearer_token_file: self.bearer_token_file.clone(),
        };
        let bar = ProgressBar::with_draw_target(Some(stretch.points()), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar:.dim} asking {msg} {percent} %");
        bar.set_style(style.expect("the template is a constant that indicatif reads"));
        bar.set_message(url.as_str().to_owned());
        let points = wait_for(async {
            let points = range(&origin, stretch, &mut |asked| bar.set_position(asked)).await;
            points
                .with_context(|| format!("could not ask {} for its history (HS0018)", url.as_str()))
                .map_err(Failure::from)
        });
        bar.finish_and_clear();
        rows_of(&points?, stretch, url.as_str())
    }
}

/// Rows, and what is to be said of them.
struct RecordedRows {
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// The rows that the points of a server are: what it says of a moment is of the step before.
fn rows_of(points: &[(Wall, f64)], stretch: TimeRange, url: &str) -> Result<RecordedRows, Failure> {
    let mut recorded = RecordedRows { rows: Vec::with_capacity(points.len()), notes: Vec::new() };
    let mut missing = 0;
    for (at, value) in points {
        if !value.is_finite() {
            missing += 1;
            continue;
        }
        let at = figures::timestamp(*at);
        if *value < 0.0 {
            return Err(Failure::failed(format!(
                "could not use the history at {url}: it is {value} at {at}, and a load is zero or more; ask for a rate of requests (HS0018)"
            )));
        }
        let at =
            at.checked_sub(stretch.step).context("could not use the history: it begins before all time")?;
        recorded.rows.push(Row { at, value: *value });
    }
    let (Some(first), since) = (recorded.rows.first(), figures::timestamp(stretch.from)) else {
        return Err(Failure::failed(format!(
            "{url} has no number for the query since {}; see it there, and give an earlier --since (HS0018)",
            figures::timestamp(stretch.from)
        )));
    };
    if missing > 0 {
        recorded
            .notes
            .push(format!("{missing} moments have no number (NaN or infinite) and are taken as missing"));
    }
    let late = first.at.duration_since(since).unsigned_abs();
    if first.at > since && late > Duration::from_hours(1) {
        recorded.notes.push(format!("the server has the query from {} on", first.at));
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
    let is_sound = (1..=3600).contains(&span.as_duration().as_secs());
    if is_sound { Ok(span) } else { Err(format!("a step of {text} is not possible; give 1s to 1h")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH: TimeRange = TimeRange {
        from: Wall::from_millis(600_000),
        until: Wall::from_millis(900_000),
        step: Duration::from_mins(1),
    };

    fn at(points: &[(u64, f64)]) -> Result<RecordedRows, Failure> {
        let points: Vec<_> =
            points.iter().map(|(second, value)| (Wall::from_millis(second * 1000), *value)).collect();
        rows_of(&points, STRETCH, "http://a")
    }

    fn sentence(recorded: Result<RecordedRows, Failure>) -> String {
        match recorded {
            Err(Failure::Usage(error) | Failure::Failed(error)) => error.to_string(),
            Err(Failure::NobodyReads) | Ok(_) => panic!("it is refused"),
        }
    }

    #[test]
    fn what_a_moment_says_is_of_the_step_before_and_no_number_is_no_row() {
        let recorded = at(&[(600, 2.0), (660, f64::NAN), (720, f64::INFINITY), (780, 0.0)]).unwrap();
        let rows: Vec<_> = recorded.rows.iter().map(|row| (row.at.as_second(), row.value)).collect();
        assert_eq!(rows, [(540, 2.0), (720, 0.0)]);
        assert_eq!(recorded.notes, ["2 moments have no number (NaN or infinite) and are taken as missing"]);
    }

    #[test]
    fn what_is_no_load_and_what_is_not_there_are_said() {
        let negative = sentence(at(&[(600, 2.0), (660, -3.5)]));
        assert!(negative.contains("it is -3.5 at 1970-01-01T00:11:00Z"), "{negative}");
        assert!(
            sentence(at(&[(600, f64::NAN)])).contains("no number for the query since 1970-01-01T00:10:00Z")
        );
        let late = at(&[(36_000, 1.0)]).unwrap();
        assert_eq!(late.notes, ["the server has the query from 1970-01-01T09:59:00Z on"]);
    }
}
