//! Recorded load: reading `timestamp,value` from CSV.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use crate::rate::excerpt;

/// Recorded load, oldest first: at least one row, times strictly rising, values finite and not negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    rows: Vec<Row>,
}

/// One row of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When the stretch of time begins that the value is for.
    pub at: Timestamp,
    /// What was recorded; what it counts is told by [`Replay::reading`](crate::replay::Replay::reading).
    pub value: f64,
}

/// Rows of one trace.
///
/// 1,051,200 = two years of minutes. At 24 bytes a row that is 25 MB.
pub const TRACE_ROWS_MAX: usize = 2 * 365 * 24 * 60;

/// Bytes of one trace's CSV.
///
/// 64 MiB = [`TRACE_ROWS_MAX`] rows of 60 characters and some room: a time with fractions and a value of full
/// precision are 50.
pub const TRACE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a trace could not be read. Nothing has changed.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file could not be opened.
    #[error("could not open the trace {name}; check the path and its permissions")]
    Open {
        /// The path of the trace.
        name: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The bytes stopped coming.
    #[error("could not read the trace {name} to its end")]
    Read {
        /// The name of the trace.
        name: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// One line says something that a trace cannot say.
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
    /// More than [`TRACE_BYTES_MAX`] or [`TRACE_ROWS_MAX`].
    #[error("the trace {name} is longer than {TRACE_ROWS_MAX} rows or {} MiB; cut it, or sum its rows over longer \
        intervals", TRACE_BYTES_MAX / (1024 * 1024))]
    TooLarge {
        /// The name of the trace.
        name: String,
    },
}

/// What is wrong with one line of a trace.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RowProblem {
    /// Bytes that are no text, or no CSV.
    #[error("this is no text in UTF-8; a trace is a text file with one `timestamp,value` a line")]
    Text,
    /// Not two fields.
    #[error("expected the two fields `timestamp,value`, found {found}")]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// The first field is no time.
    #[error("{text:?} is no time; write RFC 3339, such as 2024-05-01T12:00:00Z, or seconds since 1970")]
    Time {
        /// The beginning of the field.
        text: String,
    },
    /// The second field is no number, or one that is negative or infinite.
    #[error("{text:?} is no amount of load; write a number of zero or more")]
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

impl Trace {
    /// Reads the trace in the file at `path`.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::read(file, &name),
            Err(source) => Err(TraceError::Open { name, source }),
        }
    }

    /// Reads a trace; `name` is what errors call it.
    ///
    /// The first line may be a header: it is one when neither of its fields could be data. Empty lines and
    /// lines that begin with `#` are passed over.
    pub fn read(from: impl Read, name: &str) -> Result<Self, TraceError> {
        let row_error = |line, problem| TraceError::Row { name: name.to_owned(), line, problem };
        let text = read_text(from, name)?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut rows: Vec<Row> = Vec::new();
        let mut record = csv::StringRecord::new();
        let mut is_first = true;
        loop {
            let begins = reader.position().byte();
            let line = || line_of_record(&text, begins);
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return Err(row_error(line(), RowProblem::Text)),
            }
            let parsed = Row::parse(&record, rows.last());
            if std::mem::take(&mut is_first) && parsed.is_err() && is_header(&record) {
                continue;
            }
            rows.push(parsed.map_err(|problem| row_error(line(), problem))?);
            if rows.len() > TRACE_ROWS_MAX {
                return Err(TraceError::TooLarge { name: name.to_owned() });
            }
        }
        if rows.is_empty() { Err(TraceError::Empty { name: name.to_owned() }) } else { Ok(Self { rows }) }
    }

    /// Returns the rows, oldest first; never none.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns how far apart the rows are: the median of the gaps, so that a hole does not matter.
    ///
    /// `None` when there is only one row.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        let mut gaps: Vec<Duration> = self.rows.windows(2).map(|pair| between(&pair[0], &pair[1])).collect();
        let middle = gaps.len() / 2;
        if gaps.is_empty() { None } else { Some(*gaps.select_nth_unstable(middle).1) }
    }

    /// Returns the part that begins `skip` after the first row and lasts for `take`, in the trace's own time.
    ///
    /// `None` when no row lies in it.
    #[must_use]
    pub fn part(&self, skip: Duration, take: Duration) -> Option<Self> {
        let first = self.rows.first()?;
        let until = skip.saturating_add(take);
        let rows: Vec<Row> =
            self.rows.iter().filter(|row| (skip..until).contains(&between(first, row))).copied().collect();
        if rows.is_empty() { None } else { Some(Self { rows }) }
    }
}

