//! Measured quantities, each with its unit in its type.

use std::fmt;
use std::time::Duration;

/// Processor share in thousandths of one core: 1000 is one core fully used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliCpu(pub u64);

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A rate in thousandths of a request per second: whole numbers, so that sums do not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliRps(pub u64);

impl MilliCpu {
    /// The mean share over `window` in which `used` processor time was spent; zero for an empty window.
    pub fn mean(used: Duration, window: Duration) -> Self {
        let window_us = window.as_micros();
        if window_us == 0 {
            return Self(0);
        }
        Self(u64::try_from(used.as_micros() * 1000 / window_us).unwrap_or(u64::MAX))
    }
}

impl MilliRps {
    /// The mean rate of `requests` within `window`; zero for an empty window.
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
    fn means_keep_three_digits_behind_the_point() {
        assert_eq!(MilliCpu::mean(Duration::from_millis(125), Duration::from_secs(2)), MilliCpu(62));
        assert_eq!(MilliRps::mean(1, Duration::from_secs(2)), MilliRps(500));
    }
}
