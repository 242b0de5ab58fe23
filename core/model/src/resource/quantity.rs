//! Amounts as Kubernetes writes them: `250m`, `128Mi`, `1e3`, `0.5`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest text of a quantity, in bytes: 20 digits of an `i64`, a point, as many zeros again, a sign and a suffix.
pub const QUANTITY_LEN_MAX: usize = 48;

/// An exact amount in thousandths, with the notation that it is printed in.
///
/// From -9,223,372,036,854,775.807 to 9,223,372,036,854,775.807: as bytes a little over 8 PiB. Equality ignores the
/// notation: `1Ki` equals `1024`. Amounts finer than a thousandth, or out of range, are refused and never rounded.
///
/// Source: Kubernetes `apimachinery/pkg/api/resource/quantity.go`, whose canonical form this prints.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    milli: i64,
    notation: Notation,
}

/// The family of suffixes that a quantity is printed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// `m`, none, `k`, `M`, `G`, `T`, `P`.
    Decimal,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`: only for multiples of 1024.
    Binary,
    /// `e3`, `e6`, `e-3`: only for amounts with such an exponent.
    Exponent,
}

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not begin with digits.
    #[error("a quantity begins with a number, such as 250m, 0.5, 128Mi or 1e3")]
    NoNumber,
    /// The text after the number is not a suffix.
    #[error(
        "{suffix:?} is not a suffix of a quantity; write one of m, k, M, G, T, P, Ki, Mi, Gi, Ti, Pi or an exponent such as e3"
    )]
    Suffix {
        /// What followed the number.
        suffix: String,
    },
    /// The amount has a part smaller than a thousandth.
    #[error("a quantity has no part smaller than a thousandth (1m)")]
    TooFine,
    /// The amount or its text is out of range.
    #[error("a quantity lies between -9223372036854775807m and 9223372036854775807m")]
    OutOfRange,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self::from_milli(0);

    /// The quantity of `milli` thousandths.
    pub const fn from_milli(milli: i64) -> Self {
        Self { milli, notation: Notation::Decimal }
    }

    /// The quantity of `units` whole units; `None` beyond 9,223,372,036,854,775.
    pub fn from_units(units: i64) -> Option<Self> {
        units.checked_mul(1000).map(Self::from_milli)
    }

    /// The amount in thousandths.
    pub const fn milli(self) -> i64 {
        self.milli
    }

    /// Whole units, rounded up, like Kubernetes' `Value()`.
    pub const fn units_ceil(self) -> i64 {
        self.milli.div_euclid(1000) + if self.milli.rem_euclid(1000) == 0 { 0 } else { 1 }
    }

    /// Parses a quantity; surrounding white space is an error.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.len() > QUANTITY_LEN_MAX {
            return Err(QuantityError::OutOfRange);
        }
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) | None => (false, text),
        };
        let number_len = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, suffix) = rest.split_at(number_len);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(QuantityError::NoNumber);
        }
        let scale = Scale::parse(suffix)?;
        let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| QuantityError::OutOfRange)?;
        let fraction_len = u32::try_from(fraction.len()).map_err(|_| QuantityError::OutOfRange)?;
        let milli = scale.milli_of(if negative { -digits } else { digits }, fraction_len)?;
        Ok(Self { milli, notation: scale.notation.fit_for(milli) })
    }
}

/// The factor of a suffix: `binary × 10^tens`.
struct Scale {
    notation: Notation,
    binary: i128,
    tens: i32,
}

impl Scale {
    fn parse(suffix: &str) -> Result<Self, QuantityError> {
        const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        const DECIMAL: [(&str, i32); 10] = [
            ("n", -9),
            ("u", -6),
            ("m", -3),
            ("", 0),
            ("k", 3),
            ("M", 6),
            ("G", 9),
            ("T", 12),
            ("P", 15),
            ("E", 18),
        ];
        if let Some((_, tens)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
            return Ok(Self { notation: Notation::Decimal, binary: 1, tens: *tens });
        }
        if let Some((_, binary)) =
            BINARY.iter().zip((1..).map(|i| 1 << (10 * i))).find(|(s, _)| **s == suffix)
        {
            return Ok(Self { notation: Notation::Binary, binary, tens: 0 });
        }
        let no_suffix = || QuantityError::Suffix { suffix: suffix.to_owned() };
        let exponent = suffix.strip_prefix(['e', 'E']).ok_or_else(no_suffix)?;
        let tens = exponent.parse::<i8>().map_err(|_| no_suffix())?;
        Ok(Self { notation: Notation::Exponent, binary: 1, tens: i32::from(tens) })
    }

    /// `digits × 10^-fraction_len` of this scale, in thousandths.
    fn milli_of(&self, digits: i128, fraction_len: u32) -> Result<i64, QuantityError> {
        if digits == 0 {
            return Ok(0);
        }
        let scaled = digits.checked_mul(self.binary).ok_or(QuantityError::OutOfRange)?;
        let tens = self.tens + 3 - fraction_len.cast_signed();
        let power = 10_i128.checked_pow(tens.unsigned_abs());
        let milli = match (tens >= 0, power) {
            (true, Some(power)) => scaled.checked_mul(power).ok_or(QuantityError::OutOfRange)?,
            (true, None) => return Err(QuantityError::OutOfRange),
            (false, Some(power)) if scaled % power == 0 => scaled / power,
            (false, Some(_) | None) => return Err(QuantityError::TooFine),
        };
        // `i64::MIN` is excluded, so that every quantity can be negated.
        i64::try_from(milli).ok().filter(|milli| *milli != i64::MIN).ok_or(QuantityError::OutOfRange)
    }
}

impl Notation {
    /// This notation if it has a suffix for `milli`, else the decimal one.
    fn fit_for(self, milli: i64) -> Self {
        let fits = match self {
            Self::Decimal => true,
            Self::Binary => milli != 0 && milli % (1000 * 1024) == 0,
            Self::Exponent => milli != 0 && (milli % 1_000_000 == 0 || milli % 1000 != 0),
        };
        if fits { self } else { Self::Decimal }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DECIMAL: [&str; 7] = ["m", "", "k", "M", "G", "T", "P"];
        const BINARY: [&str; 6] = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
        let (mut amount, base, mut step, steps) = match self.notation {
            Notation::Binary => (self.milli / 1000, 1024, 0, BINARY.len()),
            Notation::Decimal | Notation::Exponent => (self.milli, 1000, 0, DECIMAL.len()),
        };
        if amount == 0 {
            return f.pad("0");
        }
        while step + 1 < steps && amount % base == 0 {
            amount /= base;
            step += 1;
        }
        match self.notation {
            Notation::Decimal => f.pad(&format!("{amount}{}", DECIMAL[step])),
            Notation::Binary => f.pad(&format!("{amount}{}", BINARY[step])),
            Notation::Exponent => f.pad(&format!("{amount}e{}", 3 * (step.cast_signed() - 1))),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.milli == other.milli
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.milli.cmp(&other.milli)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.milli.hash(state);
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text, or a bare number as JSON has it.
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;

        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 250m, 0.5, 128Mi or 1e3")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Quantity::parse(text).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, units: i64) -> Result<Quantity, E> {
                Quantity::from_units(units).ok_or_else(|| E::custom(QuantityError::OutOfRange))
            }

            fn visit_u64<E: de::Error>(self, units: u64) -> Result<Quantity, E> {
                let units = i64::try_from(units).map_err(|_| E::custom(QuantityError::OutOfRange))?;
                self.visit_i64(units)
            }

            fn visit_f64<E: de::Error>(self, units: f64) -> Result<Quantity, E> {
                // The shortest text that parses to the same number is what was written.
                Quantity::parse(&units.to_string()).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(QuantityVisitor)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An amount as Kubernetes writes it: 250m, 0.5, 128Mi, 1e3.",
            "type": ["string", "number"],
            "maxLength": QUANTITY_LEN_MAX,
            "pattern": "^[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn milli(text: &str) -> Result<i64, QuantityError> {
        Quantity::parse(text).map(Quantity::milli)
    }

    #[test]
    fn every_suffix_has_its_factor() {
        for (text, expected) in [
            ("250m", 250),
            ("0.5", 500),
            (".5", 500),
            ("5.", 5000),
            ("1", 1000),
            ("+1", 1000),
            ("-2", -2000),
            ("1k", 1_000_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1e-3", 1),
            ("128Mi", 128 * 1024 * 1024 * 1000),
            ("0.5Ki", 512_000),
            ("1P", 1_000_000_000_000_000_000),
            ("3000000n", 3),
            ("5000u", 5),
            ("0E", 0),
        ] {
            assert_eq!(milli(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn inexact_and_out_of_range_amounts_are_refused() {
        for text in ["1n", "0.0001", "1e-4", "1.0000000001Ki"] {
            assert_eq!(milli(text), Err(QuantityError::TooFine), "{text}");
        }
        for text in ["10E", "9223372036854775.808", "1e127", "-9223372036854775.808", &"9".repeat(49)] {
            assert_eq!(milli(text), Err(QuantityError::OutOfRange), "{text}");
        }
        assert_eq!(milli("9223372036854775.807"), Ok(i64::MAX));
    }

    #[test]
    fn texts_that_are_not_quantities_are_refused() {
        for text in ["", "-", "m", ".", "abc", " 1"] {
            assert_eq!(milli(text), Err(QuantityError::NoNumber), "{text}");
        }
        for text in ["1Kb", "1 ", "1e", "1e999", "1mm", "1Mib"] {
            assert!(matches!(milli(text), Err(QuantityError::Suffix { .. })), "{text}");
        }
        assert_eq!(milli("1.2.3"), Err(QuantityError::NoNumber));
    }

    #[test]
    fn a_quantity_is_formatted_canonically() {
        for (text, canonical) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500", "1500"),
            ("2000", "2k"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("15e2", "1500"),
            ("5e-1", "500e-3"),
            ("0Ki", "0"),
            ("-1.5Gi", "-1536Mi"),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()), Ok(canonical.to_owned()), "{text}");
        }
    }

    #[test]
    fn equality_ignores_the_notation() {
        assert_eq!(Quantity::parse("1Ki"), Quantity::parse("1024"));
        assert_eq!(Quantity::parse("1e3"), Quantity::parse("1k"));
        assert_eq!(Quantity::from_milli(1).units_ceil(), 1);
        assert_eq!(Quantity::from_milli(-1500).units_ceil(), -1);
    }

    proptest! {
        #[test]
        fn formatting_and_parsing_are_lossless(number in "-?[0-9]{1,6}(\\.[0-9]{0,3})?", suffix in "(|m|k|M|G|Ki|Mi|Gi|e3|e-2|E6)") {
            if let Ok(quantity) = Quantity::parse(&format!("{number}{suffix}")) {
                let text = quantity.to_string();
                let again = Quantity::parse(&text).expect("canonical text is a quantity");
                prop_assert_eq!(again.milli(), quantity.milli());
                prop_assert_eq!(again.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9.eEmKi+-]{0,60}|\\PC{0,20}") {
            let _ = Quantity::parse(&text);
        }
    }
}
