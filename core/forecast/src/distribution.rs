//! The distribution of the load ahead, interpolated from the quantiles of a forecast.

use crate::forecast::Forecast;
use crate::settings::LEVELS_MAX;

/// The distribution of the load ahead.
///
/// The survival function, which is the probability that the load is above a value, falls exponentially from each quantile to the next, and
/// beyond the last.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// No load, and each quantile; only the first `used` count.
    knots: [Knot; LEVELS_MAX + 1],
    used: usize,
}

/// A point of the survival function, at which its rate of decay changes.
#[derive(Clone, Copy, Debug, Default)]
struct Knot {
    load: f64,
    /// The probability that the load is above this one.
    above: f64,
    /// The integral of that probability from here on.
    beyond: f64,
    /// The rate at which it falls from here to the next knot.
    decay: f64,
}

/// The probabilities at the knots of a distribution, that the load is above each.
///
/// They depend on the levels alone, and are kept because logarithms are expensive.
#[derive(Clone, Debug)]
pub struct ExceedanceProbabilities {
    /// The probability that the load is above 0, and above each quantile.
    above: [f64; LEVELS_MAX + 1],
    /// The logarithm of the ratio of each to the next.
    log_ratios: [f64; LEVELS_MAX],
}

impl ExceedanceProbabilities {
    /// The probabilities of these levels, which are in ascending order.
    #[must_use]
    pub fn of(levels: impl IntoIterator<Item = f64>) -> Self {
        let mut above = [1.0; LEVELS_MAX + 1];
        for (above, level) in above[1..].iter_mut().zip(levels) {
            *above = 1.0 - level;
        }
        Self { above, log_ratios: std::array::from_fn(|place| (above[place] / above[place + 1]).ln()) }
    }
}

/// The least distance from the quantile before the last to the last, as a share of the last: however close they are, a higher load is
/// never ruled out.
const TAIL_MIN: f64 = 0.02;

impl Distribution {
    /// Interpolates the quantiles of `forecast`: at least one, in ascending order of their levels, for which `exceedances` was made.
    #[must_use]
    pub fn of(forecast: &Forecast, exceedances: &ExceedanceProbabilities) -> Self {
        let mut knots = [Knot { load: 0.0, above: 1.0, beyond: 0.0, decay: 0.0 }; LEVELS_MAX + 1];
        let used = forecast.quantiles.len().min(LEVELS_MAX) + 1;
        for (place, quantile) in forecast.quantiles.iter().enumerate().take(LEVELS_MAX) {
            // Quantiles are forecast one by one and may cross by a little.
            knots[place + 1].load = quantile.uncalibrated.max(knots[place].load);
            knots[place + 1].above = exceedances.above[place + 1];
        }
        let (before, last) = (knots[used.saturating_sub(2)], knots[used - 1]);
        let width = (last.load - before.load).max(TAIL_MIN * last.load).max(f64::MIN_POSITIVE);
        let decay = exceedances.log_ratios[used.saturating_sub(2)] / width;
        knots[used - 1] = Knot { beyond: last.above / decay, decay, ..last };
        for place in (0..used - 1).rev() {
            let (here, next) = (knots[place], knots[place + 1]);
            let (width, fall) = (next.load - here.load, exceedances.log_ratios[place]);
            // Two knots may be at the same load, and have nothing between them.
            let decay = if width > 0.0 { fall / width } else { 0.0 };
            let here = Knot { decay, ..here };
            knots[place] = Knot { beyond: next.beyond + here.within(width, next.above), ..here };
        }
        Self { knots, used }
    }

    /// 0 and the load of each quantile in ascending order, each with its [`Self::partial_expectation`].
    pub fn knots(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> {
        self.used().iter().map(|knot| (knot.load, knot.load * knot.above + knot.beyond))
    }

    /// The load of the last quantile.
    #[must_use]
    pub fn last(&self) -> f64 {
        self.knots[self.used - 1].load
    }

    fn used(&self) -> &[Knot] {
        &self.knots[..self.used]
    }

    /// The survival function at `load`.
    fn at(&self, load: f64) -> Knot {
        // The first knot is at 0, and no load is below it. Searched from the end: most queries are near the last knot.
        let place = self.used().iter().rposition(|knot| knot.load <= load).unwrap_or(0);
        let before = self.knots[place];
        let above = before.above * (-(load - before.load) * before.decay).exp();
        let beyond = if place + 1 < self.used {
            before.beyond - before.within(load - before.load, above)
        } else {
            above / before.decay
        };
        Knot { load, above, beyond, decay: before.decay }
    }

    /// The probability that the load is above `load`.
    #[must_use]
    pub fn above(&self, load: f64) -> f64 {
        self.at(load).above
    }

    /// The partial expectation: the mean of the load where it is above `load`, counting 0 where it is not.
    #[must_use]
    pub fn partial_expectation(&self, load: f64) -> f64 {
        let at = self.at(load);
        load * at.above + at.beyond
    }
}

impl Knot {
    /// The integral of the probability from here over `width`, at the end of which it has fallen to `above`.
    fn within(self, width: f64, above: f64) -> f64 {
        if self.decay * width > 1e-9 { (self.above - above) / self.decay } else { width * self.above }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forecast::Quantile;
    use crate::model::Model;
    use crate::settings::Horizon;

    const LEVELS: [f64; LEVELS_MAX] = [0.05, 0.5, 0.8, 0.93, 0.95, 0.98, 0.993];

    proptest! {
        #[test]
        fn the_exceedance_probability_falls_as_the_load_rises(
            loads in prop::collection::vec(0.0..1e6_f64, 1..=LEVELS_MAX), at in 0.0..2e6_f64, more in 0.0..1e6_f64,
        ) {
            let quantile =
                |(&level, &load): (&f64, &f64)| Quantile { level, load, uncalibrated: load, by: Model::Blend };
            let quantiles = LEVELS.iter().zip(&loads).map(quantile).collect();
            let forecast = Forecast { horizon: Horizon::PeakWithin(2), quantiles };
            let distribution = Distribution::of(&forecast, &ExceedanceProbabilities::of(LEVELS));
            let (lower, higher) = (distribution.at(at), distribution.at(at + more));
            prop_assert!((0.0..=1.0).contains(&lower.above) && higher.above <= lower.above + 1e-12, "{lower:?}, then {higher:?}");
            prop_assert!(higher.beyond <= lower.beyond * (1.0 + 1e-9) + 1e-9, "{lower:?}, then {higher:?}");
            let mean = distribution.partial_expectation(0.0);
            prop_assert!(mean >= 0.05 * loads.iter().copied().fold(0.0, f64::min) && mean.is_finite());
        }
    }
}
