//! A fraction between 0 and 1, written as a decimal number: `0.99`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A fraction in millionths: above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fraction(u32);

/// Why a number is not a [`Fraction`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a fraction; write a number above 0 and below 1 with at most six decimals, such as 0.99")]
pub struct FractionError(f64);

/// One, in millionths.
const ONE: u32 = 1_000_000;

impl Fraction {
    /// The fraction of this many millionths; clamped to 1 to 999,999.
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(if millionths == 0 {
            1
        } else if millionths < ONE {
            millionths
        } else {
            ONE - 1
        })
    }

    /// The fraction nearest to a number.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and below 1, or finer than a millionth.
    pub fn of(number: f64) -> Result<Self, FractionError> {
        let millionths = (number * f64::from(ONE)).round();
        let is_near = (millionths / f64::from(ONE) - number).abs() < 1e-9;
        if is_near && millionths >= 1.0 && millionths < f64::from(ONE) {
            Ok(Self(millionths as u32))
        } else {
            Err(FractionError(number))
        }
    }

    /// In millionths, 1 to 999,999.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// One minus the fraction, in millionths.
    pub const fn complement_millionths(self) -> u32 {
        ONE - self.0
    }

    fn number(self) -> f64 {
        f64::from(self.0) / f64::from(ONE)
    }
}

/// As a number: `0.99`.
impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.number())
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Fraction {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        // A mirror of a Route has a `Fraction` of two numbers.
        "DecimalFraction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "A fraction above 0 and below 1, with at most six decimals."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_printed_as_it_was_written() {
        for (number, text) in [(0.99, "0.99"), (0.999, "0.999"), (0.5, "0.5"), (0.999_999, "0.999999")] {
            let fraction = Fraction::of(number).expect("a fraction");
            assert_eq!((fraction.to_string().as_str(), fraction.number()), (text, number));
        }
    }

    #[test]
    fn numbers_outside_of_the_range_are_refused() {
        for number in [0.0, 1.0, -0.5, 99.0, 0.999_999_9, f64::NAN, f64::INFINITY] {
            assert!(Fraction::of(number).is_err(), "{number}");
        }
    }
}
