//! Formats numbers for people: with a suitable unit, and as `-` when unknown.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::time::Wall;

use crate::output::UNKNOWN;

/// Requests per second: `0.5`, `42`, `1250`.
pub(crate) fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => UNKNOWN.to_owned(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// A short time: `850us`, `2.5ms`, `1.20s`.
pub(crate) fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => UNKNOWN.to_owned(),
        Some(value) if value < 0.001 => format!("{:.0}us", value * 1e6),
        Some(value) if value < 1.0 => format!("{:.1}ms", value * 1e3),
        Some(value) => format!("{value:.2}s"),
    }
}

/// CPU in the notation of Kubernetes: `250m`.
pub(crate) fn millicores(cpu: Option<u64>) -> String {
    cpu.map_or_else(|| UNKNOWN.to_owned(), |cpu| format!("{cpu}m"))
}

/// Memory in the notation of Kubernetes: `12Mi`.
pub(crate) fn bytes(memory: Option<u64>) -> String {
    const KIB: u64 = 1024;
    match memory {
        None => UNKNOWN.to_owned(),
        Some(bytes) if bytes < KIB => bytes.to_string(),
        Some(bytes) if bytes < KIB * KIB => format!("{}Ki", bytes / KIB),
        Some(bytes) if bytes < 10 * KIB * KIB * KIB => format!("{}Mi", bytes / KIB / KIB),
        Some(bytes) => format!("{}Gi", bytes / KIB / KIB / KIB),
    }
}

/// A number of replicas: `1 replica`, `3 replicas`.
pub(crate) fn replicas(count: u32) -> String {
    format!("{count} replica{}", if count == 1 { "" } else { "s" })
}

/// The time since `then`, RFC 3339, in its largest unit: `12s`, `3m`, `5h`, `2d`; zero for times in the future.
pub(crate) fn age(then: Option<&str>, now: Wall) -> String {
    let Some(then) = then.and_then(|then| then.parse::<Timestamp>().ok()) else { return UNKNOWN.to_owned() };
    let seconds = (timestamp(now).duration_since(then)).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Converts a time; later times than the calendar's end become that.
pub(crate) fn timestamp(wall: Wall) -> Timestamp {
    let ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// A duration in the form of a clock: `0:42`, `12:05`, `1:02:03`.
pub(crate) fn clock(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// The time of day of an RFC 3339 time in UTC, `06:20:15.250`; other text is returned unchanged.
pub(crate) fn time_of_day(at: &str) -> &str {
    at.split_once('T').map_or(at, |(_, time)| time.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_values_are_not_shown_as_zero() {
        assert_eq!([rate(None), seconds(None), millicores(None), bytes(None)], ["-", "-", "-", "-"]);
        assert_eq!([rate(Some(0.0)), bytes(Some(0))], ["0", "0"]);
    }

    #[test]
    fn numbers_have_a_suitable_unit() {
        assert_eq!([rate(Some(0.25)), rate(Some(9.96)), rate(Some(1250.4))], ["0.2", "10", "1250"]);
        assert_eq!(
            [seconds(Some(0.00085)), seconds(Some(0.0025)), seconds(Some(1.2))],
            ["850us", "2.5ms", "1.20s"]
        );
        assert_eq!(
            [bytes(Some(2048)), bytes(Some(64 << 20)), bytes(Some(20 << 30))],
            ["2Ki", "64Mi", "20Gi"]
        );
    }

    #[test]
    fn an_age_has_one_unit_and_is_never_negative() {
        let now = Wall::from_millis(1_700_000_000_000);
        let at = |seconds: i64| (timestamp(now) - SignedDuration::from_secs(seconds)).to_string();
        let ages = [5, 119, 600, 8000, 200_000, -60].map(|seconds| age(Some(&at(seconds)), now));
        assert_eq!(ages, ["5s", "119s", "10m", "2h", "2d", "0s"]);
        assert_eq!(age(None, now), "-");
        assert_eq!(age(Some("yesterday"), now), "-");
    }

    #[test]
    fn a_clock_shows_hours_only_when_there_are_some() {
        assert_eq!(clock(Duration::from_secs(42)), "0:42");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(time_of_day("2026-11-21T06:20:15.250Z"), "06:20:15.250");
    }
}
