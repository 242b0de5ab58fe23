use super::super::combine::DecidedBy;
use super::super::hpa::Outcome;
use super::super::watermarks::WatermarkOutcome;
use super::*;

const MARKS: &str = r#"{"watermarks": {"high": 80, "low": 40}}"#;
const PATIENT: &str = r#"{"watermarks": {"high": 80, "low": 40, "outAfter": "10s", "inAfter": "1m"}}"#;

fn outcome(verdict: &Verdict) -> WatermarkOutcome {
    match verdict.outcome {
        Outcome::Scaled { decided_by: DecidedBy::Watermarks(decision), .. } => decision.outcome,
        other => panic!("no watermark: {other:?}"),
    }
}

#[test]
fn between_the_watermarks_the_number_stays() {
    for each in [40, 60, 80] {
        let mut bench = Bench::new(MARKS, 4);
        let verdict = bench.after_seconds(600, each);
        assert_eq!((verdict.desired, outcome(&verdict)), (4, WatermarkOutcome::Unchanged), "{each}");
        assert_eq!(
            bench.summary(&verdict),
            format!("stays at 4: rate at {each}, between the watermarks 40 and 80, so the size stays at 4")
        );
    }
}

#[test]
fn above_the_high_watermark_replicas_are_added_until_the_load_is_down_to_it() {
    let mut bench = Bench::new(MARKS, 4);
    let verdict = bench.after_a_second(100);
    assert_eq!(verdict.desired, 5);
    assert_eq!(
        bench.summary(&verdict),
        "from 4 to 5: rate at 100, above the high watermark 80: 400 in total, with at most 80 per replica, needs 5"
    );
}

#[test]
fn below_the_low_watermark_replicas_are_removed_until_the_load_is_up_to_it() {
    let mut bench = Bench::new(MARKS, 10);
    let verdict = bench.after_a_second(30);
    assert_eq!(verdict.desired, 7);
    assert_eq!(
        bench.summary(&verdict),
        "from 10 to 7: rate at 30, below the low watermark 40: 300 in total, with at least 40 and at most 80 per replica, needs 7"
    );
}

#[test]
fn removing_replicas_never_brings_the_load_above_the_high_watermark() {
    // A low watermark near the high one: 1.6 replicas at 50, of which one alone would have 80.
    let mut bench = Bench::new(r#"{"watermarks": {"high": 60, "low": 50}}"#, 2);
    let verdict = bench.after_a_second(40);
    assert_eq!((verdict.desired, outcome(&verdict)), (2, WatermarkOutcome::Unchanged));
    assert_eq!(
        bench.summary(&verdict),
        "stays at 2: rate at 40, below the low watermark 50, but fewer replicas would exceed the high one (60), so the size stays at 2"
    );
}

#[test]
fn a_change_waits_until_it_was_wanted_without_interruption() {
    let mut bench = Bench::new(PATIENT, 4);
    assert_eq!(bench.after_seconds(9, 100).desired, 4);
    assert_eq!(bench.after_a_second(60).desired, 4, "a break");
    let verdict = bench.after_a_second(100);
    let until = bench.now + Duration::from_secs(10);
    assert_eq!(
        bench.summary(&verdict),
        format!(
            "stays at 4: rate at 100, above the high watermark 80: 5 replicas from {until} on if it stays there; until then 4"
        )
    );
    assert_eq!(bench.after_seconds(9, 100).desired, 4);
    assert_eq!(bench.after_a_second(100).desired, 5);
}

#[test]
fn scaling_in_has_a_delay_of_its_own() {
    let mut bench = Bench::new(PATIENT, 4);
    assert_eq!(bench.after_seconds(60, 20).desired, 4);
    assert_eq!(bench.after_a_second(20).desired, 2);
}

#[test]
fn a_missing_measurement_interrupts_the_wait_and_holds_the_number() {
    let mut bench = Bench::new(PATIENT, 4);
    bench.after_seconds(59, 20);
    assert!(matches!(bench.after_an_unmeasured_second().outcome, Outcome::Held { .. }));
    assert_eq!(bench.after_seconds(60, 20).desired, 4);
}

#[test]
fn no_replica_is_removed_while_one_has_no_sample() {
    let mut bench = Bench::new(MARKS, 4);
    let first = bench.replicas[0];
    bench.replicas[0].started = None;
    let verdict =
        bench.measured(|replica| if *replica == first { Ok(Milli(5000)) } else { Err(Gap::Failed) });
    assert_eq!((verdict.desired, outcome(&verdict)), (4, WatermarkOutcome::Partial));
}

#[test]
fn starting_replicas_are_not_added_twice() {
    let mut bench = Bench::new(MARKS, 4);
    assert_eq!(bench.after_a_second(100).desired, 5);
    // The fifth is not ready yet, so that the others have as much as before.
    bench.replicas[4].readiness = Some(Readiness { ready: false, since: bench.now });
    bench.replicas[4].phase = Phase::Pending;
    let verdict = bench.after_a_second(100);
    assert_eq!((verdict.desired, outcome(&verdict)), (5, WatermarkOutcome::Unchanged));
    assert!(
        bench.summary(&verdict).contains("enough replicas for it are starting"),
        "{}",
        bench.summary(&verdict)
    );
}
