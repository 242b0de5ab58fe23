//! The service under a policy: what a replica carries, how long it takes to start, what breaks the promise.

use std::time::Duration;

use model::resource::Bounds;
use thiserror::Error;

/// A service as the model knows it. [`Service::with_capacity`] has the defaults of the published figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// How long a tick lasts, 1 s to 1 h. Default 15 s, the period of Kubernetes' autoscaler.
    pub tick: Duration,
    /// What one replica carries at most.
    pub capacity: Capacity,
    /// The share of the capacity that is to be used; [`Service::demand`] counts with it. Default 0.7.
    pub target: Share,
    /// Fewest and most replicas. Default 1 to 200.
    pub bounds: Bounds,
    /// From a start to the first request that is served. Default 60 s; counted in whole ticks, rounded up.
    pub start_up: Duration,
    /// Waiting work beyond so much of the present capacity is dropped. Default 10 s.
    pub queue_max: Duration,
    /// The promise is broken while more than so much work waits at the end of a tick. Default 500 ms.
    pub wait_max: Duration,
    /// A tick whose load is above this share of the capacity counts as hot. Default 0.85.
    pub hot: Share,
}

/// The beginning of a trace that is not counted when the trace is longer than [`WARM_UP_OF`]: policies that look back a day need one.
const WARM_UP: Duration = Duration::from_hours(24);
/// See [`WARM_UP`].
const WARM_UP_OF: Duration = Duration::from_hours(48);

/// Requests a second, above 0 and finite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Capacity(f64);

/// A part of a whole, above 0 and at most 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

/// Why a number is no [`Capacity`] or no [`Share`].
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum OutOfRange {
    /// No capacity.
    #[error("a replica cannot carry {0} requests a second; the capacity is a number above 0")]
    Capacity(f64),
    /// No share.
    #[error("{0} is no share; write a number above 0 and at most 1")]
    Share(f64),
}

impl Capacity {
    /// Takes requests a second.
    pub fn per_second(rate: f64) -> Result<Self, OutOfRange> {
        if rate > 0.0 && rate.is_finite() { Ok(Self(rate)) } else { Err(OutOfRange::Capacity(rate)) }
    }

    /// Requests a second.
    pub fn rate(self) -> f64 {
        self.0
    }
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(1.0);

    /// Takes a part of one.
    pub fn of(part: f64) -> Result<Self, OutOfRange> {
        if part > 0.0 && part <= 1.0 { Ok(Self(part)) } else { Err(OutOfRange::Share(part)) }
    }

    /// The part of one.
    pub fn part(self) -> f64 {
        self.0
    }
}

impl Service {
    /// A service whose replicas carry `capacity` each, all else as in the published figures.
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

    /// The fewest replicas that carry `load`, in requests a second, at the target; within the bounds.
    pub fn demand(&self, load: f64) -> u32 {
        self.replicas_for(load, self.target)
    }

    /// The fewest replicas that carry `load`, in requests a second, when the share `used` of each is used; within the bounds, and the
    /// fewest for a load that is no number.
    pub fn replicas_for(&self, load: f64, used: Share) -> u32 {
        // A billionth of a replica is rounding, not load.
        let replicas = (load / (used.0 * self.capacity.0) - 1e-9).ceil();
        // The cast holds at the ends of the range and takes no number for 0.
        self.within_bounds(replicas as u32)
    }

    /// The number of replicas within the bounds that is nearest to `replicas`.
    pub fn within_bounds(&self, replicas: u32) -> u32 {
        replicas.clamp(self.bounds.min, self.bounds.max.max(self.bounds.min))
    }

    /// Whether `tick` lies in the time that is not counted when [`Self::is_warm_up_left_out`].
    pub fn is_in_warm_up(&self, tick: u64) -> bool {
        self.tick.as_secs_f64() * (tick as f64) < WARM_UP.as_secs_f64()
    }

    /// Whether a trace of so many ticks is long enough to leave the first day out.
    pub fn is_warm_up_left_out(&self, ticks: u64) -> bool {
        self.tick.as_secs_f64() * ticks as f64 > WARM_UP_OF.as_secs_f64()
    }

    /// Ticks from a start until the replica is ready.
    pub fn start_up_ticks(&self) -> u64 {
        self.ticks_in(self.start_up)
    }

    /// Ticks that cover `span`, rounded up.
    pub fn ticks_in(&self, span: Duration) -> u64 {
        let ticks = span.as_millis().div_ceil(self.tick.as_millis().max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// The capacity with which `peak` replicas carry `load`, in requests a second, at `target`.
///
/// The published figures take the 99th percentile of the load of all ticks and 40 replicas.
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
