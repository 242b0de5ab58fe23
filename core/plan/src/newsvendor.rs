//! The newsvendor: how many replicas cost least, over a distribution of the load.
//!
//! A replica too many costs its time, one too few breaks the promise to everybody who asks meanwhile. So the number is the one at which replicas, and the
//! requests that are expected to be turned away by fewer of them, cost least together (Arrow, Harris and Marschak, "Optimal inventory policy", 1951).

use forecast::{Forecast, LEVELS_MAX};

use crate::slo::{Capacity, Price};

/// What costs least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cheapest {
    pub(crate) replicas: u32,
    /// The probability that the load exceeds what they carry.
    pub(crate) risk: f64,
}

/// The number within `bounds` at which replicas and expected violations cost least together; the smallest of equals.
///
/// With n replicas, everybody who asks while the load exceeds what they carry is violated: n + price · E[load; load > carried(n)] /
/// carried(1) is least.
pub(crate) fn cheapest(
    forecast: &Forecast,
    price: Price,
    capacity: &impl Capacity,
    bounds: (u32, u32),
) -> Cheapest {
    let (least, most) = bounds;
    let one = capacity.carried(1).max(f64::MIN_POSITIVE);
    let tail = Tail::of(forecast);
    let mut best = (f64::INFINITY, least);
    let of_violations = |violated: f64| price.requests() * violated / one;
    let cost_of =
        |replicas: u32| f64::from(replicas) + of_violations(tail.violated(capacity.carried(replicas)));
    // Where even the violations alone cost more than what nearly nobody is violated by, nothing needs to be looked at.
    let last = tail.last().load;
    let enough = cost_of(fewest(bounds, |replicas| capacity.carried(replicas) >= last));
    let is_too_dear = |corner: &&Corner| of_violations(corner.load * corner.above + corner.beyond) > enough;
    let dear = tail.corners().iter().rev().find(is_too_dear).map_or(f64::NEG_INFINITY, |corner| corner.load);
    for replicas in fewest(bounds, |replicas| capacity.carried(replicas) > dear)..=most {
        let cost = cost_of(replicas);
        if cost < best.0 {
            best = (cost, replicas);
        }
        if f64::from(replicas) > best.0 {
            break;
        }
    }
    let replicas = best.1;
    Cheapest { replicas, risk: tail.above(capacity.carried(replicas)) }
}

