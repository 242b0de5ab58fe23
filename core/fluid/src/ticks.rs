//! Resamples the rows of a trace to the load of each tick, one row after the other.
//!
//! Rows at most a minute apart are constant over their interval, and a tick is the mean of them; rows further apart are interpolated linearly
//! between the middles of their intervals. Irregular rows are first put on a grid: missing rows are interpolated linearly, rows in the
//! same interval are averaged.

use std::time::Duration;

use thiserror::Error;

/// Rows further apart than this are interpolated: constant, they would be steps that no real load has.
const CONSTANT_MAX: Duration = Duration::from_secs(60);

/// The longest gap between rows.
///
/// 31 days: nothing is known of a longer gap, and a typing error in a date would otherwise be simulated for years.
pub const GAP_MAX: Duration = Duration::from_hours(31 * 24);

/// The largest load, in requests a second.
///
/// 10¹⁵: a million times the load of the largest sites together, and small enough that no sum over a billion ticks overflows to infinity.
pub const LOAD_MAX: f64 = 1e15;

/// Resamples rows to ticks.
#[derive(Clone, Debug)]
pub struct Ticks {
    interval_ms: u64,
    intervals_max: u64,
    resampler: Resampler,
    first_at_ms: i64,
    /// The interval of the latest row.
    open: Option<OpenInterval>,
    repairs: GridRepairs,
}

/// An interval to which rows may still be added.
#[derive(Clone, Copy, Debug)]
struct OpenInterval {
    slot: u64,
    sum: f64,
    rows: u32,
}

/// The repairs that put the rows on a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GridRepairs {
    /// Accepted rows.
    pub rows: u64,
    /// Gaps between rows.
    pub gaps: u64,
    /// Intervals without rows in all gaps.
    pub filled: u64,
    /// Rows in the interval of an earlier row.
    pub merged: u64,
}

/// Why a row was refused. The ticks before it stay valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RowError {
    /// A gap of more than [`GAP_MAX`].
    #[error("no row for {} days before it; cut the trace there and simulate its parts one by one", .gap.as_secs() / 86_400)]
    Gap {
        /// The length of the gap.
        gap: Duration,
    },
    /// Its time is not after that of the row before.
    #[error("its time is not after that of the row before; sort the rows and keep one for each time")]
    Order,
    /// Negative, infinite or not a number.
    #[error("its value is not a load; write a number of zero or more")]
    Value,
    /// The trace has more intervals than [`Ticks::at_most`] allows.
    #[error(
        "up to here there are more than {intervals_max} intervals, those without rows included; cut the trace, or sum its rows over longer intervals"
    )]
    Long {
        /// The most intervals.
        intervals_max: u64,
    },
    /// More than [`LOAD_MAX`].
    #[error(
        "its value is more than {LOAD_MAX:e} requests a second, which is not a plausible load; check its unit, and --scale-load"
    )]
    Large,
}

impl Ticks {
    /// Resamples rows that cover `interval` each to ticks of length `tick`; both are at least 1 ms.
    pub fn new(interval: Duration, tick: Duration) -> Self {
        let interval_ms = millis(interval);
        let tick_ms = millis(tick);
        let resampler = if interval > CONSTANT_MAX {
            Resampler::Linear { interval_ms, tick_ms, count: 0, ticks: 0, previous: 0.0 }
        } else {
            Resampler::Constant { interval_ms, tick_ms, sum: 0.0, covered_ms: 0, ticks: 0 }
        };
        let repairs = GridRepairs::default();
        Self { interval_ms, intervals_max: u64::MAX, resampler, first_at_ms: 0, open: None, repairs }
    }

    /// Refuses rows beyond the first `intervals_max` intervals, those without rows included: for callers that keep all ticks.
    #[must_use]
    pub fn at_most(mut self, intervals_max: u64) -> Self {
        self.intervals_max = intervals_max;
        self
    }

