use model::memory::PolicyHistory;
use model::resource::{EVALUATIONS_MAX, ScalePolicy};

use super::super::combine::DecidedBy;
use super::super::hpa::Outcome;
use super::super::step::StepOutcome;
use super::*;

const STEPS: &str = r#"{"step": {
    "above": [{"from": 70, "to": 90, "replicas": 1}, {"from": 90, "percent": 50}],
    "below": [{"to": 10, "percent": 50}, {"from": 10, "to": 30, "replicas": 1}],
    "evaluation": {"every": "10s", "breaches": 2, "of": 3},
    "cooldown": {"out": "30s", "in": "2m"}
}}"#;

fn outcome(verdict: &Verdict) -> StepOutcome {
    match verdict.outcome {
        Outcome::Scaled { decided_by: DecidedBy::Step(decision), .. } => decision.outcome,
        other => panic!("no step: {other:?}"),
    }
}

#[test]
fn a_step_is_taken_once_enough_evaluations_agree() {
    let mut bench = Bench::new(STEPS, 4);
    // The first evaluation is over with the look after its ten seconds.
    assert_eq!(bench.after_seconds(20, 75).desired, 4);
    let verdict = bench.after_a_second(75);
    assert_eq!(verdict.desired, 5);
    assert_eq!(
        bench.summary(&verdict),
        "from 4 to 5: rate at 75 in the latest evaluation, and from 70 on in 2 of the last 2: the step from 70 to 90 adds 1, 4 + 1 is 5"
    );
}

#[test]
fn a_further_step_changes_more() {
    assert_eq!(Bench::new(STEPS, 4).after_seconds(21, 95).desired, 6);
    assert_eq!(Bench::new(STEPS, 4).after_seconds(21, 20).desired, 3);
    assert_eq!(Bench::new(STEPS, 9).after_seconds(21, 5).desired, 5);
}

#[test]
fn a_step_holds_its_beginning_and_not_its_end() {
    for (each, desired) in [(69, 4), (70, 5), (89, 5), (90, 6), (30, 4), (29, 3), (10, 3), (9, 2)] {
        assert_eq!(Bench::new(STEPS, 4).after_seconds(21, each).desired, desired, "{each}");
    }
}

#[test]
fn evaluations_that_do_not_agree_are_made_up_for_by_others() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(10, 75);
    let verdict = bench.after_seconds(11, 50);
    assert_eq!(outcome(&verdict), StepOutcome::Resting);
    assert_eq!(
        bench.summary(&verdict),
        "stays at 4: rate at 50 in the latest evaluation, which no step covers, so the size stays at 4"
    );
    let verdict = bench.after_seconds(10, 75);
    assert_eq!(verdict.desired, 5, "two of the latest three");
}

#[test]
fn a_short_peak_is_no_evaluation() {
    let mut bench = Bench::new(STEPS, 4);
    for _ in 0..20 {
        assert_eq!(bench.after_seconds(9, 50).desired, 4);
        assert_eq!(bench.after_a_second(200).desired, 4, "the mean of ten seconds is 65");
    }
}

#[test]
fn a_change_rests_and_says_until_when() {
    let mut bench = Bench::new(STEPS, 4);
    assert_eq!(bench.after_seconds(21, 75).desired, 5);
    let until = bench.now + Duration::from_secs(30);
    let verdict = bench.after_seconds(21, 75);
    assert_eq!(verdict.desired, 5);
    assert_eq!(
        bench.summary(&verdict),
        format!(
            "stays at 5: rate at 75 in the latest evaluation, from 70 on, but the cooldown lets no replica be added before {until}"
        )
    );
    assert_eq!(bench.after_seconds(9, 75).desired, 6, "the cool-down is over");
}

#[test]
fn growth_does_not_wait_for_a_removal_and_a_removal_waits_for_both() {
    let mut bench = Bench::new(STEPS, 6);
    assert_eq!(bench.after_seconds(21, 20).desired, 5);
    assert_eq!(bench.after_seconds(20, 75).desired, 6);
    assert_eq!(bench.after_seconds(119, 20).desired, 6);
    assert_eq!(bench.after_a_second(20).desired, 5);
}

#[test]
fn what_was_evaluated_before_a_change_says_nothing_after_it() {
    let mut bench = Bench::new(&STEPS.replace("30s", "0s"), 4);
    assert_eq!(bench.after_seconds(21, 75).desired, 5);
    assert_eq!(bench.after_seconds(19, 75).desired, 5);
    assert_eq!(bench.after_a_second(75).desired, 6);
}

