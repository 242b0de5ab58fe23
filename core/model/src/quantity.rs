//! Measured quantities, each with its unit in its type.

use std::fmt;
use std::time::Duration;

/// A CPU share in thousandths of a core: 1000 is one fully used core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliCpu(pub u64);

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A rate in thousandths of a request per second. Whole numbers, so that sums do not depend on the order of addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliRps(pub u64);

/// A measured amount in thousandths of its unit: millicores, thousandths of a byte or of a request per second.
///
/// Whole numbers, as in Kubernetes, so that sums do not depend on the order of addition. May be negative, as some series are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Milli(pub i64);

/// A number of replicas for messages: `1 replica`, `4 replicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas(pub u32);

impl Replicas {
    /// The number followed by the verb, such as `3 replicas are`.
    pub fn are(self) -> String {
        format!("{self} {}", if self.0 == 1 { "is" } else { "are" })
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} replica{ending}", self.0)
    }
}

/// Why a number cannot be an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// It is not a number.
    #[error("NaN is not a number")]
    NotANumber,
    /// It is infinite.
    #[error("infinity is not a number to scale by")]
    Infinite,
    /// Its thousandths do not fit in 64 bits.
    #[error("it is beyond 9223372036854775, the largest amount")]
    TooLarge,
}

impl Milli {
    /// The sum; saturates.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `amount` rounded to the nearest thousandth, halves away from zero.
    pub fn nearest(amount: f64) -> Result<Self, AmountError> {
        // The first whole number of thousandths that does not fit; exact, as all powers of two are.
        const BEYOND: f64 = 9_223_372_036_854_775_808.0;
        let milli = (amount * 1000.0).round();
        if amount.is_nan() {
            Err(AmountError::NotANumber)
        } else if amount.is_infinite() {
            Err(AmountError::Infinite)
        } else if (-BEYOND..BEYOND).contains(&milli) {
            Ok(Self(milli as i64))
        } else {
            Err(AmountError::TooLarge)
        }
    }
}

impl MilliCpu {
    /// The mean share over `window` when `used` CPU time was spent in it; zero for an empty window.
    pub fn mean(used: Duration, window: Duration) -> Self {
        let window_us = window.as_micros();
        if window_us == 0 {
            return Self(0);
        }
        Self(u64::try_from(used.as_micros() * 1000 / window_us).unwrap_or(u64::MAX))
    }
}

impl MilliRps {
    /// The mean rate of `requests` over `window`; zero for an empty window.
    pub fn mean(requests: u64, window: Duration) -> Self {
        let window_ms = window.as_millis();
        if window_ms == 0 {
            return Self(0);
        }
        Self(u64::try_from(u128::from(requests) * 1_000_000 / window_ms).unwrap_or(u64::MAX))
    }

    /// Requests per second.
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// As a Kubernetes quantity: whole units, or thousandths with suffix `m`.
impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % 1000 == 0 { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["", "Ki", "Mi", "Gi", "Ti"];
        let mut unit = 0;
        let mut value = self.0 as f64;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        if unit == 0 { write!(f, "{}", self.0) } else { write!(f, "{value:.1}{}", UNITS[unit]) }
    }
}

impl fmt::Display for MilliRps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}/s", self.per_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_over_an_empty_window_is_zero() {
        assert_eq!(MilliCpu::mean(Duration::from_secs(1), Duration::ZERO), MilliCpu(0));
        assert_eq!(MilliRps::mean(7, Duration::ZERO), MilliRps(0));
    }

    #[test]
    fn means_have_three_decimals() {
        assert_eq!(MilliCpu::mean(Duration::from_millis(125), Duration::from_secs(2)), MilliCpu(62));
        assert_eq!(MilliRps::mean(1, Duration::from_secs(2)), MilliRps(500));
    }

    #[test]
    fn an_amount_is_rounded_to_the_nearest_thousandth() {
        for (amount, milli) in
            [(0.0, 0), (1.0004, 1000), (1.0006, 1001), (-2.5, -2500), (9e15, 9_000_000_000_000_000_000)]
        {
            assert_eq!(Milli::nearest(amount), Ok(Milli(milli)), "{amount}");
        }
    }

    #[test]
    fn values_that_are_not_amounts_are_refused() {
        for (amount, why) in [
            (f64::NAN, AmountError::NotANumber),
            (f64::INFINITY, AmountError::Infinite),
            (f64::NEG_INFINITY, AmountError::Infinite),
            (1e300, AmountError::TooLarge),
            (-1e300, AmountError::TooLarge),
            (9.3e15, AmountError::TooLarge),
        ] {
            assert_eq!(Milli::nearest(amount), Err(why), "{amount}");
        }
    }
}
