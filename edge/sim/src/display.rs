//! Times of a world, for people.

use model::reason::Reason;
use model::time::Time;

/// Hours, minutes, seconds and milliseconds from `zero` to `at`; with a minus where `at` is before.
pub fn clock(zero: Time, at: Time) -> String {
    let sign = if at < zero { "-" } else { "" };
    let ms = at.as_millis().abs_diff(zero.as_millis());
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
}

/// The reason of something that happened at `at`, with its times as [`clock`] formats them.
///
/// Reasons show the time of day of the loop's clock, which is taken for the nearest such time to `at`.
pub fn readable(zero: Time, at: Time, reason: &Reason) -> String {
    let text = reason.to_string();
    text.split(' ').map(|word| with_clock(zero, at, word)).collect::<Vec<_>>().join(" ")
}

const DAY_MS: u64 = 86_400_000;

/// `06:20:15.250;` becomes `00:00:12.345;`.
fn with_clock(zero: Time, at: Time, word: &str) -> String {
    let parsed = word.split_at_checked("06:20:15.250".len()).and_then(|(text, rest)| {
        let since_midnight = time_of_day(text)?;
        let midnight = at.as_millis() - at.as_millis() % DAY_MS;
        let days = [midnight.saturating_sub(DAY_MS), midnight, midnight + DAY_MS];
        let times = days.map(|day| day + since_midnight);
        let nearest = times.into_iter().min_by_key(|time| time.abs_diff(at.as_millis()))?;
        Some(clock(zero, Time::from_millis(nearest)) + rest)
    });
    parsed.unwrap_or_else(|| word.to_owned())
}

/// The milliseconds since midnight of a time such as `06:20:15.250`.
fn time_of_day(text: &str) -> Option<u64> {
    let (whole, millis) = text.split_once('.')?;
    let mut parts = whole.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let millis = millis.parse::<u64>().ok()?;
    parts.next().is_none().then_some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_zero_and_before_it() {
        let zero = Time::from_millis(1_000_000);
        let shown = [0, 999_500, 1_000_000, 4_661_001].map(|ms| clock(zero, Time::from_millis(ms)));
        assert_eq!(shown, ["-00:16:40.000", "-00:00:00.500", "00:00:00.000", "01:01:01.001"]);
    }

    #[test]
    fn times_of_a_reason_are_shown_as_clock_times() {
        let day = |days: u64, ms: u64| Time::from_millis(days * DAY_MS + ms);
        let zero = day(20_000, 1_250);
        let shown = |at: Time, until: Time| readable(zero, at, &Reason::Backoff { until, restarts: 1 });
        let at = day(20_000, 5_000);
        assert_eq!(shown(at, at), "the next start is at 00:00:03.750, after 1 restart");
        assert_eq!(shown(zero, day(20_000, 250)), "the next start is at -00:00:01.000, after 1 restart");
        let before_midnight = day(20_000, DAY_MS - 1_000);
        assert_eq!(
            shown(before_midnight, day(20_001, 1_250)),
            "the next start is at 24:00:00.000, after 1 restart"
        );
        let why = Reason::ActionFailed("file 06:20:15.x of 12:30 is été, 1.2.3".into());
        assert_eq!(readable(zero, at, &why), why.to_string());
    }
}
