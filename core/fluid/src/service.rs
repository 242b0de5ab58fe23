//! The service that a policy scales: its capacity, start-up time and SLO.

use std::time::Duration;

use model::resource::Bounds;
use thiserror::Error;

/// A service in the model. [`Service::with_capacity`] has the defaults of the published figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// How long a tick lasts, 1 s to 1 h. Default 15 s, the period of Kubernetes' autoscaler.
    pub tick: Duration,
    /// The capacity of one replica.
    pub capacity: Capacity,
    /// The target utilization, 0.01 to 1, which [`Service::demand`] is based on. Default 0.7.
    pub target: Share,
    /// The minimum and maximum of replicas. Default 1 to 200.
    pub bounds: Bounds,
    /// The time from a start to the first served request. Default 60 s; in whole ticks, rounded up.
    pub start_up: Duration,
    /// Queued work beyond this time at the present capacity is dropped. Default 10 s.
    pub queue_max: Duration,
    /// The SLO is violated in a tick that ends with more queued work than this time at the present capacity. Default 500 ms.
    pub wait_max: Duration,
    /// A tick whose load is above this share of the capacity is hot. Default 0.85.
    pub hot: Share,
}

/// The beginning of a trace that is not scored, because some policies look back a day.
const WARM_UP: Duration = Duration::from_hours(24);
/// Traces up to this length are scored from their beginning.
const SHORT_TRACE_MAX: Duration = Duration::from_hours(48);

/// Requests a second, above 0 and finite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Capacity(f64);

/// A part of a whole, above 0 and at most 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

/// Why a number is not a valid [`Capacity`] or [`Share`].
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum OutOfRange {
    /// Not a capacity.
    #[error("a replica cannot carry {0} requests a second; the capacity is a number above 0")]
    Capacity(f64),
    /// Not a share.
    #[error("{0} is not a share; write a number above 0 and at most 1")]
    Share(f64),
}

impl Capacity {
    /// A capacity of `rate` requests a second.
    pub fn per_second(rate: f64) -> Result<Self, OutOfRange> {
        if rate > 0.0 && rate.is_finite() { Ok(Self(rate)) } else { Err(OutOfRange::Capacity(rate)) }
    }

    /// Requests a second.
    pub fn rate(self) -> f64 {
        self.0
    }
}

impl Share {
    /// 100 %.
    pub const WHOLE: Self = Self(1.0);

    /// The share `part`, where 1 is the whole.
    pub fn of(part: f64) -> Result<Self, OutOfRange> {
        if part > 0.0 && part <= 1.0 { Ok(Self(part)) } else { Err(OutOfRange::Share(part)) }
    }

    /// The share as a number, where 1 is the whole.
    pub fn part(self) -> f64 {
        self.0
    }
}

impl Service {
    /// A service whose replicas have this capacity, all else as in the published figures.
    pub fn with_capacity(capacity: Capacity) -> Self {
        Self {
            tick: Duration::from_secs(15),
            capacity,
            target: Share(0.7),
            bounds: Bounds { min: 1, max: 200 },
            start_up: Duration::from_secs(60),
            queue_max: Duration::from_secs(10),
            wait_max: Duration::from_millis(500),
            hot: Share(0.85),
        }
    }

    /// The fewest replicas for `load`, in requests a second, at the target utilization; within the bounds.
    pub fn demand(&self, load: f64) -> u32 {
        self.replicas_for(load, self.target)
    }

    /// The fewest replicas for `load`, in requests a second, when the share `used` of each is used; within the bounds. The minimum
    /// for NaN.
    pub fn replicas_for(&self, load: f64, used: Share) -> u32 {
        // A billionth of a replica is a rounding error, not load.
        let replicas = (load / (used.0 * self.capacity.0) - 1e-9).ceil();
        // The cast saturates, and turns NaN into 0.
        self.within_bounds(replicas as u32)
    }

    /// The number of replicas within the bounds that is nearest to `replicas`.
    pub fn within_bounds(&self, replicas: u32) -> u32 {
        replicas.clamp(self.bounds.min, self.bounds.max.max(self.bounds.min))
    }

    /// Whether `tick` lies in the time that is not scored when [`Self::is_warm_up_excluded`].
    pub fn is_in_warm_up(&self, tick: u64) -> bool {
        self.tick.as_secs_f64() * (tick as f64) < WARM_UP.as_secs_f64()
    }

    /// Whether a trace of `ticks` is long enough to exclude the first day from its score.
    pub fn is_warm_up_excluded(&self, ticks: u64) -> bool {
        self.tick.as_secs_f64() * ticks as f64 > SHORT_TRACE_MAX.as_secs_f64()
    }

    /// Ticks from a start until the replica is ready.
    pub fn start_up_ticks(&self) -> u64 {
        self.ticks_in(self.start_up)
    }

    /// The number of ticks that `span` takes, rounded up.
    pub fn ticks_in(&self, span: Duration) -> u64 {
        let ticks = span.as_millis().div_ceil(self.tick.as_millis().max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// The capacity of a replica with which `load`, in requests a second, needs `peak` replicas at `target`.
///
/// The published figures use the 99th percentile of the load of all ticks, and 40 replicas.
pub fn capacity_for(load: f64, peak: u32, target: Share) -> Result<Capacity, OutOfRange> {
    Capacity::per_second(load / (target.0 * f64::from(peak)))
}

/// The quantile `part` of `loads`, interpolated linearly between ranks; `None` without loads. Sorts them.
///
/// Source: Hyndman and Fan 1996, type 7, which is the default of numpy and of R.
pub fn quantile(loads: &mut [f64], part: f64) -> Option<f64> {
    let last = loads.len().checked_sub(1)?;
    loads.sort_unstable_by(f64::total_cmp);
    let rank = part.clamp(0.0, 1.0) * last as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(last);
    Some(loads[below] + (loads[above] - loads[below]) * (rank - below as f64))
}
