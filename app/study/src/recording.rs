//! Recorded load, streamed as often as needed, so that memory does not grow with its length.

use std::path::PathBuf;
use std::time::Duration;

use fluid::ticks::{GridRepairs, RowError, Ticks};
use fluid::world::Arrivals;
use jiff::Timestamp;
use load::rows::Rows;
use load::trace::{Row, TraceError, usual_gap};
use thiserror::Error;

/// The number of rows from which the interval is derived.
///
/// 1,024 = most of a day of minutes: a gap or a clock that was set does not change the median of that many intervals.
const INTERVAL_ROWS: usize = 1024;

/// The longest interval of rows.
///
/// A day: coarser load says nothing about policies that act within minutes.
const INTERVAL_MAX: Duration = Duration::from_hours(24);

/// Recorded load, and how to read it.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its name.
    pub name: String,
    /// The source of its rows.
    pub source: Source,
    /// The unit of its values.
    pub reading: Reading,
    /// The interval that each row covers; `None` for the usual interval between rows.
    pub interval: Option<Duration>,
    /// The factor to multiply the load by; above 0 and finite.
    pub scale: f64,
}

/// The source of the rows of a recording.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, which is read again each time.
    File(PathBuf),
    /// Rows in memory, in order of time.
    Rows(Vec<Row>),
}

/// The unit of the values of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Requests in the interval that begins at the row.
    #[default]
    Count,
    /// Requests per second, as the mean over the interval.
    Rate,
}

/// A recording cannot be used. Nothing has changed.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// It cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A row cannot be used.
    #[error("could not use the trace {name}, {place}: {fault}")]
    Row {
        /// The name of the recording.
        name: String,
        /// The line in the file, from 1, or the time of the row.
        place: String,
        /// Why.
        fault: RowError,
    },
    /// There is a single row, and its interval is not given.
    #[error("the trace {name} has a single row, so its interval is not known; give --interval")]
    NoInterval {
        /// The name of the recording.
        name: String,
    },
    /// The interval of rows is zero or too long.
    #[error(
        "the interval of the rows of the trace {name} is {interval:?}; give an --interval from 1ms to 24h"
    )]
    Interval {
        /// The name of the recording.
        name: String,
        /// The interval.
        interval: Duration,
    },
}

/// The extent of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The time of its first row.
    pub begin: Timestamp,
    /// Its number of ticks.
    pub ticks: u64,
    /// Repairs of gaps and of rows in the same interval.
    pub repairs: GridRepairs,
}

impl Recording {
    /// The interval that each row covers.
    pub fn interval(&self) -> Result<Duration, RecordingError> {
        let interval = match (self.interval, &self.source) {
            (Some(interval), _) => Some(interval),
            (None, Source::Rows(rows)) => usual_gap(&rows[..rows.len().min(INTERVAL_ROWS)]),
            (None, Source::File(path)) => {
                let rows = Rows::open(path)?.take(INTERVAL_ROWS).collect::<Result<Vec<Row>, _>>()?;
                if rows.is_empty() {
                    return Err(self.empty());
                }
                usual_gap(&rows)
            }
        };
        let interval = interval.ok_or_else(|| RecordingError::NoInterval { name: self.name.clone() })?;
        if interval.as_millis() == 0 || interval > INTERVAL_MAX {
            return Err(RecordingError::Interval { name: self.name.clone(), interval });
        }
        Ok(interval)
    }

    /// Passes the load of each tick to `out`, in requests per second, with `noise` applied.
    ///
    /// Noise with the same seed gives the same load each time.
    pub fn each_tick(
        &self,
        tick: Duration,
        mut noise: Option<Arrivals>,
        out: &mut dyn FnMut(f64),
    ) -> Result<Extent, RecordingError> {
        let mut out = |load: f64| out(noise.as_mut().map_or(load, |noise| noise.scatter(load, tick)));
        let interval = self.interval()?;
        self.resample(interval, Ticks::new(interval, tick), &mut out)
    }

    /// Returns the load of each interval of rows, in requests per second, with the intervals that have no row.
    ///
    /// Fails if there are more than `intervals_max`.
    pub fn loads(&self, intervals_max: u64) -> Result<(Vec<f64>, Extent), RecordingError> {
        let interval = self.interval()?;
        let mut loads = Vec::new();
        let ticks = Ticks::new(interval, interval).at_most(intervals_max);
        let extent = self.resample(interval, ticks, &mut |load| loads.push(load))?;
        Ok((loads, extent))
    }

    fn resample(
        &self,
        interval: Duration,
        mut ticks: Ticks,
        out: &mut dyn FnMut(f64),
    ) -> Result<Extent, RecordingError> {
        let factor = match self.reading {
            Reading::Count => self.scale / interval.as_secs_f64(),
            Reading::Rate => self.scale,
        };
        let mut count = 0;
        let mut out = |load: f64| {
            count += 1;
            out(load);
        };
        let mut begin = None;
        self.each_row(&mut |row| {
            begin.get_or_insert(row.at);
            ticks.push(row.at.as_millisecond(), row.value * factor, &mut out)
        })?;
        let repairs = ticks.finish(&mut out);
        let begin = begin.ok_or_else(|| self.empty())?;
        Ok(Extent { begin, ticks: count, repairs })
    }

    fn each_row(&self, take: &mut dyn FnMut(Row) -> Result<(), RowError>) -> Result<(), RecordingError> {
        let fault = |place, fault| RecordingError::Row { name: self.name.clone(), place, fault };
        match &self.source {
            Source::Rows(rows) => {
                for row in rows {
                    take(*row).map_err(|found| fault(format!("the row of {}", row.at), found))?;
                }
            }
            Source::File(path) => {
                let mut rows = Rows::open(path)?;
                while let Some(row) = rows.next() {
                    take(row?).map_err(|found| fault(format!("line {}", rows.line()), found))?;
                }
            }
        }
        Ok(())
    }

    fn empty(&self) -> RecordingError {
        RecordingError::Trace(TraceError::Empty { name: self.name.clone() })
    }
}
