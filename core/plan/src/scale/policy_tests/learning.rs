use model::memory::{ErrorBudgetMemory, PolicyHistory, RiseMemory};
use proptest::prelude::*;

use super::super::combine::DecidedBy;
use super::super::hpa::Outcome;
use super::super::slo_first::SloDecision;
use super::*;
use crate::learned::{Fallback, LoadFeature};

/// An SLO within which a replica carries 50 requests a second, with a price that was learned on 1 to 6 replicas.
fn learned_policy(rises: f64, level: f64) -> String {
    let leaning =
        |factor: f64, from: f64, to: f64| format!(r#"{{"factor": {factor}, "from": {from}, "to": {to}}}"#);
    let (level, trend, unrest) = (leaning(level, 1.0, 6.0), leaning(1.0, 0.3, 3.0), leaning(1.0, 1.0, 3.0));
    format!(
        r#"{{"slo": {{"latency": {{"quantile": 0.99, "below": "200ms"}}, "learned": {{
            "version": 1, "rises": {rises}, "forecast": 1, "level": {level}, "trend": {trend}, "unrest": {unrest}}}}}}}"#
    )
}

const SLO_FIRST: &str = r#"{"slo": {"latency": {"quantile": 0.99, "below": "200ms"}}}"#;

fn second(bench: &mut Bench, load: i64) -> Verdict {
    let each = Milli(load * 1000 / i64::from(bench.current.max(1)));
    bench.measured(|_| Ok(each))
}

/// Sets the size to so many replicas that were started long ago.
fn set_replicas(bench: &mut Bench, replicas: u32) {
    bench.current = replicas;
    bench.replicas = vec![ready(bench.now - Duration::from_hours(1)); replicas as usize];
}

fn decision(verdict: &Verdict) -> SloDecision {
    match verdict.outcome {
        Outcome::Scaled { decided_by: DecidedBy::Slo(decision), .. } => decision,
        other => panic!("not decided by an SLO: {other:?}"),
    }
}

fn rises(bench: &mut Bench) -> &mut RiseMemory {
    match &mut bench.memory.policy.history {
        PolicyHistory::Rises(rises) => rises,
        other => panic!("no rises: {other:?}"),
    }
}

/// Minutes of 100 requests a second, each fourth one with twice as many, with always enough replicas.
fn with_known_rises(policy: &str) -> Bench {
    let mut bench = Bench::new(policy, 6);
    for minute in 0..41 {
        for _ in 0..60 {
            set_replicas(&mut bench, 6);
            second(&mut bench, if minute % 4 == 3 { 200 } else { 100 });
        }
    }
    bench
}

fn fallback(verdict: &Verdict) -> Fallback {
    match decision(verdict).learned {
        Some(Err(why)) => why,
        other => panic!("no fallback: {other:?}"),
    }
}

#[test]
fn a_learned_price_determines_how_much_of_a_rise_replicas_are_kept_for() {
    let floor_of = |policy: &str| {
        let mut bench = with_known_rises(policy);
        // The budget is spent exactly as fast as allowed.
        rises(&mut bench).error_budget =
            ErrorBudgetMemory { at: bench.now, requests: 1_000_000_000, late: 1_000_000 };
        let verdict = second(&mut bench, 100);
        (decision(&verdict).floor, bench.summary(&verdict))
    };
    let (usual, summary) = floor_of(SLO_FIRST);
    assert_eq!(usual, 5, "{summary}");
    assert!(!summary.contains("learned"), "{summary}");
    let (cheap, summary) = floor_of(&learned_policy(0.001, 1.0));
    assert_eq!(cheap, 3, "fewer would not be enough for a rise of a hundredth: {summary}");
    assert!(
        summary.contains("; learned: a request that violates the SLO costs 0.00 times as much"),
        "{summary}"
    );
    assert_eq!(floor_of(&learned_policy(1.0, 1.0)).0, usual, "weights of one are SLO-first");
    // 2 is below the middle of 1 to 6 replicas, so a factor of 1000 at the upper end is small here.
    assert_eq!(floor_of(&learned_policy(1.0, 1000.0)).0, 3);
    assert_eq!(floor_of(&learned_policy(1.0, 0.001)).0, usual);
}

#[test]
fn slo_first_decides_while_too_little_load_was_observed() {
    let mut bench = Bench::new(&learned_policy(0.001, 1.0), 4);
    let verdict = second(&mut bench, 141);
    assert_eq!(fallback(&verdict), Fallback::New);
    assert_eq!(verdict.desired, 5, "three tenths are kept free");
    assert!(bench.summary(&verdict).contains("SLO-first decides without what was learned: too little load"));
}

#[test]
fn slo_first_decides_outside_the_range_that_the_weights_were_learned_on() {
    let mut bench = with_known_rises(&learned_policy(0.001, 1.0));
    // A hundredfold load, for which a hundred replicas are not enough.
    for _ in 0..60 {
        let verdict = second(&mut bench, 10_000);
        assert!(verdict.desired <= 100, "never more than the bounds: {verdict:?}");
    }
    rises(&mut bench).error_budget = ErrorBudgetMemory::default();
    let verdict = second(&mut bench, 10_000);
    assert!(
        matches!(fallback(&verdict), Fallback::Outside { feature: LoadFeature::Level, .. }),
        "{verdict:?}"
    );
    assert_eq!(verdict.desired, 100);
    let summary = bench.summary(&verdict);
    assert!(
        summary.contains("the load in replicas is")
            && summary.contains("outside the 1 to 6 that it was learned on"),
        "{summary}"
    );
    // The load stops: SLO-first wants the minimum.
    rises(&mut bench).error_budget = ErrorBudgetMemory::default();
    let verdict = (0..600).map(|_| second(&mut bench, 0)).last().expect("ten minutes");
    assert!(matches!(fallback(&verdict), Fallback::Outside { .. }), "{verdict:?}");
    assert_eq!(verdict.desired, 1);
}

#[test]
fn slo_first_decides_for_days_after_the_slo_was_violated() {
    let mut bench = with_known_rises(&learned_policy(0.001, 1.0));
    let verdict = second(&mut bench, 100);
    assert!(matches!(decision(&verdict).learned, Some(Ok(_))), "{verdict:?}");
    // Two replicas that carry 100 requests a second, and ten seconds of 150.
    for _ in 0..10 {
        set_replicas(&mut bench, 2);
        second(&mut bench, 150);
    }
    let verdict = second(&mut bench, 100);
    let Fallback::Broken { late, allowed } = fallback(&verdict) else { panic!("{verdict:?}") };
    assert!(late > allowed && allowed == 1000, "{late} of {allowed}");
    assert!(bench.summary(&verdict).contains("of the requests came while it could not carry them"));
    assert_eq!(decision(&verdict).floor, 5, "as by SLO-first");
    // Days later most of it is forgotten.
    rises(&mut bench).error_budget.late /= 100;
    assert!(matches!(decision(&second(&mut bench, 100)).learned, Some(Ok(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_learned_price_never_leads_to_fewer_than_needed_nor_to_more_than_for_the_highest_rise(
        weight in 0.001..1000.0_f64, level in 0.001..1000.0_f64, load in 50_i64..250,
    ) {
        let mut bench = with_known_rises(&learned_policy(weight, level));
        let decision = decision(&second(&mut bench, load));
        // The observed rises are at most twofold, with a resolution of a twentieth.
        let highest = (load * 21 / 10 + 49) / 50;
        let wanted = decision.needed.max(decision.floor);
        prop_assert!(decision.needed as i64 * 50 >= load && i64::from(wanted) <= highest.max(1), "{decision:?}");
    }
}
