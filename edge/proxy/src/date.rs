//! The `Date` of answers.

use std::cell::{Cell, RefCell};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::time::Instant;

/// The line of the header, formatted at most once for each tick of the worker: ten times a second.
#[derive(Debug, Default)]
pub(crate) struct Date {
    at: Cell<Option<Instant>>,
    line: RefCell<String>,
}

impl Date {
    /// Appends the line to `head`, with the time as of the worker's last `tick`. Source: RFC 9110, section 6.6.1.
    pub(crate) fn write(&self, tick: Instant, head: &mut Vec<u8>) {
        let mut line = self.line.borrow_mut();
        if self.at.replace(Some(tick)) != Some(tick) {
            let written = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
            // A year that does not have four digits cannot be written, and is left out.
            *line = written.map_or_else(|_| String::new(), |date| format!("date: {date}\r\n"));
        }
        head.extend_from_slice(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gets_the_time_of_day_once_more_for_each_tick() {
        let date = Date::default();
        let (mut first, mut again, mut later) = (Vec::new(), Vec::new(), Vec::new());
        let tick = Instant::now();
        date.write(tick, &mut first);
        *date.line.borrow_mut() = "what was kept".to_owned();
        date.write(tick, &mut again);
        date.write(tick + crate::timer::TICK, &mut later);
        assert_eq!(again, b"what was kept");
        let line = String::from_utf8(later).unwrap();
        let date = line.strip_prefix("date: ").and_then(|rest| rest.strip_suffix(" GMT\r\n")).unwrap();
        let parsed = jiff::fmt::rfc2822::parse(&format!("{date} +0000")).unwrap().timestamp();
        let age = Timestamp::now().as_second() - parsed.as_second();
        assert!((0..60).contains(&age), "{line}");
        assert_eq!(first.len(), line.len());
    }
}
