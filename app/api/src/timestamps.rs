//! Timestamps in RFC 3339.

use jiff::Timestamp;
use model::time::{Now, Time, Wall};

/// A wall-clock time as RFC 3339 in UTC with milliseconds; later times than the calendar's end are shown as that.
pub fn rfc3339(wall: Wall) -> String {
    let ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    format!("{:.3}", Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX))
}

/// The resolution at which the two clocks are compared, in milliseconds.
///
/// Each clock is cut to whole milliseconds by itself, so their difference can vary by one between two readings, and a watch would send a change
/// where there is none. 20 ms is well above that, and below what matters to people and scripts.
const OFFSET_STEP_MS: i64 = 20;

/// The wall-clock time of a time on the loop's clock, computed from `now`: accurate to 10 ms, and stable between calls.
pub(crate) fn wall_of(now: Now, time: Time) -> Wall {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let offset = signed(now.wall.as_millis()).saturating_sub(signed(now.time.as_millis()));
    let rounded = offset.saturating_add(OFFSET_STEP_MS / 2).div_euclid(OFFSET_STEP_MS) * OFFSET_STEP_MS;
    Wall::from_millis(u64::try_from(signed(time.as_millis()).saturating_add(rounded)).unwrap_or(0))
}

/// Reads RFC 3339; `None` when `text` is something else, or before 1970.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Wall> {
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
    fn a_time_before_or_after_now_keeps_its_distance() {
        let now = Now { time: Time::from_millis(5000), wall: Wall::from_millis(90_000) };
        assert_eq!(wall_of(now, Time::from_millis(4000)), Wall::from_millis(89_000));
        assert_eq!(wall_of(now, Time::from_millis(6000)), Wall::from_millis(91_000));
        let set_back = Now { wall: Wall::from_millis(1000), ..now };
        assert_eq!(wall_of(set_back, Time::from_millis(3000)), Wall::from_millis(0));
        let far = Now { time: Time::from_millis(u64::MAX), wall: Wall::from_millis(u64::MAX) };
        assert_eq!(wall_of(far, Time::from_millis(7)), Wall::from_millis(7));
    }

    #[test]
    fn the_same_time_is_always_shown_the_same() {
        let then = Time::from_millis(4000);
        let seen: std::collections::BTreeSet<Wall> = [(5000, 5001), (5001, 5001), (5002, 5001), (9000, 9000)]
            .map(|(time, wall)| Now { time: Time::from_millis(time), wall: Wall::from_millis(wall) })
            .map(|now| wall_of(now, then))
            .into();
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
}