#[test]
fn silence_agrees_with_nothing_and_holds_the_number() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(11, 20);
    for _ in 0..20 {
        assert!(matches!(bench.after_silence().outcome, Outcome::Held { .. }));
    }
    let verdict = bench.after_a_second(20);
    assert_eq!(outcome(&verdict), StepOutcome::Unknown);
    assert_eq!(
        bench.summary(&verdict),
        "stays at 4: rate was not measured during the latest evaluation, so the size stays at 4"
    );
}

#[test]
fn a_replica_without_a_sample_keeps_all_from_being_removed() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(20, 5);
    let first = bench.replicas[0];
    bench.replicas[0].started = None;
    let verdict = bench.measured(|replica| if *replica == first { Ok(Milli(5000)) } else { Err(Gap::Stale) });
    assert_eq!((verdict.desired, outcome(&verdict)), (4, StepOutcome::Partial));
    assert_eq!(bench.after_a_second(5).desired, 2);
}

#[test]
fn exactly_goes_one_way_only() {
    let steps = r#"{"step": {"above": [{"from": 70, "exactly": 8}], "below": [{"to": 30, "exactly": 2}]}}"#;
    for (current, each, desired) in [(4, 75, 8), (9, 75, 9), (4, 20, 2), (1, 20, 1)] {
        assert_eq!(
            Bench::new(steps, current).after_seconds(31, each).desired,
            desired,
            "{current} at {each}"
        );
    }
}

#[test]
fn shares_are_rounded_towards_more_replicas_and_change_one_at_least() {
    let steps = |percent: u32| {
        format!(
            r#"{{"step": {{"above": [{{"from": 70, "percent": {percent}}}], "below": [{{"to": 30, "percent": {percent}, "atLeast": 2}}]}}}}"#
        )
    };
    for (percent, current, each, desired) in
        [(10, 11, 75, 13), (10, 1, 75, 2), (50, 4, 75, 6), (10, 11, 20, 9), (50, 9, 20, 5), (100, 9, 20, 1)]
    {
        let verdict = Bench::new(&steps(percent), current).after_seconds(31, each);
        assert_eq!(verdict.desired, desired, "{percent} % of {current} at {each}");
    }
}

#[test]
fn a_nearer_step_that_asks_for_more_is_not_passed_by_a_further_one() {
    let steps =
        r#"{"step": {"above": [{"from": 70, "to": 90, "percent": 100}, {"from": 90, "replicas": 1}]}}"#;
    assert_eq!(Bench::new(steps, 10).after_seconds(31, 95).desired, 20);
    assert_eq!(Bench::new(steps, 1).after_seconds(31, 95).desired, 2);
}

#[test]
fn a_long_pause_counts_as_evaluations_in_which_nothing_was_measured() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(20, 75);
    bench.now = bench.now + Duration::from_hours(30);
    assert_eq!(outcome(&bench.after_a_second(75)), StepOutcome::Unknown);
    let PolicyHistory::Evaluations(evaluations) = &bench.memory.policy.history else {
        panic!("it evaluates")
    };
    assert_eq!(evaluations.means, [None; 3]);
}

#[test]
fn no_more_is_remembered_than_is_looked_at() {
    let steps = STEPS.replace(r#""of": 3"#, r#""of": 60"#).replace("10s", "1s");
    let mut bench = Bench::new(&steps, 4);
    bench.after_seconds(500, 50);
    let PolicyHistory::Evaluations(evaluations) = &bench.memory.policy.history else {
        panic!("it evaluates")
    };
    assert_eq!(evaluations.means.len(), EVALUATIONS_MAX as usize);
}

#[test]
fn metrics_that_are_not_looked_at_say_so() {
    let mut bench = Bench::new(&STEPS.replace(r#""above""#, r#""metric": "rate", "above""#), 4);
    let ScalePolicy::Step(_) = &bench.spec.policy else { panic!("steps") };
    let metric = MetricIdentifier { name: "queue".to_owned(), selector: None };
    bench.spec.metrics.insert(0, MetricSpec::Pods { metric, average: Quantity::from_milli(1) });
    let verdict = bench.after_a_second(50);
    assert!(
        matches!(verdict.outcome, Outcome::Held { invalid: 1, .. }),
        "rate has no reading here: {verdict:?}"
    );
    let verdicts = verdict.metric_verdicts(&bench.spec);
    assert_eq!(&*verdicts[0].note, "it has no effect: the policy uses rate only");
    assert_eq!(verdicts[0].proposal, None);
}
