//! Reads `timestamp,value` from CSV, one row at a time, in constant memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use csv_core::ReadRecordResult;
use jiff::Timestamp;
use thiserror::Error;

use crate::rate::excerpt;

/// The most bytes of one line.
///
/// 4 KiB: a time with fractions and a value of full precision are 50 bytes; longer lines are read so that the message can say what is
/// wrong with them.
pub const LINE_BYTES_MAX: usize = 4096;

/// The most fields that are parsed; more are only counted.
const FIELDS_MAX: usize = 8;

/// One row of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The start of the interval of the value.
    pub at: Timestamp,
    /// The recorded value, interpreted by [`Replay::reading`](crate::replay::Replay::reading).
    pub value: f64,
}

/// The most rows of one trace.
///
/// 1,051,200 = two years of minutes. At 24 bytes a row that is 25 MB.
pub const TRACE_ROWS_MAX: usize = 2 * 365 * 24 * 60;

/// Why a trace could not be read. Nothing has changed.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file could not be opened.
    #[error("could not open the trace {name}; check the path and its permissions")]
    Open {
        /// The path of the trace.
        name: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file could not be read to its end.
    #[error("could not read the trace {name} to its end")]
    Read {
        /// The name of the trace.
        name: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A line is invalid.
    #[error("could not read the trace {name}, line {line}: {problem}")]
    Row {
        /// The name of the trace.
        name: String,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// No row at all.
    #[error(
        "the trace {name} has no row; a trace is one `timestamp,value` a line, such as 2024-05-01T12:00:00Z,250"
    )]
    Empty {
        /// The name of the trace.
        name: String,
    },
    /// More than [`TRACE_ROWS_MAX`] rows.
    #[error(
        "the trace {name} is longer than {TRACE_ROWS_MAX} rows; cut it, or sum its rows over longer intervals"
    )]
    TooLarge {
        /// The name of the trace.
        name: String,
    },
}

/// What is wrong with one line of a trace.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RowProblem {
    /// More than [`LINE_BYTES_MAX`].
    #[error("it is longer than {LINE_BYTES_MAX} bytes; a trace has one `timestamp,value` a line")]
    Length,
    /// Bytes that are not text, or not CSV.
    #[error("this is not UTF-8 text; a trace is a text file with one `timestamp,value` a line")]
    Text,
    /// Not two fields.
    #[error("expected the two fields `timestamp,value`, found {found}")]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// The first field is not a time.
    #[error("{text:?} is not a time; write RFC 3339, such as 2024-05-01T12:00:00Z, or seconds since 1970")]
    Time {
        /// The beginning of the field.
        text: String,
    },
    /// The first field is a time in milliseconds.
    #[error(
        "{text:?} is too large for seconds since 1970; if it is in milliseconds, divide the times by 1000"
    )]
    Milliseconds {
        /// The beginning of the field.
        text: String,
    },
    /// The second field is not a number, or one that is negative or infinite.
    #[error("{text:?} is not an amount of load; write a number of zero or more")]
    Value {
        /// The beginning of the field.
        text: String,
    },
    /// Not later than the row before.
    #[error(
        "{at} does not come after {before}, the time of the row before; sort the trace and keep one row a time"
    )]
    Order {
        /// The time of this row.
        at: Timestamp,
        /// The time of the row before.
        before: Timestamp,
    },
}

/// The rows of a trace as they are read: times strictly rising, values finite and not negative.
///
/// The first line is a header if neither of its fields can be data. Empty lines and lines that begin with `#` are skipped. An error ends
/// the iteration.
pub struct Rows<'a> {
    from: Box<dyn BufRead + 'a>,
    name: String,
    csv: csv_core::Reader,
    line: Vec<u8>,
    number: u64,
    before: Option<Row>,
    is_begun: bool,
    is_over: bool,
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("name", &self.name).field("line", &self.number).finish_non_exhaustive()
    }
}

impl Rows<'static> {
    /// The rows of the file at `path`.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::of(file, &name)),
            Err(source) => Err(TraceError::Open { name, source }),
        }
    }
}

impl<'a> Rows<'a> {
    /// The rows of a reader; `name` is its name in errors.
    pub fn of(from: impl Read + 'a, name: &str) -> Self {
        Self {
            from: Box::new(BufReader::new(from)),
            name: name.to_owned(),
            csv: csv_core::Reader::new(),
            line: Vec::new(),
            number: 0,
            before: None,
            is_begun: false,
            is_over: false,
        }
    }

