//! Lengths of time: `500ms`, `2s`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in whole milliseconds, written with its unit.
///
/// Units are `ms`, `s`, `m`, `h` and `d` (24 hours), the larger before the smaller, each at most once: `1h30m`. Prints
/// as one number of the largest exact unit: `90m`. At most [`Span::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// The text does not begin with a whole number.
    #[error("a length of time is whole numbers with units, such as 500ms, 2s or 1h30m")]
    NoNumber,
    /// A number without a unit.
    #[error("a length of time needs a unit: write {number}s for seconds or {number}ms for milliseconds")]
    NoUnit {
        /// The bare number.
        number: String,
    },
    /// An unknown unit.
    #[error("{unit:?} is not a unit of time; write one of ms, s, m, h, d")]
    Unit {
        /// The text in place of a unit.
        unit: String,
    },
    /// A unit after a smaller one or after itself.
    #[error("the units of a length of time go from large to small, each once, as in 1h30m")]
    Order,
    /// Longer than [`Span::MAX`].
    #[error("a length of time is at most 3650d")]
    TooLong,
}

/// A unit and its milliseconds.
type Unit = (&'static str, u64);

const UNITS: [Unit; 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Span {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Ten years of 365 days: longer than any useful wait, and far below the saturation of sums.
    pub const MAX: Self = Self(3650 * 86_400_000);

    /// `ms` milliseconds, at most [`Span::MAX`].
    pub const fn from_millis(ms: u64) -> Self {
        if ms < Self::MAX.0 { Self(ms) } else { Self::MAX }
    }

    /// `secs` seconds, at most [`Span::MAX`].
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The length as a [`Duration`].
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Parses a length of time; surrounding white space is an error.
    pub fn parse(text: &str) -> Result<Self, SpanError> {
        if text == "0" {
            return Ok(Self::ZERO);
        }
        let mut rest = text;
        let mut total: u64 = 0;
        let mut units_left = &UNITS[..];
        loop {
            let number;
            (number, rest) = split_while(rest, u8::is_ascii_digit);
            if number.is_empty() {
                return Err(SpanError::NoNumber);
            }
            let unit;
            (unit, rest) = split_while(rest, |byte| !byte.is_ascii_digit());
            let (after, ms) = find_unit(units_left, number, unit)?;
            units_left = after;
            let amount = number.parse::<u64>().ok().and_then(|n| n.checked_mul(ms));
            let sum = amount.and_then(|amount| total.checked_add(amount)).filter(|sum| *sum <= Self::MAX.0);
            total = sum.ok_or(SpanError::TooLong)?;
            if rest.is_empty() {
                return Ok(Self(total));
            }
        }
    }
}

/// Splits `text` before the first byte that does not match. One side of the cut is ASCII, so it is at a character boundary.
fn split_while(text: &str, matches: impl Fn(&u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().take_while(|byte| matches(byte)).count())
}

/// The units that may still follow `unit`, and its milliseconds.
fn find_unit<'u>(left: &'u [Unit], number: &str, unit: &str) -> Result<(&'u [Unit], u64), SpanError> {
    match left.iter().position(|(known, _)| *known == unit) {
        Some(at) => Ok((&left[at + 1..], left[at].1)),
        None if unit.is_empty() => Err(SpanError::NoUnit { number: number.to_owned() }),
        None if UNITS.iter().any(|(known, _)| *known == unit) => Err(SpanError::Order),
        None => Err(SpanError::Unit { unit: unit.to_owned() }),
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.as_duration()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let (unit, ms) = UNITS.into_iter().find(|(_, ms)| self.0.is_multiple_of(*ms)).unwrap_or(("ms", 1));
        f.pad(&format!("{}{unit}", self.0 / ms))
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        Self::parse(text)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A length of time with its unit: 500ms, 2s, 1h30m.",
            "type": "string",
            "pattern": "^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
            "minLength": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_add_up() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("2s", 2000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1m500ms", 60_500),
            ("3650d", 3650 * 86_400_000),
        ] {
            assert_eq!(Span::parse(text).map(Span::as_millis), Ok(ms), "{text}");
        }
    }

    #[test]
    fn errors_name_the_cause() {
        assert_eq!(Span::parse("5"), Err(SpanError::NoUnit { number: "5".into() }));
        assert_eq!(Span::parse("5x"), Err(SpanError::Unit { unit: "x".into() }));
        assert_eq!(Span::parse("5 s"), Err(SpanError::Unit { unit: " s".into() }));
        assert_eq!(Span::parse("5µs"), Err(SpanError::Unit { unit: "µs".into() }));
        assert_eq!(Span::parse("1.5s"), Err(SpanError::Unit { unit: ".".into() }));
        assert_eq!(Span::parse("1s1h"), Err(SpanError::Order));
        assert_eq!(Span::parse("1s1s"), Err(SpanError::Order));
        assert_eq!(Span::parse(""), Err(SpanError::NoNumber));
        assert_eq!(Span::parse("-1s"), Err(SpanError::NoNumber));
        assert_eq!(Span::parse("3651d"), Err(SpanError::TooLong));
        assert_eq!(Span::parse("99999999999999999999s"), Err(SpanError::TooLong));
    }

    #[test]
    fn a_span_prints_in_its_largest_exact_unit() {
        for (text, canonical) in
            [("1h30m", "90m"), ("60s", "1m"), ("1500ms", "1500ms"), ("24h", "1d"), ("0ms", "0s")]
        {
            assert_eq!(Span::parse(text).map(|s| s.to_string()), Ok(canonical.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn formatting_and_parsing_are_lossless(ms in 0..=Span::MAX.as_millis()) {
            let span = Span::from_millis(ms);
            prop_assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9dhms.µ]{0,30}|\\PC{0,20}") {
            let _ = Span::parse(&text);
        }
    }
}
