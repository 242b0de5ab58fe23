//! The price of an SLO: the share of requests that must meet it, the cost of one that does not, and the load that replicas carry within it.
//!
//! The price follows the error budget, the share of requests that may miss the SLO: while it is not spent a missed request costs little, and more
//! the faster it is spent. So the SLO is kept by feedback, even where the assumed distributions are wrong.

use std::time::Duration;

use model::memory::ErrorBudgetMemory;
use model::quantity::Milli;
use model::resource::Slo;
use model::time::Time;

/// The share of requests that are to be answered well, above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Objective(f64);

/// What a violated request costs, in requests that a replica could have carried meanwhile; above 0.
///
/// 100: a replica may rather idle for the time of a hundred requests than one request be answered too late.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Price(f64);

/// Requests a second that one replica carries within the promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Capacity(pub(crate) f64);

/// A violated request costs this part of the requests that one violation is allowed among: 50 of a thousand at 99.9 %.
const PRICE_OF_BUDGET: f64 = 0.05;

/// The part of that price which is taken while nothing of the budget is spent.
///
/// This and the two below were tuned over recorded load, and tried on other: docs/decisions/0038.
const PRICE_UNSPENT: f64 = 0.2;

/// The part of that price which is added when the budget is spent exactly as fast as allowed.
const PRICE_OF_SPENDING: f64 = 0.25;

/// The price stays below this many times the objective's: a load that cannot be carried must not cost everything.
const PRICE_MAX: f64 = 2.0;

/// How long spending is remembered: a mean that forgets, over the last four days.
const SPENT_MEMORY: Duration = Duration::from_hours(4 * 24);

/// The longest time between two looks: after a longer one it is not known how the SLO was kept.
const APART_MAX: Duration = Duration::from_mins(1);

impl Objective {
    /// What is declared, which was checked.
    pub(crate) fn declared(slo: &Slo) -> Self {
        Self(f64::from(slo.objective.millionths()) / 1e6)
    }

    /// The price of a violated request while it is not known how much of the budget is spent.
    pub(crate) fn price(self) -> Price {
        Price(PRICE_OF_BUDGET / self.budget())
    }

    /// The price of a violated request, given how much of the budget was `spent`: higher, the faster it is spent.
    pub(crate) fn price_after(self, spent: ErrorBudgetMemory) -> Price {
        let pace = f64::from(late_millionths(spent)) / 1e6 / self.budget();
        let part = PRICE_UNSPENT + pace * PRICE_OF_SPENDING;
        Price(self.price().0 * part.min(PRICE_MAX))
    }

    /// The share that may be missed.
    fn budget(self) -> f64 {
        1.0 - self.0
    }
}

impl Price {
    /// So many requests of a replica, above 0.
    #[cfg(test)]
    pub(crate) fn of(requests: f64) -> Self {
        assert!(requests > 0.0 && requests.is_finite(), "{requests} is no price");
        Self(requests)
    }

    /// In requests that a replica could have carried meanwhile; above 0.
    pub(crate) fn requests(self) -> f64 {
        self.0
    }

    /// So many times the price; the price itself by what is no number above 0.
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

/// Notes how the SLO was kept since the last look, when `load` came and `carried` could be carried in all: as the load, times milliseconds.
pub(crate) fn note(spent: &mut ErrorBudgetMemory, now: Time, load: Milli, carried: i128) {
    let passed = now.since(spent.at);
    spent.at = spent.at.max(now);
    if passed > APART_MAX {
        return;
    }
    let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    let came = u64::try_from(load.0.max(0)).unwrap_or(0).saturating_mul(passed_ms) / 1000;
    let late = if i128::from(load.0) * i128::from(passed_ms) > carried { came } else { 0 };
    for (sum, more) in [(&mut spent.requests, came), (&mut spent.late, late)] {
        // Rounded up, so that the last of it is forgotten, too.
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
        assert!((price(900_000) - usual * 2.0).abs() < 1e-6, "it cannot be kept up with");
        let unknown = objective().price_after(ErrorBudgetMemory::default());
        assert!((unknown.0 - usual / 5.0).abs() < 1e-6, "nobody came yet");
    }

    #[test]
    fn how_the_promise_was_kept_is_forgotten_to_the_last_request() {
        let mut spent = ErrorBudgetMemory { at: Time::ZERO, requests: 1_000_000, late: 900 };
        for second in 1..=3_000_000 {
            note(&mut spent, Time::from_millis(second * 1000), Milli(0), 0);
        }
        assert_eq!((spent.requests, spent.late), (0, 0));
        note(&mut spent, Time::from_millis(4_000_000_000), Milli(7000), 0);
        assert_eq!(spent.requests, 0, "nobody looked for days");
    }

    #[test]
    fn what_is_no_price_changes_none() {
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(objective().price().times(factor), objective().price(), "{factor}");
        }
    }
}
