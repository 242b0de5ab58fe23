//! How far a measurement is from its target, and when that is far enough.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/metrics/utilization.go` and `replica_calculator.go` (`Tolerances`).

use super::reading::Milli;

/// How far the ratio may be from 1 without a change; both at least 0, as parts of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above 1.
    pub up: f64,
    /// Below 1.
    pub down: f64,
}

/// The target of a per-replica metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricTarget {
    /// A share of what the replicas have asked for, in per cent; at least 1.
    Utilization(i64),
    /// So much for each replica; above 0.
    Average(Milli),
}

/// Sums over replicas, from which the ratio follows.
///
/// Wide enough that no sum over [`REPLICAS_MAX`](model::resource::REPLICAS_MAX) replicas of any 64-bit amount, times 100, overflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many replicas.
    pub count: u32,
    /// What they use.
    pub used: i128,
    /// What they have asked for; only utilization looks at it.
    pub requested: i128,
}

/// The mean of a measurement over the replicas that count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Used by a replica, cut off to a whole thousandth.
    pub average: Milli,
    /// Used of what was asked for, in per cent, cut off to a whole one **before** the ratio is taken, as Kubernetes does.
    /// `None` for targets that are amounts.
    pub utilization: Option<i64>,
    /// Measured ÷ aimed at.
    pub ratio: f64,
    /// What all replicas share; `None` for what is measured of each.
    pub total: Option<Milli>,
}

impl Level {
    /// What was measured: per cent, the mean, or the total.
    pub fn whole(&self) -> Milli {
        self.total.unwrap_or_else(|| self.value())
    }

    /// [`Self::whole`] as a number in its unit.
    pub fn measured(&self) -> f64 {
        self.whole().0 as f64 / 1000.0
    }

    /// The number that is compared to the target: per cent, the mean, or the total.
    pub fn value(&self) -> Milli {
        self.utilization.map_or(self.average, |percent| Milli(percent.saturating_mul(1000)))
    }
}

impl Tolerance {
    /// Whether `ratio` calls for no change; both ends included. Never for a ratio that is no number.
    pub fn includes(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

impl Sums {
    /// Adds a replica that uses `used` of the `requested` that it asked for.
    pub fn add(&mut self, used: Milli, requested: Milli) {
        self.count += 1;
        self.used += i128::from(used.0);
        self.requested += i128::from(requested.0);
    }

    /// These and those.
    pub fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            used: self.used + other.used,
            requested: self.requested + other.requested,
        }
    }

    /// The same replicas, using nothing.
    pub fn idle(self) -> Self {
        Self { used: 0, ..self }
    }

    /// How far these are from `target`; `None` without replicas, or without anything asked for where a share of it is aimed at.
    pub fn level(self, target: MetricTarget) -> Option<Level> {
        let average = self.used.checked_div(i128::from(self.count))?;
        let (utilization, ratio) = match target {
            MetricTarget::Utilization(percent) => {
                let utilization = i64::from(as_i32((self.used * 100).checked_div(self.requested)?));
                (Some(utilization), utilization as f64 / percent as f64)
            }
            MetricTarget::Average(target) => (None, average as f64 / target.0 as f64),
        };
        Some(Level { average: as_milli(average), utilization, ratio, total: None })
    }
}

/// The least whole number of replicas that is not below `replicas`, from 0 to `i32::MAX`: Kubernetes counts in 32 bits.
/// 0 for what is no number.
pub fn replicas_ceil(replicas: f64) -> u32 {
    // The cast holds at the ends of the range; only a negative number is left to be refused.
    (replicas.ceil() as i32).max(0).cast_unsigned()
}

fn as_milli(amount: i128) -> Milli {
    Milli(i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX }))
}

fn as_i32(number: i128) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}
