//! The newsvendor: how many replicas cost least, over a distribution of the load.
//!
//! One replica too many costs its time; one too few violates the SLO for all requests meanwhile. The best number is the one at which the replicas and
//! the expected violations cost least together (Arrow, Harris and Marschak, "Optimal inventory policy", 1951).

use forecast::Distribution;

use crate::slo::{Capacity, Price};

/// The number of replicas that costs least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cheapest {
    pub(crate) replicas: u32,
    /// The probability that the load exceeds what they carry.
    pub(crate) risk: f64,
}

/// The number within `bounds` at which replicas and expected violations cost least together; the smallest of equals.
///
/// With n replicas, every request violates the SLO while the load exceeds what they carry: n + price · E[load; load > carried(n)] /
/// carried(1) is least.
pub(crate) fn cheapest(
    load: &Distribution,
    price: Price,
    capacity: Capacity,
    bounds: (u32, u32),
) -> Cheapest {
    let (least, most) = bounds;
    let carried_by_one = capacity.carried(1).max(f64::MIN_POSITIVE);
    let mut best = (f64::INFINITY, least);
    let violation_cost = |violated: f64| price.requests() * violated / carried_by_one;
    let cost_of = |replicas: u32| {
        f64::from(replicas) + violation_cost(load.partial_expectation(capacity.carried(replicas)))
    };
    // Numbers whose violations alone cost more than replicas for nearly every load need not be tried.
    let last = load.last();
    let all = fewest(bounds, |replicas| capacity.carried(replicas) >= last);
    let cost_max = cost_of(all);
    let is_too_expensive = |knot: &(f64, f64)| violation_cost(knot.1) > cost_max;
    let too_small = load.knots().rev().find(is_too_expensive).map_or(f64::NEG_INFINITY, |(load, _)| load);
    for replicas in fewest((least, all), |replicas| capacity.carried(replicas) > too_small)..=most {
        let cost = cost_of(replicas);
        if cost < best.0 {
            best = (cost, replicas);
        }
        if f64::from(replicas) > best.0 {
            break;
        }
    }
    let replicas = best.1;
    Cheapest { replicas, risk: load.above(capacity.carried(replicas)) }
}

/// The fewest replicas within the bounds that are enough, by bisection; the most when none are. Where a number is enough, so is each larger one.
fn fewest((mut low, mut high): (u32, u32), is_enough: impl Fn(u32) -> bool) -> u32 {
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

#[cfg(test)]
mod tests {
    use forecast::{ExceedanceProbabilities, Forecast, Horizon, LEVELS_MAX, Model, Quantile};
    use proptest::prelude::*;

    use super::*;

    const LEVELS: [f64; LEVELS_MAX] = [0.05, 0.5, 0.8, 0.93, 0.95, 0.98, 0.993];

    /// The distribution with these loads at the levels.
    fn distribution(loads: &[f64]) -> Distribution {
        let quantile =
            |(&level, &load): (&f64, &f64)| Quantile { level, load, uncalibrated: load, by: Model::Blend };
        let quantiles = LEVELS.iter().zip(loads).map(quantile).collect();
        let forecast = Forecast { horizon: Horizon::PeakWithin(2), quantiles };
        Distribution::of(&forecast, &ExceedanceProbabilities::of(LEVELS))
    }

    proptest! {
        #[test]
        fn a_lower_price_never_leads_to_more_replicas(
            least in 0.0..500.0_f64, rises in prop::collection::vec(0.0..80.0_f64, LEVELS_MAX - 1), price in 0.1..500.0_f64,
            part in 0.0..1.0_f64, carried in 0.5..40.0_f64,
        ) {
            let loads: Vec<f64> = std::iter::once(least)
                .chain(rises.iter().scan(least, |load, rise| { *load += rise; Some(*load) }))
                .collect();
            let replicas = |price: f64| {
                let price = Price::of(price.max(1e-3));
                cheapest(&distribution(&loads), price, Capacity(carried), (0, 2000)).replicas
            };
            prop_assert!(replicas(price * part) <= replicas(price));
        }

        #[test]
        fn the_number_found_is_the_cheapest_of_all(
            least in 0.0..500.0_f64, rises in prop::collection::vec(0.0..80.0_f64, 0..LEVELS_MAX), price in 0.1..500.0_f64,
            carried in 0.5..40.0_f64, bounds in (0_u32..20, 0_u32..80),
        ) {
            let bounds = (bounds.0, bounds.0 + bounds.1);
            let price = Price::of(price);
            let loads: Vec<f64> = std::iter::once(least)
                .chain(rises.iter().scan(least, |load, rise| { *load += rise; Some(*load) }))
                .collect();
            let (load, capacity) = (distribution(&loads), Capacity(carried));
            let violations = |replicas: u32| price.requests() * load.partial_expectation(capacity.carried(replicas)) / carried;
            let cost = |replicas: u32| f64::from(replicas) + violations(replicas);
            let first_of_the_least = (bounds.0..=bounds.1).min_by(|one, other| cost(*one).total_cmp(&cost(*other)));
            prop_assert_eq!(Some(cheapest(&load, price, capacity, bounds).replicas), first_of_the_least);
        }
    }
}
