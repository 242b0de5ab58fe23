//! From the rows of a trace to the load of each tick, one row after the other.
//!
//! Rows at most a minute apart are held constant, and their mean is taken over each tick; rows further apart are joined by straight lines
//! between the middles of their intervals. A trace that is no grid is made one: rows that are missing lie on a straight line, rows that
//! fall into the same interval are averaged.

use std::time::Duration;

use thiserror::Error;

/// Rows further apart than this are joined by lines: held constant they would be steps that no load has.
const HELD_MAX: Duration = Duration::from_secs(60);

/// The longest gap between rows.
///
/// 31 days: a month that was not recorded says nothing, and a slip in a date would otherwise be simulated for years.
pub const GAP_MAX: Duration = Duration::from_hours(31 * 24);

/// The largest load, in requests a second.
///
/// 10¹⁵: a million times what the largest sites of the world have together, and small enough that no sum over a billion ticks is rounded to infinity.
pub const LOAD_MAX: f64 = 1e15;

/// Makes ticks of rows.
#[derive(Clone, Debug)]
pub struct Ticks {
    interval_ms: u64,
    cells: Cells,
    first_at_ms: i64,
    /// The interval that the latest row fell into.
    open: Option<OpenInterval>,
    repairs: GridRepairs,
}

/// An interval that may still get rows.
#[derive(Clone, Copy, Debug)]
struct OpenInterval {
    slot: u64,
    sum: f64,
    rows: u32,
}

/// The repairs that made a grid of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GridRepairs {
    /// Rows taken.
    pub rows: u64,
    /// Gaps between rows.
    pub gaps: u64,
    /// Intervals without rows, in all.
    pub filled: u64,
    /// Rows that fell into the interval of another one.
    pub merged: u64,
}

/// Why a row cannot be taken. The ticks so far stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RowFault {
    /// A gap of more than [`GAP_MAX`].
    #[error("no row for {} days before it; cut the trace there and simulate its parts one by one", .gap.as_secs() / 86_400)]
    Gap {
        /// How long.
        gap: Duration,
    },
    /// Not after the row before.
    #[error("its time is not after that of the row before; sort the rows and keep one a time")]
    Order,
    /// Negative, infinite or no number.
    #[error("its value is no load; write a number of zero or more")]
    Value,
    /// More than [`LOAD_MAX`].
    #[error(
        "its value is more than {LOAD_MAX:e} requests a second, which is no load; look at its unit, and at --scale-load"
    )]
    Large,
}

impl Ticks {
    /// Takes rows that stand for `interval` each, at least 1 ms, and makes ticks of at least 1 ms.
    pub fn new(interval: Duration, tick: Duration) -> Self {
        let interval_ms = millis(interval);
        let tick_ms = millis(tick);
        let cells = if interval > HELD_MAX {
            Cells::Joined { interval_ms, tick_ms, count: 0, ticks: 0, before: 0.0 }
        } else {
            Cells::Held { interval_ms, tick_ms, sum: 0.0, covered_ms: 0, ticks: 0 }
        };
        Self { interval_ms, cells, first_at_ms: 0, open: None, repairs: GridRepairs::default() }
    }

    /// Takes the row of the interval that begins at `at_ms`, in milliseconds since 1970, with its mean load in requests a second. Passes on
    /// the load of each tick that is known by now.
    pub fn push(&mut self, at_ms: i64, rate: f64, out: &mut impl FnMut(f64)) -> Result<(), RowFault> {
        if !(rate >= 0.0 && rate.is_finite()) {
            return Err(RowFault::Value);
        }
        if rate > LOAD_MAX {
            return Err(RowFault::Large);
        }
        let Some(open) = self.open else {
            self.first_at_ms = at_ms;
            self.open = Some(OpenInterval { slot: 0, sum: rate, rows: 1 });
            self.repairs.rows = 1;
            return Ok(());
        };
        let since_first =
            u64::try_from(at_ms.saturating_sub(self.first_at_ms)).map_err(|_| RowFault::Order)?;
        let slot = (since_first + self.interval_ms / 2) / self.interval_ms;
        let missing = slot.checked_sub(open.slot).ok_or(RowFault::Order)?.saturating_sub(1);
        let gap = Duration::from_millis(missing.saturating_mul(self.interval_ms));
        if gap > GAP_MAX {
            return Err(RowFault::Gap { gap });
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

    /// Passes on the load of the remaining ticks, and returns the repairs.
    pub fn finish(mut self, out: &mut impl FnMut(f64)) -> GridRepairs {
        if let Some(open) = self.open.take() {
            self.cells.take(open.mean(), out);
        }
        self.cells.finish(out);
        self.repairs
    }

    /// Ends an interval and fills those without rows up to one that begins with `next`.
    fn close(&mut self, open: OpenInterval, next: f64, missing: u64, out: &mut impl FnMut(f64)) {
        let mean = open.mean();
        self.cells.take(mean, out);
        if missing > 0 {
            self.repairs.gaps += 1;
            self.repairs.filled += missing;
        }
        for filled in 1..=missing {
            let part = filled as f64 / (missing + 1) as f64;
            self.cells.take(mean + (next - mean) * part, out);
        }
    }
}

impl OpenInterval {
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.rows)
    }
}

/// Converts the intervals of a grid to ticks.
#[derive(Clone, Debug)]
enum Cells {
    /// Each interval is constant.
    Held { interval_ms: u64, tick_ms: u64, sum: f64, covered_ms: u64, ticks: u64 },
    /// The middles of the intervals are joined by lines.
    Joined { interval_ms: u64, tick_ms: u64, count: u64, ticks: u64, before: f64 },
}

impl Cells {
    fn take(&mut self, rate: f64, out: &mut impl FnMut(f64)) {
        match self {
            Self::Held { interval_ms, tick_ms, sum, covered_ms, ticks } => {
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
            Self::Joined { interval_ms, tick_ms, count, ticks, before } => {
                // All in half milliseconds, so that middles are whole numbers.
                let middle = (2 * *count + 1) * *interval_ms;
                let from = if *count == 0 { rate } else { *before };
                while (2 * *ticks + 1) * *tick_ms <= middle {
                    let to_go = (middle - (2 * *ticks + 1) * *tick_ms) as f64 / (2 * *interval_ms) as f64;
                    out(rate + (from - rate) * to_go);
                    *ticks += 1;
                }
                *before = rate;
                *count += 1;
            }
        }
    }

    /// A tick that is covered in part only is dropped, unless it is all there is.
    fn finish(self, out: &mut impl FnMut(f64)) {
        match self {
            Self::Held { sum, covered_ms, ticks: 0, .. } if covered_ms > 0 => out(sum / covered_ms as f64),
            Self::Held { .. } => {}
            Self::Joined { interval_ms, tick_ms, count, ticks, before } => {
                let left = (count * interval_ms / tick_ms).saturating_sub(ticks);
                (0..left).for_each(|_| out(before));
            }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}
