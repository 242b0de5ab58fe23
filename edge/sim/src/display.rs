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

/// A reason, with its times as [`clock`] formats them.
pub fn readable(zero: Time, reason: &Reason) -> String {
    let text = reason.to_string();
    text.split(' ').map(|word| with_clock(zero, word)).collect::<Vec<_>>().join(" ")
}

/// `t+1728000012.345s` becomes `00:00:12.345`.
fn with_clock(zero: Time, word: &str) -> String {
    let parsed = word.strip_prefix("t+").and_then(|rest| {
        let (number, tail) = rest.split_once('s')?;
        let (seconds, millis) = number.split_once('.')?;
        let ms = seconds.parse::<u64>().ok()? * 1000 + millis.parse::<u64>().ok()?;
        Some(clock(zero, Time::from_millis(ms)) + tail)
    });
    parsed.unwrap_or_else(|| word.to_owned())
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
    fn times_within_a_sentence_are_shown_as_clock_times() {
        let zero = Time::from_millis(1_000_000);
        assert_eq!(with_clock(zero, "t+1003.250s;"), "00:00:03.250;");
        assert_eq!(with_clock(zero, "t+x"), "t+x");
    }
}
