//! The load offered to a service, as a rate at each time.

use std::sync::Arc;
use std::time::Duration;

use model::quantity::MilliRps;
use model::time::Time;

/// The shape of a service's load.
///
/// Whole numbers only, so that the same seed gives the same load on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Always the same.
    Constant(MilliRps),
    /// From `base` to `peak` and back within each `period`, along a parabola: nights are flat, noons are round.
    Diurnal {
        /// At midnight.
        base: MilliRps,
        /// At noon.
        peak: MilliRps,
        /// The length of the day; not zero.
        period: Duration,
    },
    /// `base`, and from `at` on a rise to `peak`, a plateau, and a fall back to `base`, in straight lines.
    FlashSale {
        /// Before and after.
        base: MilliRps,
        /// The plateau.
        peak: MilliRps,
        /// When the rise begins.
        at: Time,
        /// How long the rise, and the fall, take; zero is a jump.
        ramp: Duration,
        /// How long the plateau lasts.
        hold: Duration,
    },
    /// A recorded load, one point every `every`, over and over; nothing when there are no points.
    Trace {
        /// When the first point holds.
        from: Time,
        /// How long each point holds; not zero.
        every: Duration,
        /// The points.
        points: Arc<[MilliRps]>,
    },
}

impl Load {
    /// The rate at `now`.
    pub fn at(&self, now: Time) -> MilliRps {
        match self {
            Self::Constant(rate) => *rate,
            Self::Diurnal { base, peak, period } => {
                let period = millis(*period).max(1);
                let phase = now.as_millis() % period;
                // 4·x·(1−x) is 0 at midnight and 1 at noon.
                let share = 4 * u128::from(phase) * u128::from(period - phase);
                let rise = u128::from(peak.0.saturating_sub(base.0)) * share
                    / (u128::from(period) * u128::from(period));
                MilliRps(base.0 + u64::try_from(rise).unwrap_or(u64::MAX))
            }
            Self::FlashSale { base, peak, at, ramp, hold } => {
                let (ramp, hold) = (millis(*ramp), millis(*hold));
                let since = millis(now.since(*at));
                let height = if now <= *at || since >= 2 * ramp + hold {
                    return *base;
                } else if since < ramp {
                    since
                } else if since <= ramp + hold {
                    ramp.max(1)
                } else {
                    2 * ramp + hold - since
                };
                MilliRps(base.0 + peak.0.saturating_sub(base.0) * height / ramp.max(1))
            }
            Self::Trace { from, every, points } => {
                let index = millis(now.since(*from)) / millis(*every).max(1);
                let count = points.len() as u64;
                let point = index.checked_rem(count).and_then(|i| points.get(usize::try_from(i).ok()?));
                point.copied().unwrap_or_default()
            }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn a_flash_sale_rises_holds_and_falls() {
        let sale = Load::FlashSale {
            base: MilliRps(10),
            peak: MilliRps(110),
            at: at(100),
            ramp: 10 * SECOND,
            hold: 20 * SECOND,
        };
        let rates = [0, 100, 105, 110, 120, 130, 135, 140, 500].map(|s| sale.at(at(s)).0);
        assert_eq!(rates, [10, 10, 60, 110, 110, 110, 60, 10, 10]);
    }

    #[test]
    fn a_day_is_lowest_at_midnight_and_highest_at_noon() {
        let day = Load::Diurnal { base: MilliRps(10), peak: MilliRps(110), period: 24 * SECOND };
        assert_eq!([0, 12, 24].map(|s| day.at(at(s)).0), [10, 110, 10]);
    }

    #[test]
    fn a_trace_repeats_from_its_beginning() {
        let points = [1, 2, 3].map(MilliRps).into();
        let trace = Load::Trace { from: at(10), every: SECOND, points };
        assert_eq!([10, 11, 12, 13].map(|s| trace.at(at(s)).0), [1, 2, 3, 1]);
    }
}