    /// Adds the row of the interval that begins at `at_ms`, in milliseconds since 1970, with its mean load in requests a second. Calls
    /// `out` with the load of each tick that is complete.
    pub fn push(&mut self, at_ms: i64, rate: f64, out: &mut impl FnMut(f64)) -> Result<(), RowError> {
        if !(rate >= 0.0 && rate.is_finite()) {
            return Err(RowError::Value);
        }
        if rate > LOAD_MAX {
            return Err(RowError::Large);
        }
        let Some(open) = self.open else {
            self.first_at_ms = at_ms;
            self.open = Some(OpenInterval { slot: 0, sum: rate, rows: 1 });
            self.repairs.rows = 1;
            return Ok(());
        };
        let since_first =
            u64::try_from(at_ms.saturating_sub(self.first_at_ms)).map_err(|_| RowError::Order)?;
        let slot = (since_first + self.interval_ms / 2) / self.interval_ms;
        let missing = slot.checked_sub(open.slot).ok_or(RowError::Order)?.saturating_sub(1);
        let gap = Duration::from_millis(missing.saturating_mul(self.interval_ms));
        if gap > GAP_MAX {
            return Err(RowError::Gap { gap });
        }
        if slot >= self.intervals_max {
            return Err(RowError::Long { intervals_max: self.intervals_max });
        }
        self.repairs.rows += 1;
        if slot == open.slot {
            self.repairs.merged += 1;
            self.open = Some(OpenInterval { sum: open.sum + rate, rows: open.rows + 1, ..open });
            return Ok(());
        }
        self.close(open, rate, missing, out);
        self.open = Some(OpenInterval { slot, sum: rate, rows: 1 });
        Ok(())
    }

    /// Calls `out` with the load of the remaining ticks, and returns the repairs.
    pub fn finish(mut self, out: &mut impl FnMut(f64)) -> GridRepairs {
        if let Some(open) = self.open.take() {
            self.resampler.push(open.mean(), out);
        }
        self.resampler.finish(out);
        self.repairs
    }

    /// Closes an interval, and fills the `missing` intervals up to the one whose row is `next`.
    fn close(&mut self, open: OpenInterval, next: f64, missing: u64, out: &mut impl FnMut(f64)) {
        let mean = open.mean();
        self.resampler.push(mean, out);
        if missing > 0 {
            self.repairs.gaps += 1;
            self.repairs.filled += missing;
        }
        for filled in 1..=missing {
            let part = filled as f64 / (missing + 1) as f64;
            self.resampler.push(mean + (next - mean) * part, out);
        }
    }
}

impl OpenInterval {
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.rows)
    }
}

/// Resamples the intervals of a grid to ticks.
#[derive(Clone, Debug)]
enum Resampler {
    /// The load is constant over each interval.
    Constant { interval_ms: u64, tick_ms: u64, sum: f64, covered_ms: u64, ticks: u64 },
    /// The load is interpolated linearly between the middles of the intervals.
    Linear { interval_ms: u64, tick_ms: u64, count: u64, ticks: u64, previous: f64 },
}

impl Resampler {
    fn push(&mut self, rate: f64, out: &mut impl FnMut(f64)) {
        match self {
            Self::Constant { interval_ms, tick_ms, sum, covered_ms, ticks } => {
                let mut left = *interval_ms;
                while left > 0 {
                    let part = left.min(*tick_ms - *covered_ms);
                    *sum += rate * part as f64;
                    *covered_ms += part;
                    left -= part;
                    if *covered_ms == *tick_ms {
                        out(*sum / *tick_ms as f64);
                        *ticks += 1;
                        (*sum, *covered_ms) = (0.0, 0);
                    }
                }
            }
            Self::Linear { interval_ms, tick_ms, count, ticks, previous } => {
                // In half milliseconds, so that the middles are whole numbers.
                let middle = (2 * *count + 1) * *interval_ms;
                let from = if *count == 0 { rate } else { *previous };
                while (2 * *ticks + 1) * *tick_ms <= middle {
                    let remaining = (middle - (2 * *ticks + 1) * *tick_ms) as f64 / (2 * *interval_ms) as f64;
                    out(rate + (from - rate) * remaining);
                    *ticks += 1;
                }
                *previous = rate;
                *count += 1;
            }
        }
    }

    /// Drops a tick that is covered in part only, unless it is the only one.
    fn finish(self, out: &mut impl FnMut(f64)) {
        match self {
            Self::Constant { sum, covered_ms, ticks: 0, .. } if covered_ms > 0 => {
                out(sum / covered_ms as f64);
            }
            Self::Constant { .. } => {}
            Self::Linear { interval_ms, tick_ms, count, ticks, previous } => {
                let left = (count * interval_ms / tick_ms).saturating_sub(ticks);
                (0..left).for_each(|_| out(previous));
            }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}
