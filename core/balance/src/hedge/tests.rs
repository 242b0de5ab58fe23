use proptest::prelude::*;

use super::*;
use crate::retry::Repeatability;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn hedger(after: HedgeAfter, budget_percent: u8) -> Hedger {
    Hedger::new(HedgePolicy { after, budget_percent })
}

#[test]
fn every_hedged_method_is_idempotent_but_not_the_reverse() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "get", ""] {
        assert!(
            !is_safe(method) || Repeatability::of_method(method) == Repeatability::Idempotent,
            "{method}"
        );
    }
    assert!(!is_safe("DELETE") && !is_safe("PUT") && is_safe("GET"));
}

#[test]
fn the_delay_is_the_percentile_of_recent_latencies() {
    let mut hedger = hedger(HedgeAfter::Percentile(95), 10);
    (1..64).for_each(|n| hedger.observe(ms(n)));
    assert_eq!(hedger.admit(), None, "too few");
    (0..4_000).for_each(|n| hedger.observe(ms(n % 100)));
    let delay = hedger.admit().unwrap();
    assert!((ms(92)..=ms(98)).contains(&delay), "{delay:?}");
    (0..1_000).for_each(|_| hedger.observe(ms(7)));
    assert_eq!(hedger.admit(), Some(ms(7)));
}

#[test]
fn a_hedge_needs_both_budgets_and_takes_from_neither_alone() {
    let mut hedger = hedger(HedgeAfter::Fixed(ms(5)), 1);
    let mut retries = RetryBudget::new(Duration::ZERO);
    let hedges = (0..100).filter(|_| hedger.withdraw(&mut retries, Duration::ZERO)).count();
    assert_eq!(hedges as f64, BUDGET_MAX);
    let left = (0..1_000).filter(|_| retries.withdraw(Duration::ZERO)).count();
    assert_eq!(left as f64, RetryBudget::RESERVE - BUDGET_MAX);
    (0..1_000).for_each(|_| _ = hedger.admit());
    assert!(!hedger.withdraw(&mut retries, Duration::ZERO));
}

proptest! {
    #[test]
    fn hedges_never_exceed_their_share(
        budget_percent in 1u8..=100,
        attempts in prop::collection::vec(0u32..4, 0..2_000),
    ) {
        let mut hedger = hedger(HedgeAfter::Fixed(ms(5)), budget_percent);
        let mut retries = RetryBudget::new(Duration::ZERO);
        let (mut requests, mut hedges) = (0.0, 0.0);
        for attempts in attempts {
            hedger.admit();
            retries.deposit(Duration::ZERO);
            requests += 1.0;
            hedges += (0..attempts).filter(|_| hedger.withdraw(&mut retries, Duration::ZERO)).count() as f64;
            prop_assert!(hedges <= requests * f64::from(budget_percent) / 100.0 + BUDGET_MAX + 1e-6);
        }
    }

    #[test]
    fn the_share_of_latencies_above_the_delay_matches_the_percentile(
        percentile in 50u8..=99,
        latencies in prop::collection::vec(1u32..10_000_000, 512..1_500),
    ) {
        let mut hedger = hedger(HedgeAfter::Percentile(percentile), 10);
        latencies.iter().for_each(|&us| hedger.observe(Duration::from_micros(us.into())));
        let delay = hedger.admit().unwrap();
        // The percentile was last updated at a multiple of 32, from the 512 latencies before.
        let recent = &latencies[latencies.len() / 32 * 32 - 512..latencies.len() / 32 * 32];
        let above = recent.iter().filter(|&&us| Duration::from_micros(us.into()) > delay).count();
        prop_assert!(above * 100 <= 512 * usize::from(100 - percentile));
        let at_least = recent.iter().filter(|&&us| Duration::from_micros(us.into()) >= delay).count();
        prop_assert!(at_least * 100 >= 512 * usize::from(100 - percentile));
    }
}
