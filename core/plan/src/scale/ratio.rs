//! The ratio of a measurement to its target, and the tolerance.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/metrics/utilization.go` and `replica_calculator.go` (`Tolerances`).

use super::reading::Milli;

/// How far the ratio may be from 1 without a change; both at least 0, as fractions.
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
    /// A share of the requests of the replicas, in per cent; at least 1.
    Utilization(i64),
    /// An amount for each replica; above 0.
    Average(Milli),
}

/// Sums over replicas, from which the ratio follows.
///
/// Wide enough that no sum over [`REPLICAS_MAX`](model::resource::REPLICAS_MAX) replicas of any 64-bit amount, times 100, overflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many replicas.
    pub count: u32,
    /// Their usage.
    pub used: i128,
    /// Their requests; only used for utilization.
    pub requested: i128,
}

/// The mean of a measurement over the replicas that count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The usage of a replica, truncated to a whole thousandth.
    pub average: Milli,
    /// Usage ÷ request in per cent, truncated to a whole one **before** the ratio is taken, as Kubernetes does. `None` for targets that are
    /// amounts.
    pub utilization: Option<i64>,
    /// Measured ÷ target.
    pub ratio: f64,
    /// The total of the service; `None` for per-replica metrics.
    pub total: Option<Milli>,
}

impl Level {
    /// The measured value: per cent, the mean, or the total.
    pub fn whole(&self) -> Milli {
        self.total.unwrap_or_else(|| self.value())
    }

    /// [`Self::whole`] as a number in its unit.
    pub fn measured(&self) -> f64 {
        self.whole().0 as f64 / 1000.0
    }

    /// The value that is compared to the target: per cent, or the amount.
    pub fn value(&self) -> Milli {
        self.utilization.map_or(self.average, |percent| Milli(percent.saturating_mul(1000)))
    }
}

impl Tolerance {
    /// Whether `ratio` needs no change; both ends included. Never for `NaN`.
    pub fn includes(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

impl Sums {
    /// Adds a replica that uses `used` of its request `requested`.
    pub fn add(&mut self, used: Milli, requested: Milli) {
        self.count += 1;
        self.used += i128::from(used.0);
        self.requested += i128::from(requested.0);
    }

    /// Both sums together.
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

    /// The level compared to `target`; `None` without replicas, or for a utilization without requests.
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
/// 0 for `NaN`.
pub fn replicas_ceil(replicas: f64) -> u32 {
    // The cast saturates; only negative numbers need to be clamped.
    (replicas.ceil() as i32).max(0).cast_unsigned()
}

fn as_milli(amount: i128) -> Milli {
    Milli(i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX }))
}

fn as_i32(number: i128) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}
