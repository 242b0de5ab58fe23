//! Parses times in arguments.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use model::resource::Span;

use crate::figures;

/// Parses a time: RFC 3339, the latest occurrence of a time of day in the local time zone, or a duration before now, with or without a
/// minus sign.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let now = figures::timestamp(os::wall());
    moment_at(&now.to_zoned(TimeZone::system()), text)
}

fn moment_at(now: &Zoned, text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = Span::parse(text.strip_prefix('-').unwrap_or(text)) {
        return now.timestamp().checked_sub(ago.as_duration()).map_err(|error| error.to_string());
    }
    if let Ok(time) = time_of_day(text) {
        let last = now
            .with()
            .time(time)
            .build()
            .and_then(|today| if today <= *now { Ok(today) } else { today.checked_sub(1.day()) });
        return last.map(|last| last.timestamp()).map_err(|error| error.to_string());
    }
    text.parse().map_err(|_| {
        "write a time such as 2026-01-31T18:00:00Z, a time of day such as 18:00 or 18:00:05, or how long ago, such as 5m"
            .to_owned()
    })
}

/// Parses `HH:MM` or `HH:MM:SS`.
fn time_of_day(text: &str) -> Result<Time, jiff::Error> {
    Time::strptime("%H:%M:%S", text).or_else(|_| Time::strptime("%H:%M", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        let now: Zoned = "2026-03-10T12:30:00+01:00[Europe/Berlin]".parse().unwrap();
        moment_at(&now, text).map_or_else(|error| error, |at| at.to_string())
    }

    #[test]
    fn a_time_is_rfc3339_or_a_time_of_day_or_a_duration_ago() {
        assert_eq!(parsed("2026-01-31T18:00:00+01:00"), "2026-01-31T17:00:00Z");
        assert_eq!(parsed("10m"), "2026-03-10T11:20:00Z");
        assert_eq!(parsed("-10m"), parsed("10m"));
        assert_eq!(parsed("12:03"), "2026-03-10T11:03:00Z");
        assert_eq!(parsed("12:03:05"), "2026-03-10T11:03:05Z");
        assert!(parsed("yesterday").contains("how long ago"));
        assert!(parsed("25:00").contains("how long ago"));
    }

    #[test]
    fn a_time_of_day_later_than_now_is_that_of_yesterday() {
        assert_eq!(parsed("18:00"), "2026-03-09T17:00:00Z");
    }
}