/// Reads all of a trace's text, within its limit.
fn read_text(from: impl Read, name: &str) -> Result<String, TraceError> {
    let mut bytes = Vec::new();
    let read = from.take(TRACE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let length = read.map_err(|source| TraceError::Read { name: name.to_owned(), source })?;
    if length as u64 > TRACE_BYTES_MAX {
        return Err(TraceError::TooLarge { name: name.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line_feeds = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
        TraceError::Row { name: name.to_owned(), line: line_feeds as u64 + 1, problem: RowProblem::Text }
    })
}

/// Returns the line that a record is on, given where the reader stood before it.
///
/// The reader passes over empty lines and comments together with the record that comes after them. Only errors
/// need to know, so that it may take time.
fn line_of_record(text: &str, reader_at: u64) -> u64 {
    let (before, mut rest) = text.split_at(usize::try_from(reader_at).unwrap_or(text.len()));
    let mut line = before.matches('\n').count() as u64 + 1;
    while let Some((first, after)) = rest.split_once('\n') {
        if !first.trim_matches('\r').is_empty() && !first.starts_with('#') {
            break;
        }
        rest = after;
        line += 1;
    }
    line
}

/// Returns the time from one row to a later one.
pub(crate) fn between(earlier: &Row, later: &Row) -> Duration {
    later.at.duration_since(earlier.at).unsigned_abs()
}

impl Row {
    fn parse(record: &csv::StringRecord, before: Option<&Self>) -> Result<Self, RowProblem> {
        let (Some(time), Some(value), 2) = (record.get(0), record.get(1), record.len()) else {
            return Err(RowProblem::Fields { found: record.len() });
        };
        let at = time_of(time).ok_or_else(|| RowProblem::Time { text: excerpt(time) })?;
        let value = amount_of(value).ok_or_else(|| RowProblem::Value { text: excerpt(value) })?;
        match before {
            Some(before) if at <= before.at => Err(RowProblem::Order { at, before: before.at }),
            Some(_) | None => Ok(Self { at, value }),
        }
    }
}

/// Returns the time that a field says: RFC 3339, or seconds since 1970 with or without a fraction.
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

/// Returns the amount of load that a field says.
fn amount_of(field: &str) -> Option<f64> {
    field.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount >= 0.0)
}

/// Whether a first line names its columns: none of its fields could be data.
fn is_header(record: &csv::StringRecord) -> bool {
    record.len() == 2 && record.iter().all(|field| time_of(field).is_none() && field.parse::<f64>().is_err())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Trace, TraceError> {
        Trace::read(text.as_bytes(), "t.csv")
    }

    fn values(trace: &Trace) -> Vec<(i64, f64)> {
        trace.rows().iter().map(|row| (row.at.as_second(), row.value)).collect()
    }

    fn refusal(text: &str) -> String {
        read(text).expect_err("the text is no trace").to_string()
    }

    #[test]
    fn a_header_is_optional() {
        let with = read("timestamp,value\n1970-01-01T00:01:00Z,3\n1970-01-01T00:02:00Z,4.5\n").unwrap();
        let without = read("1970-01-01T00:01:00Z,3\n1970-01-01T00:02:00Z,4.5\n").unwrap();
        assert_eq!(with, without);
        assert_eq!(values(&with), [(60, 3.0), (120, 4.5)]);
    }

    #[test]
    fn times_are_rfc_3339_with_any_offset_or_seconds_since_1970() {
        let trace = read("60,1\n120.5,2\n1970-01-01T08:03:00+08:00,3\n").unwrap();
        assert_eq!(values(&trace), [(60, 1.0), (120, 2.0), (180, 3.0)]);
    }

    #[test]
    fn comments_blank_lines_and_spaces_are_passed_over() {
        let trace = read("# from the shop\n\n time , value \n 60 , 1 \r\n\n120,2").unwrap();
        assert_eq!(values(&trace), [(60, 1.0), (120, 2.0)]);
    }

    #[test]
    fn an_error_names_the_line_and_what_is_wrong() {
        assert!(refusal("timestamp,value\n60,1\nnoon,2\n").contains("t.csv, line 3: \"noon\" is no time"));
        assert!(refusal("60,1\n120,-2\n").contains("line 2: \"-2\" is no amount of load"));
        assert!(refusal("60,NaN\n").contains("line 1"));
        assert!(
            refusal("60,1\n\n\n120\n").contains("line 4: expected the two fields `timestamp,value`, found 1")
        );
        assert!(refusal("60,1\r\n# a note\r\n\r\nx,1\r\n").contains("line 4: \"x\" is no time"));
        assert!(refusal("120,1\n60,1\n").contains("line 2: 1970-01-01T00:01:00Z does not come after"));
        assert!(refusal("60,1\n60,1\n").contains("line 2"));
        assert!(refusal("").contains("has no row"));
        assert!(refusal("timestamp,value\n").contains("has no row"));
    }

    #[test]
    fn a_second_header_is_not_passed_over() {
        assert!(refusal("timestamp,value\ntimestamp,value\n").contains("line 2"));
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused_where_it_is() {
        let refused = Trace::read(&b"60,1\n120,\xff\xff\n"[..], "t.csv").expect_err("not UTF-8");
        assert!(matches!(refused, TraceError::Row { line: 2, problem: RowProblem::Text, .. }), "{refused:?}");
    }

    #[test]
    fn a_stream_without_end_is_refused_within_the_limit() {
        let endless_field = Trace::read(std::io::repeat(b'1'), "endless");
        assert!(matches!(endless_field, Err(TraceError::TooLarge { .. })), "{endless_field:?}");
    }

    #[test]
    fn the_interval_is_the_usual_gap_whatever_is_missing() {
        assert_eq!(
            read("0,1\n60,1\n120,1\n600,1\n660,1\n").unwrap().interval(),
            Some(Duration::from_secs(60))
        );
        assert_eq!(read("0,1\n").unwrap().interval(), None);
    }

    #[test]
    fn a_part_is_cut_in_the_time_of_the_trace() {
        let trace = read("0,1\n60,2\n120,3\n180,4\n").unwrap();
        let part = trace.part(Duration::from_secs(60), Duration::from_secs(120)).unwrap();
        assert_eq!(values(&part), [(60, 2.0), (120, 3.0)]);
        assert_eq!(trace.part(Duration::from_secs(600), Duration::MAX), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(Trace::read(&bytes[..], "any"));
        }

        #[test]
        fn no_text_that_looks_like_a_trace_makes_it_panic(
            text in r#"(timestamp,value\n)?([0-9TZ:.+e"-]{0,12},[0-9.eE+naif"-]{0,8}\n?){0,20}"#,
        ) {
            if let Ok(trace) = read(&text) {
                prop_assert!(trace.rows().iter().all(|row| row.value >= 0.0 && row.value.is_finite()));
                prop_assert!(trace.rows().windows(2).all(|pair| pair[0].at < pair[1].at));
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            start in 0_i64..4_000_000_000, values in prop::collection::vec(0.0..1e9_f64, 1..50),
        ) {
            let rows: Vec<Row> = values.iter().zip(start..).map(|(value, second)| Row {
                at: Timestamp::from_second(second).unwrap(), value: *value,
            }).collect();
            let text: String = rows.iter().map(|row| format!("{},{}\n", row.at, row.value)).collect();
            prop_assert_eq!(read(&text).unwrap().rows, rows);
        }
    }
}