    /// The line that the latest row was on, counted from 1; 0 before the first.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.number
    }

    /// The error of the current line.
    #[must_use]
    pub fn error(&self, problem: RowProblem) -> TraceError {
        TraceError::Row { name: self.name.clone(), line: self.number, problem }
    }

    /// Reads up to the next line that is neither empty nor a comment; `false` at the end.
    fn advance(&mut self) -> Result<bool, TraceError> {
        loop {
            self.line.clear();
            let mut part = (&mut self.from).take(LINE_BYTES_MAX as u64 + 1);
            let read = part.read_until(b'\n', &mut self.line);
            let length = read.map_err(|source| TraceError::Read { name: self.name.clone(), source })?;
            if length == 0 {
                return Ok(false);
            }
            self.number += 1;
            if length > LINE_BYTES_MAX {
                return Err(self.error(RowProblem::Length));
            }
            let content = self.line.trim_ascii();
            if !content.is_empty() && !content.starts_with(b"#") {
                return Ok(true);
            }
        }
    }

    /// The row of the current line; `None` for a header.
    fn parse(&mut self) -> Result<Option<Row>, RowProblem> {
        let mut text = [0; LINE_BYTES_MAX];
        let mut ends = [0; FIELDS_MAX];
        // One line is one record: an open quote does not continue on the next line.
        let line = self.line.trim_ascii_end();
        self.csv.reset();
        let (mut state, _, written, mut found) = self.csv.read_record(line, &mut text, &mut ends);
        if state == ReadRecordResult::InputEmpty {
            let (end, _, _, more) = self.csv.read_record(&[], &mut text[written..], &mut ends[found..]);
            (state, found) = (end, found + more);
        }
        if state == ReadRecordResult::OutputEndsFull {
            return Err(RowProblem::Fields { found: FIELDS_MAX + 1 });
        }
        let text = std::str::from_utf8(&text[..ends[..found].last().copied().unwrap_or(0)]);
        let text = text.map_err(|_| RowProblem::Text)?;
        let mut fields = [""; FIELDS_MAX];
        let mut begin = 0;
        for (field, end) in fields.iter_mut().zip(&ends[..found]) {
            *field = text.get(begin..*end).ok_or(RowProblem::Text)?.trim();
            begin = *end;
        }
        let fields = &fields[..found];
        let parsed = Row::parse(fields, self.before.as_ref());
        match parsed {
            Err(_) if !self.is_begun && is_header(fields) => Ok(None),
            parsed => parsed.map(Some),
        }
    }

    fn read(&mut self) -> Result<Option<Row>, TraceError> {
        while self.advance()? {
            let parsed = self.parse();
            self.is_begun = true;
            if let Some(row) = parsed.map_err(|problem| self.error(problem))? {
                self.before = Some(row);
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let read = self.read();
        self.is_over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

impl Row {
    fn parse(fields: &[&str], before: Option<&Self>) -> Result<Self, RowProblem> {
        let &[time, value] = fields else { return Err(RowProblem::Fields { found: fields.len() }) };
        let at = time_of(time).ok_or_else(|| no_time(time))?;
        let value = amount_of(value).ok_or_else(|| RowProblem::Value { text: excerpt(value) })?;
        match before {
            Some(before) if at <= before.at => Err(RowProblem::Order { at, before: before.at }),
            Some(_) | None => Ok(Self { at, value }),
        }
    }
}

/// Parses a time: RFC 3339, or seconds since 1970 with or without a fraction.
fn time_of(field: &str) -> Option<Timestamp> {
    if let Ok(at) = field.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(seconds) = field.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    let seconds = field.parse::<f64>().ok().filter(|seconds| seconds.is_finite())?;
    let since_1970 = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(since_1970).ok()
}

/// Why a field is not a time.
fn no_time(field: &str) -> RowProblem {
    let text = excerpt(field);
    match field.parse::<i64>() {
        Ok(milliseconds) if Timestamp::from_millisecond(milliseconds).is_ok() => {
            RowProblem::Milliseconds { text }
        }
        Ok(_) | Err(_) => RowProblem::Time { text },
    }
}

/// Parses an amount of load.
fn amount_of(field: &str) -> Option<f64> {
    field.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount >= 0.0)
}

/// Whether a first line names its columns: none of its fields could be data.
fn is_header(fields: &[&str]) -> bool {
    fields.len() == 2 && fields.iter().all(|field| time_of(field).is_none() && field.parse::<f64>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Result<Row, TraceError>> {
        Rows::of(text.as_bytes(), "t.csv").collect()
    }

    #[test]
    fn rows_come_one_by_one_until_the_first_that_is_wrong() {
        let read = rows("60,1\n120,2\nx,3\n180,4\n");
        assert_eq!(read.len(), 3, "an error ends the iteration");
        assert!(read[..2].iter().all(Result::is_ok) && read[2].is_err());
    }

    #[test]
    fn times_in_milliseconds_are_refused_with_advice() {
        let read = rows("1730000000000,1\n1730000060000,2\n");
        let refused = read[0].as_ref().unwrap_err().to_string();
        assert!(refused.contains("line 1") && refused.contains("divide the times by 1000"), "{refused}");
    }

    #[test]
    fn fields_may_be_quoted_and_a_quote_ends_with_its_line() {
        let read = rows("\"60\",\"1.5\"\n\"120,2\n180,3\n");
        assert_eq!(read[0].as_ref().unwrap().value, 1.5);
        assert!(
            read[1].as_ref().unwrap_err().to_string().contains("line 2: expected the two fields"),
            "{read:?}"
        );
    }

    #[test]
    fn many_fields_and_long_lines_are_refused_in_a_sentence() {
        let many = rows(&"1,".repeat(100));
        assert!(many[0].as_ref().unwrap_err().to_string().contains("found 9"), "{many:?}");
        let long = rows(&format!("60,1\n{}\n", "1".repeat(5000)));
        assert!(
            long[1].as_ref().unwrap_err().to_string().contains("line 2: it is longer than 4096 bytes"),
            "{long:?}"
        );
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert_eq!(rows("\u{feff}60,1\n")[0].as_ref().unwrap().value, 1.0);
    }

    #[test]
    fn memory_does_not_grow_with_the_trace() {
        let line = b"# a comment as long as a row\n";
        let endless = std::io::Cursor::new(line.repeat(40_000)).chain(&b"60,1\n"[..]);
        let mut rows = Rows::of(endless, "t.csv");
        assert!(rows.next().is_some_and(|row| row.is_ok()) && rows.line() == 40_001);
        assert!(rows.line.capacity() <= 2 * LINE_BYTES_MAX);
    }
}
