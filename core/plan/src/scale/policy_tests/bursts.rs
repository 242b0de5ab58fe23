use model::memory::{LOAD_PARTS_MAX, PolicyHistory};

use super::super::burst::BurstOutcome;
use super::super::combine::DecidedBy;
use super::super::hpa::Outcome;
use super::*;

const BURST: &str =
    r#"{"burst": {"stableWindow": "60s", "panicWindow": "6s", "panicThresholdPercent": 200}}"#;

fn outcome(verdict: &Verdict) -> BurstOutcome {
    match verdict.outcome {
        Outcome::Scaled { decided_by: DecidedBy::Burst(decision), .. } => decision.outcome,
        other => panic!("no window: {other:?}"),
    }
}

#[test]
fn without_a_burst_the_number_follows_the_stable_window() {
    let mut bench = Bench::new(BURST, 4);
    bench.after_seconds(60, 50);
    // With 75 each, the mean of the minute exceeds the tolerance after a while, without a burst.
    let sizes: Vec<u32> = (0..60).map(|_| bench.after_a_second(75).desired).collect();
    assert_eq!(sizes[10], 4);
    assert!(sizes[59] > 4 && sizes.is_sorted(), "{sizes:?}");
}

#[test]
fn a_burst_is_followed_at_once_and_nothing_is_removed_in_it() {
    let mut bench = Bench::new(BURST, 4);
    bench.after_seconds(60, 50);
    // Four times the load for six seconds, shared by the replicas there are.
    let verdicts: Vec<_> = (0..6).map(|_| bench.after_a_second(800 / bench.current)).collect();
    let begun = verdicts.iter().position(|verdict| matches!(outcome(verdict), BurstOutcome::Panic { .. }));
    assert_eq!(begun, Some(1), "with two of the six seconds the short mean asks for twice the replicas");
    let peak = &verdicts[5];
    assert!((15..=16).contains(&peak.desired), "{peak:?}");
    let BurstOutcome::Panic { until, .. } = outcome(peak) else { panic!("{peak:?}") };
    // The burst ends as suddenly, and the number stays for a stable window.
    while bench.now + Duration::from_secs(1) < until {
        assert_eq!(bench.after_a_second(1).desired, peak.desired);
    }
    let calm = bench.after_seconds(40, 1);
    assert_eq!(outcome(&calm), BurstOutcome::Stable { replacements: 0 });
    assert_eq!(calm.desired, 1);
}

#[test]
fn a_burst_that_goes_on_ends_a_stable_window_after_it_was_last_seen() {
    let mut bench = Bench::new(BURST, 4);
    bench.spec.max = 4;
    bench.after_seconds(60, 50);
    // The maximum keeps the load above the threshold.
    let verdict = bench.after_seconds(90, 200);
    let BurstOutcome::Panic { since, until, .. } = outcome(&verdict) else { panic!("{verdict:?}") };
    assert!(since + Duration::from_secs(60) < bench.now, "it has been on for longer than a window");
    assert_eq!(until, bench.now + Duration::from_secs(60));
}

#[test]
fn the_summary_of_a_burst_has_its_arithmetic() {
    let mut bench = Bench::new(BURST, 4);
    bench.after_seconds(60, 50);
    bench.replicas.truncate(4);
    let before = bench.now;
    let verdict = (0..6).map(|_| bench.after_a_second(400)).find(Verdict::is_rescale).expect("a burst");
    let since = bench.now;
    assert!(since <= before + Duration::from_secs(3));
    let until = since + Duration::from_secs(60);
    let summary = bench.summary(&verdict);
    for part in [
        format!("a burst since {since}, "),
        " in total over 6s, which at 50 per replica asks for ".to_owned(),
        "with 4 ready (a burst begins at 200 % of what these should carry)".to_owned(),
        " in total over 1m, which at 50 per replica asks for ".to_owned(),
        format!("no replica is removed before {until}"),
    ] {
        assert!(summary.contains(&part), "{part} is missing in {summary}");
    }
}

#[test]
fn needing_one_more_replica_is_not_a_burst() {
    let mut bench = Bench::new(&BURST.replace("200", "115"), 2);
    // Two per cent above the target; rounded up to replicas it would be half as many again.
    let verdict = bench.after_seconds(120, 51);
    assert_eq!((verdict.desired, outcome(&verdict)), (2, BurstOutcome::WithinTolerance));
}

#[test]
fn nothing_is_removed_before_the_stable_window_is_complete() {
    let mut bench = Bench::new(BURST, 10);
    let first = bench.after_a_second(5);
    let until = bench.now + Duration::from_secs(60);
    assert_eq!(outcome(&first), BurstOutcome::WindowIncomplete { until });
    assert_eq!(bench.after_seconds(59, 5).desired, 10);
    assert_eq!(bench.after_a_second(5).desired, 1);
}

#[test]
fn seconds_without_a_measurement_do_not_count_as_idle() {
    let mut bench = Bench::new(BURST, 4);
    bench.after_seconds(60, 50);
    for _ in 0..40 {
        assert!(matches!(bench.after_an_unmeasured_second().outcome, Outcome::Held { .. }));
    }
    let verdict = bench.after_a_second(50);
    assert_eq!((verdict.desired, outcome(&verdict)), (4, BurstOutcome::WithinTolerance));
}

#[test]
fn after_a_stable_window_without_measurements_the_window_is_incomplete_again() {
    let mut bench = Bench::new(BURST, 4);
    bench.after_seconds(60, 50);
    for _ in 0..60 {
        bench.after_an_unmeasured_second();
    }
    let verdict = bench.after_a_second(1);
    assert_eq!(
        outcome(&verdict),
        BurstOutcome::WindowIncomplete { until: bench.now + Duration::from_secs(60) }
    );
}

#[test]
fn the_memory_of_windows_is_bounded() {
    for windows in
        [r#""stableWindow": "1h", "panicWindow": "3m""#, r#""stableWindow": "20s", "panicWindow": "1s""#]
    {
        let mut bench = Bench::new(&format!(r#"{{"burst": {{{windows}}}}}"#), 4);
        bench.after_seconds(8000, 50);
        let PolicyHistory::Load(load) = &bench.memory.policy.history else {
            panic!("a burst policy has a memory of the load")
        };
        assert!(load.parts.len() <= LOAD_PARTS_MAX, "{}", load.parts.len());
    }
}

#[test]
fn no_replica_is_removed_while_one_has_no_sample() {
    let mut bench = Bench::new(BURST, 4);
    bench.after_seconds(60, 30);
    let first = bench.replicas[0];
    bench.replicas[0].started = None;
    let current = bench.current;
    let verdict = bench.measured(|replica| if *replica == first { Ok(Milli(5000)) } else { Err(Gap::Stale) });
    assert_eq!(verdict.desired, current);
}
