//! Times as people and scripts read them.

use jiff::Timestamp;
use model::time::{Now, Time, Wall};

/// A calendar time as RFC 3339 in UTC with milliseconds; the end of the calendar for what lies beyond it.
pub fn rfc3339(wall: Wall) -> String {
    let ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    format!("{:.3}", Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX))
}

/// The calendar time of a point on the loop's clock, as seen from `now`.
pub fn wall_of(now: Now, time: Time) -> Wall {
    let (then, here) = (time.as_millis(), now.time.as_millis());
    let wall = now.wall.as_millis();
    Wall::from_millis(if then >= here {
        wall.saturating_add(then - here)
    } else {
        wall.saturating_sub(here - then)
    })
}

/// Reads RFC 3339; `None` when `text` is something else, or before 1970.
pub fn parse_rfc3339(text: &str) -> Option<Wall> {
    let timestamp: Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok().map(Wall::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds_and_read_back() {
        let wall = Wall::from_millis(1_700_000_000_250);
        assert_eq!(rfc3339(wall), "2023-11-14T22:13:20.250Z");
        assert_eq!(parse_rfc3339(&rfc3339(wall)), Some(wall));
        assert_eq!(parse_rfc3339("2023-11-14T23:13:20.25+01:00"), Some(wall));
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59Z"), None);
    }

    #[test]
    fn the_far_end_of_the_clock_does_not_panic() {
        assert!(rfc3339(Wall::from_millis(u64::MAX)).starts_with("9999"));
    }

    #[test]
    fn a_point_before_or_after_now_keeps_its_distance() {
        let now = Now { time: Time::from_millis(5000), wall: Wall::from_millis(90_000) };
        assert_eq!(wall_of(now, Time::from_millis(4000)), Wall::from_millis(89_000));
        assert_eq!(wall_of(now, Time::from_millis(6000)), Wall::from_millis(91_000));
    }
}
