//! Arguments for recorded load.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use load::trace::Trace;
use model::resource::Span;
use study::{Reading, Recording, Source};

use crate::failure::Failure;

/// The load.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The load")]
pub(super) struct LoadArguments {
    /// The unit of the values; by default, a CSV has counts and a query has rates
    #[arg(long, value_enum)]
    unit: Option<Unit>,
    /// The time that each value of a CSV covers; by default, the interval of the rows
    #[arg(long, value_name = "DURATION")]
    interval: Option<Span>,
    /// The factor to multiply the load by
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    scale_load: f64,
}

/// The unit of the values of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unit {
    /// Requests between two rows
    Count,
    /// Requests per second
    Rate,
}

impl LoadArguments {
    /// The load in a CSV file; standard input is read immediately.
    pub(super) fn of_file(&self, path: &Path) -> Result<Recording, Failure> {
        let is_stdin = path == Path::new("-");
        let source = if is_stdin {
            let trace = Trace::read(std::io::stdin().lock(), "standard input");
            Source::Rows(trace.context("could not simulate (HS0016)")?.rows().to_vec())
        } else {
            Source::File(path.to_path_buf())
        };
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let interval = self.interval.map(Span::as_duration);
        Ok(self.recording(name, source, interval, Unit::Count))
    }

    /// The load in rows from a server, one per `step`; rates by default.
    pub(super) fn of_rows(&self, name: String, rows: Vec<load::trace::Row>, step: Duration) -> Recording {
        self.recording(name, Source::Rows(rows), Some(step), Unit::Rate)
    }

    fn recording(&self, name: String, source: Source, interval: Option<Duration>, usual: Unit) -> Recording {
        let reading = match self.unit.unwrap_or(usual) {
            Unit::Count => Reading::Count,
            Unit::Rate => Reading::Rate,
        };
        Recording { name, source, reading, interval, scale: self.scale_load }
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a factor; write a number above 0, such as 1.5");
    text.parse().ok().filter(|factor: &f64| *factor > 0.0 && factor.is_finite()).ok_or_else(wrong)
}
