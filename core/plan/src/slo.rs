//! The objective of an SLO, the price of a request that violates it, and the capacity of replicas within it.
//!
//! The price follows the error budget, the share of requests that may violate the SLO: a violation costs little while none of the budget is spent,
//! and more the faster it is spent. This feedback keeps the SLO even where the assumed distributions are wrong.

use std::time::Duration;

use model::memory::ErrorBudgetMemory;
use model::quantity::Milli;
use model::resource::Slo;
use model::time::Time;

/// The share of requests that must meet the SLO, above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Objective(f64);

/// What a violated request costs, in requests that a replica could have carried meanwhile; above 0.
///
/// At 100, a replica that idles for the time of a hundred requests costs as much as one request that violates the SLO.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Price(f64);

/// Requests a second that one replica carries within the SLO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Capacity(pub(crate) f64);

/// A violated request costs this part of the requests that one violation is allowed among: 50 of a thousand at 99.9 %.
const PRICE_OF_BUDGET: f64 = 0.05;

/// The factor of that price while nothing of the budget is spent.
///
/// This and the two below were tuned on recorded loads and tested on others: docs/decisions/0038.
const PRICE_UNSPENT: f64 = 0.2;

/// Added to the factor when the budget is spent exactly as fast as allowed; more for faster spending.
const PRICE_OF_SPENDING: f64 = 0.25;

/// The largest factor: a load that cannot be carried must not make the price grow without bound.
const PRICE_MAX: f64 = 2.0;

/// The time constant of the decaying sums of requests: four days.
const SPENT_MEMORY: Duration = Duration::from_hours(4 * 24);

/// The longest time between two observations: in a longer gap it is not known how many requests violated the SLO.
const APART_MAX: Duration = Duration::from_mins(1);

impl Objective {
    /// The declared objective, which was checked.
    pub(crate) fn declared(slo: &Slo) -> Self {
        Self(f64::from(slo.objective.millionths()) / 1e6)
    }

    /// The price of a violated request where the spending of the budget is not considered.
    pub(crate) fn price(self) -> Price {
        Price(PRICE_OF_BUDGET / self.budget())
    }

    /// The price of a violated request, given how much of the budget was `spent`: higher, the faster it is spent.
    pub(crate) fn price_after(self, spent: ErrorBudgetMemory) -> Price {
        let pace = f64::from(late_millionths(spent)) / 1e6 / self.budget();
        let part = PRICE_UNSPENT + pace * PRICE_OF_SPENDING;
        Price(self.price().0 * part.min(PRICE_MAX))
    }

    /// The share of requests that may violate the SLO.
    fn budget(self) -> f64 {
        1.0 - self.0
    }
}

impl Price {
    /// The price of so many requests, above 0.
    #[cfg(test)]
    pub(crate) fn of(requests: f64) -> Self {
        assert!(requests > 0.0 && requests.is_finite(), "{requests} is not a price");
        Self(requests)
    }

    /// In requests that a replica could have carried meanwhile; above 0.
    pub(crate) fn requests(self) -> f64 {
        self.0
    }

    /// The price times `factor`; unchanged where that is not a finite price above 0.
    pub(crate) fn times(self, factor: f64) -> Self {
        let requests = self.0 * factor;
        if requests > 0.0 && requests.is_finite() { Self(requests) } else { self }
    }
}

impl Capacity {
    /// Requests a second that `replicas` carry: each as much as the others.
    pub(crate) fn carried(self, replicas: u32) -> f64 {
        self.0 * f64::from(replicas)
    }
}

/// Records the requests since the last observation: `load` arrived, and the replicas could carry `carried` in that time, in the unit of the load
/// times milliseconds.
pub(crate) fn record(spent: &mut ErrorBudgetMemory, now: Time, load: Milli, carried: i128) {
    let passed = now.since(spent.at);
    spent.at = spent.at.max(now);
    if passed > APART_MAX {
        return;
    }
    let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    let came = u64::try_from(load.0.max(0)).unwrap_or(0).saturating_mul(passed_ms) / 1000;
    let late = if i128::from(load.0) * i128::from(passed_ms) > carried { came } else { 0 };
    for (sum, more) in [(&mut spent.requests, came), (&mut spent.late, late)] {
        // Rounded up, so that the sum reaches 0.
        let forgotten = u128::from(*sum) * u128::from(passed_ms);
        let forgotten = forgotten.div_ceil(SPENT_MEMORY.as_millis());
        *sum = sum.saturating_sub(u64::try_from(forgotten).unwrap_or(u64::MAX)).saturating_add(more);
    }
}

/// The share of recent requests that missed the SLO, in millionths.
pub(crate) fn late_millionths(spent: ErrorBudgetMemory) -> u32 {
    let late = (u128::from(spent.late) * 1_000_000).checked_div(u128::from(spent.requests)).unwrap_or(0);
    u32::try_from(late).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective() -> Objective {
        Objective(0.999)
    }

    #[test]
    fn spending_the_budget_raises_the_price_up_to_a_bound() {
        let price =
            |late| objective().price_after(ErrorBudgetMemory { at: Time::ZERO, requests: 1_000_000, late }).0;
        let usual = objective().price().0;
        assert!((usual - 50.0).abs() < 1e-6, "{usual}");
        assert!((price(0) - usual / 5.0).abs() < 1e-6, "nothing is spent");
        assert!((price(1000) - usual * 0.45).abs() < 1e-6, "as fast as it is allowed");
        assert!((price(900_000) - usual * 2.0).abs() < 1e-6, "the factor is bounded");
        let unknown = objective().price_after(ErrorBudgetMemory::default());
        assert!((unknown.0 - usual / 5.0).abs() < 1e-6, "no request came yet");
    }

    #[test]
    fn requests_are_forgotten_to_the_last_one() {
        let mut spent = ErrorBudgetMemory { at: Time::ZERO, requests: 1_000_000, late: 900 };
        for second in 1..=3_000_000 {
            record(&mut spent, Time::from_millis(second * 1000), Milli(0), 0);
        }
        assert_eq!((spent.requests, spent.late), (0, 0));
        record(&mut spent, Time::from_millis(4_000_000_000), Milli(7000), 0);
        assert_eq!(spent.requests, 0, "a gap of days is not counted");
    }

    #[test]
    fn a_factor_that_gives_no_price_changes_nothing() {
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(objective().price().times(factor), objective().price(), "{factor}");
        }
    }
}
