//! Recorded load, held in memory as a whole.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::rows::Rows;
pub use crate::rows::{Row, RowProblem, TRACE_ROWS_MAX, TraceError};

/// Recorded load, oldest first: at least one row, times strictly rising, values finite and not negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    rows: Vec<Row>,
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

    /// Reads a trace as [`Rows`] do; `name` is its name in errors.
    pub fn read(from: impl Read, name: &str) -> Result<Self, TraceError> {
        let mut rows: Vec<Row> = Vec::new();
        for row in Rows::of(from, name) {
            if rows.len() >= TRACE_ROWS_MAX {
                return Err(TraceError::TooLarge { name: name.to_owned() });
            }
            rows.push(row?);
        }
        if rows.is_empty() { Err(TraceError::Empty { name: name.to_owned() }) } else { Ok(Self { rows }) }
    }

    /// Returns the rows, oldest first; never none.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the interval of the rows: the median of the gaps, so that a hole does not matter.
    ///
    /// `None` when there is only one row.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        usual_gap(&self.rows)
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

/// Returns the interval of sorted rows: the median of the gaps, so that a hole does not matter.
///
/// `None` for fewer than two rows.
#[must_use]
pub fn usual_gap(rows: &[Row]) -> Option<Duration> {
    let mut gaps: Vec<Duration> = rows.windows(2).map(|pair| between(&pair[0], &pair[1])).collect();
    let middle = gaps.len() / 2;
    if gaps.is_empty() { None } else { Some(*gaps.select_nth_unstable(middle).1) }
}

/// Returns the time from one row to a later one.
pub(crate) fn between(earlier: &Row, later: &Row) -> Duration {
    later.at.duration_since(earlier.at).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Trace, TraceError> {
        Trace::read(text.as_bytes(), "t.csv")
    }

    fn values(trace: &Trace) -> Vec<(i64, f64)> {
        trace.rows().iter().map(|row| (row.at.as_second(), row.value)).collect()
    }

    fn refusal(text: &str) -> String {
        read(text).expect_err("the text is not a trace").to_string()
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
    fn an_error_has_the_line_and_the_cause() {
        assert!(refusal("timestamp,value\n60,1\nnoon,2\n").contains("t.csv, line 3: \"noon\" is not a time"));
        assert!(refusal("60,1\n120,-2\n").contains("line 2: \"-2\" is not an amount of load"));
        assert!(refusal("60,NaN\n").contains("line 1"));
        assert!(
            refusal("60,1\n\n\n120\n").contains("line 4: expected the two fields `timestamp,value`, found 1")
        );
        assert!(refusal("60,1\r\n# a note\r\n\r\nx,1\r\n").contains("line 4: \"x\" is not a time"));
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
        let is_refused =
            matches!(endless_field, Err(TraceError::Row { line: 1, problem: RowProblem::Length, .. }));
        assert!(is_refused, "{endless_field:?}");
    }

    #[test]
    fn the_interval_is_the_most_common_gap() {
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
