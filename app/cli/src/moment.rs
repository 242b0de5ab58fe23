//! Times as people write them.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use model::resource::Span;

use crate::figures;

/// A time: RFC 3339, a time of day in the zone of this machine, the last there was, or a length of time before now, with or without a
/// minus.
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
        "write a time as 2026-01-31T18:00:00Z, a time of day as 18:00 or 18:00:05, or how long ago, as 5m"
            .to_owned()
    })
}

/// Just `HH:MM`, with seconds or without.
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
    fn a_moment_is_a_time_a_time_of_day_or_how_long_ago() {
        assert_eq!(parsed("2026-01-31T18:00:00+01:00"), "2026-01-31T17:00:00Z");
        assert_eq!(parsed("10m"), "2026-03-10T11:20:00Z");
        assert_eq!(parsed("-10m"), parsed("10m"));
        assert_eq!(parsed("12:03"), "2026-03-10T11:03:00Z");
        assert_eq!(parsed("12:03:05"), "2026-03-10T11:03:05Z");
        assert!(parsed("yesterday").contains("how long ago"));
        assert!(parsed("25:00").contains("how long ago"));
    }

    #[test]
    fn a_time_of_day_that_is_to_come_was_yesterday() {
        assert_eq!(parsed("18:00"), "2026-03-09T17:00:00Z");
    }
}
