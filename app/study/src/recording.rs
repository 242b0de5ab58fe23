//! Recorded load, read as often as it is needed: what is kept does not grow with it.

use std::path::PathBuf;
use std::time::Duration;

use fluid::ticks::{GridRepairs, RowError, Ticks};
use fluid::world::Arrivals;
use jiff::Timestamp;
use load::rows::Rows;
use load::trace::{Row, TraceError, usual_gap};
use thiserror::Error;

/// Rows that tell how far apart rows are.
///
/// 1,024 = most of a day of minutes: one hole or a clock that was set does not change the median of so many gaps.
const ROWS_LOOKED_AT: usize = 1024;

/// The longest time that a row stands for.
///
/// A day: a policy that acts within minutes cannot be judged by anything coarser.
const INTERVAL_MAX: Duration = Duration::from_hours(24);

/// Recorded load and how it is to be read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What it is called.
    pub name: String,
    /// Where its rows are.
    pub source: Source,
    /// What its values are.
    pub reading: Reading,
    /// The time that each row stands for; `None` takes the usual gap between rows.
    pub interval: Option<Duration>,
    /// What the load is multiplied with; above 0 and finite.
    pub scale: f64,
}

/// Where the rows of a recording are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file, which is read anew each time.
    File(PathBuf),
    /// In memory, in order of time.
    Rows(Vec<Row>),
}

/// What the values of a recording are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Requests in the interval that begins at the row.
    #[default]
    Count,
    /// Requests a second, the mean of the interval.
    Rate,
}

/// Why a recording cannot be used. Nothing has changed.
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
        /// Where: the line of a file, counted from 1, or the time of a row.
        place: String,
        /// Why.
        fault: RowError,
    },
    /// There is a single row and nothing says what it stands for.
    #[error(
        "the trace {name} has a single row, so the time that it stands for is not known; give it as --interval"
    )]
    NoInterval {
        /// The name of the recording.
        name: String,
    },
    /// A row stands for no time, or for too long.
    #[error("a row of the trace {name} would stand for {interval:?}; give an --interval from 1ms to 24h")]
    Interval {
        /// The name of the recording.
        name: String,
        /// The time.
        interval: Duration,
    },
}

/// What a reading of a recording came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// When its first row begins.
    pub begin: Timestamp,
    /// Ticks that it makes.
    pub ticks: u64,
    /// What had to be repaired.
    pub repairs: GridRepairs,
}

impl Recording {
    /// The time that each row stands for.
    pub fn interval(&self) -> Result<Duration, RecordingError> {
        let interval = match (self.interval, &self.source) {
            (Some(interval), _) => Some(interval),
            (None, Source::Rows(rows)) => usual_gap(&rows[..rows.len().min(ROWS_LOOKED_AT)]),
            (None, Source::File(path)) => {
                let rows = Rows::open(path)?.take(ROWS_LOOKED_AT).collect::<Result<Vec<Row>, _>>()?;
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

    /// Says the load of each tick, in requests a second, scattered by `noise` when there is some.
    ///
    /// The same noise makes the same load each time, when it begins anew.
    pub fn each_tick(
        &self,
        tick: Duration,
        mut noise: Option<Arrivals>,
        out: &mut dyn FnMut(f64),
    ) -> Result<Extent, RecordingError> {
        let interval = self.interval()?;
        let factor = match self.reading {
            Reading::Count => self.scale / interval.as_secs_f64(),
            Reading::Rate => self.scale,
        };
        let mut count = 0;
        let mut out = |load: f64| {
            count += 1;
            out(noise.as_mut().map_or(load, |noise| noise.scatter(load, tick)));
        };
        let mut ticks = Ticks::new(interval, tick);
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