/// The fewest replicas within the bounds that are enough, the most when none are. More are enough where fewer are.
pub(crate) fn fewest((mut low, mut high): (u32, u32), is_enough: impl Fn(u32) -> bool) -> u32 {
    // Found by halving.
    while low < high {
        let middle = low + (high - low) / 2;
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The distribution of the load ahead: between two quantiles, and beyond the last, the logarithm of the probability to be above is linear.
#[derive(Clone, Debug)]
struct Tail {
    /// Nothing, and each quantile; of these so many are used.
    corners: [Corner; LEVELS_MAX + 1],
    used: usize,
}

/// A load, the probability to be above, the integral of that from there on, and the rate at which it falls from there to the next corner.
#[derive(Clone, Copy, Debug, Default)]
struct Corner {
    load: f64,
    above: f64,
    beyond: f64,
    decay: f64,
}

/// Beyond the last quantile the load reaches at least this part of it further by each such step as between the last two: nothing is certain.
const TAIL_MIN: f64 = 0.02;

impl Tail {
    /// Draws it from quantiles, of which there is one at least, in ascending order of their levels.
    fn of(forecast: &Forecast) -> Self {
        let mut corners = [Corner { load: 0.0, above: 1.0, beyond: 0.0, decay: 0.0 }; LEVELS_MAX + 1];
        let used = forecast.quantiles.len().min(LEVELS_MAX) + 1;
        for (place, quantile) in forecast.quantiles.iter().enumerate().take(LEVELS_MAX) {
            // Quantiles are forecast one by one and may cross by a little.
            corners[place + 1].load = quantile.uncalibrated.max(corners[place].load);
            corners[place + 1].above = 1.0 - quantile.level;
        }
        let (before, last) = (corners[used.saturating_sub(2)], corners[used - 1]);
        let width = (last.load - before.load).max(TAIL_MIN * last.load).max(f64::MIN_POSITIVE);
        let decay = (before.above / last.above).ln() / width;
        corners[used - 1] = Corner { beyond: last.above / decay, decay, ..last };
        for place in (0..used - 1).rev() {
            let (here, next) = (corners[place], corners[place + 1]);
            let (width, fall) = (next.load - here.load, (here.above / next.above).ln());
            // Where two corners are at one load, nothing lies between them.
            let decay = if width > 0.0 { fall / width } else { 0.0 };
            let here = Corner { decay, ..here };
            corners[place] = Corner { beyond: next.beyond + here.within(width, next.above), ..here };
        }
        Self { corners, used }
    }

    fn corners(&self) -> &[Corner] {
        &self.corners[..self.used]
    }

    fn last(&self) -> Corner {
        self.corners[self.used - 1]
    }

    /// The load itself, the probability to be above it, and the integral of that from there on.
    fn at(&self, load: f64) -> Corner {
        let next = self.corners().iter().position(|corner| load < corner.load);
        // The first corner is at 0, and no load is below it.
        let before = self.corners[next.unwrap_or(self.used).max(1) - 1];
        let above = before.above * (-(load - before.load) * before.decay).exp();
        let beyond = match next {
            Some(_) => before.beyond - before.within(load - before.load, above),
            None => above / before.decay,
        };
        Corner { load, above, beyond, decay: before.decay }
    }

    fn above(&self, load: f64) -> f64 {
        self.at(load).above
    }

    /// The mean of what lies above `load`, as a part of all times.
    fn violated(&self, load: f64) -> f64 {
        let at = self.at(load);
        load * at.above + at.beyond
    }
}

impl Corner {
    /// The integral of the probability over `width` from here, where it has fallen to `above`.
    fn within(self, width: f64, above: f64) -> f64 {
        if self.decay * width > 1e-9 { (self.above - above) / self.decay } else { width * self.above }
    }
}

#[cfg(test)]
mod tests {
    use forecast::{Horizon, Model, Quantile};
    use proptest::prelude::*;

    use super::*;
    use crate::slo::PerReplica;

    const LEVELS: [f64; LEVELS_MAX] = [0.05, 0.5, 0.8, 0.93, 0.95, 0.98, 0.993];

    /// A forecast of these loads at the levels.
    fn forecast(loads: &[f64]) -> Forecast {
        let quantile =
            |(&level, &load): (&f64, &f64)| Quantile { level, load, uncalibrated: load, by: Model::Blend };
        let quantiles = LEVELS.iter().zip(loads).map(quantile).collect();
        Forecast { horizon: Horizon::PeakWithin(2), quantiles }
    }

    proptest! {
        #[test]
        fn the_risk_falls_with_what_is_carried(
            loads in prop::collection::vec(0.0..1e6_f64, 1..=LEVELS_MAX), at in 0.0..2e6_f64, more in 0.0..1e6_f64,
        ) {
            let tail = Tail::of(&forecast(&loads));
            let (one, other) = (tail.at(at), tail.at(at + more));
            prop_assert!((0.0..=1.0).contains(&one.above) && other.above <= one.above + 1e-12, "{one:?}, then {other:?}");
            prop_assert!(other.beyond <= one.beyond * (1.0 + 1e-9) + 1e-9, "{one:?}, then {other:?}");
            let mean = tail.violated(0.0);
            prop_assert!(mean >= 0.05 * loads.iter().copied().fold(0.0, f64::min) && mean.is_finite());
        }

        #[test]
        fn the_less_a_violation_costs_the_fewer_are_cheapest(
            least in 0.0..500.0_f64, rises in prop::collection::vec(0.0..80.0_f64, LEVELS_MAX - 1), price in 0.1..500.0_f64,
            part in 0.0..1.0_f64, carried in 0.5..40.0_f64,
        ) {
            let loads: Vec<f64> = std::iter::once(least)
                .chain(rises.iter().scan(least, |load, rise| { *load += rise; Some(*load) }))
                .collect();
            let replicas = |price: f64| {
                let price = Price::of(price.max(1e-3));
                cheapest(&forecast(&loads), price, &PerReplica(carried), (0, 2000)).replicas
            };
            prop_assert!(replicas(price * part) <= replicas(price));
        }

        #[test]
        fn the_cheapest_is_the_cheapest_of_all(
            least in 0.0..500.0_f64, rises in prop::collection::vec(0.0..80.0_f64, 0..LEVELS_MAX), price in 0.1..500.0_f64,
            carried in 0.5..40.0_f64, bounds in (0_u32..20, 0_u32..80),
        ) {
            let bounds = (bounds.0, bounds.0 + bounds.1);
            let price = Price::of(price);
            let loads: Vec<f64> = std::iter::once(least)
                .chain(rises.iter().scan(least, |load, rise| { *load += rise; Some(*load) }))
                .collect();
            let (forecast, capacity) = (forecast(&loads), PerReplica(carried));
            let tail = Tail::of(&forecast);
            let violations = |replicas: u32| price.requests() * tail.violated(capacity.carried(replicas)) / carried;
            let cost = |replicas: u32| f64::from(replicas) + violations(replicas);
            let first_of_the_least = (bounds.0..=bounds.1).min_by(|one, other| cost(*one).total_cmp(&cost(*other)));
            prop_assert_eq!(Some(cheapest(&forecast, price, &capacity, bounds).replicas), first_of_the_least);
        }
    }
}
