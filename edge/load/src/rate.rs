//! Request rates, and factors that scale them.

use std::str::FromStr;

use thiserror::Error;

/// Requests per second; finite and between 0 and [`Rate::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// Why a number is not a [`Rate`]. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RateError {
    /// The text is not a number.
    #[error("a rate is a number of requests per second, such as 250; got {text:?}")]
    NotANumber {
        /// The given value.
        text: String,
    },
    /// Negative, infinite, not a number, or more than [`Rate::MAX`].
    #[error("a rate is between 0 and {} requests per second; got {value}", Rate::MAX.0)]
    OutOfRange {
        /// The given value.
        value: f64,
    },
}

impl Rate {
    /// No requests at all.
    pub const ZERO: Self = Self(0.0);

    /// The highest rate.
    ///
    /// 1,000,000/s is twenty-five times what the generator can send (about 40,000/s on one core): a
    /// higher number is a mistake in the unit.
    pub const MAX: Self = Self(1_000_000.0);

    /// Returns the rate of `value` requests per second.
    pub fn per_second(value: f64) -> Result<Self, RateError> {
        if (0.0..=Self::MAX.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(RateError::OutOfRange { value })
        }
    }

    /// Returns the rate as a bare number of requests per second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let value = text.trim().parse().map_err(|_| RateError::NotANumber { text: excerpt(text) })?;
        Self::per_second(value)
    }
}

/// A positive multiplier: how much faster a trace runs, or how much taller it becomes.
///
/// Between 10⁻⁶ and 10⁶; 1 changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Factor(f64);

/// Why a number is not a [`Factor`]. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("a factor is a number between {} and {}, such as 60; got {text:?}", Factor::MIN.0, Factor::MAX.0)]
pub struct FactorError {
    text: String,
}

impl Factor {
    /// Changes nothing.
    pub const ONE: Self = Self(1.0);

    /// The smallest factor: a trace a million times slower or smaller is useless.
    pub const MIN: Self = Self(1e-6);

    /// The largest factor: eleven days in a second.
    pub const MAX: Self = Self(1e6);

    /// Returns the factor `value`, if it is one.
    pub fn new(value: f64) -> Result<Self, FactorError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(FactorError { text: value.to_string() })
        }
    }

    /// Returns the factor as a bare number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Factor {
    type Err = FactorError;

    fn from_str(text: &str) -> Result<Self, FactorError> {
        let refused = || FactorError { text: excerpt(text) };
        Self::new(text.trim().parse().map_err(|_| refused())?).map_err(|_| refused())
    }
}

/// The most characters of an input that an error repeats: enough to find it, and at most one terminal line.
const EXCERPT_CHARS_MAX: usize = 40;

/// Returns the beginning of an input, short enough to repeat in an error.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(EXCERPT_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_finite_and_not_negative() {
        for bad in [-0.1, f64::NAN, f64::INFINITY, 1_000_000.1] {
            assert!(matches!(Rate::per_second(bad), Err(RateError::OutOfRange { .. })), "{bad}");
        }
        assert_eq!("250".parse(), Rate::per_second(250.0));
        assert!(matches!("many".parse::<Rate>(), Err(RateError::NotANumber { .. })));
    }

    #[test]
    fn a_factor_is_positive() {
        for bad in ["0", "-1", "NaN", "inf", "", "1e9"] {
            assert!(bad.parse::<Factor>().is_err(), "{bad}");
        }
        assert_eq!("60".parse(), Factor::new(60.0));
    }

    #[test]
    fn an_excerpt_is_bounded_and_keeps_characters_whole() {
        let long = "é".repeat(1000);
        assert_eq!(excerpt(&long).chars().count(), EXCERPT_CHARS_MAX + 1);
        assert_eq!(excerpt("short"), "short");
    }
}
