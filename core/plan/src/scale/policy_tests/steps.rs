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
    // An evaluation is over at the first decision after its ten seconds.
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
fn a_step_includes_its_lower_bound_and_excludes_its_upper_one() {
    for (each, desired) in [(69, 4), (70, 5), (89, 5), (90, 6), (30, 4), (29, 3), (10, 3), (9, 2)] {
        assert_eq!(Bench::new(STEPS, 4).after_seconds(21, each).desired, desired, "{each}");
    }
}

#[test]
fn a_step_needs_only_some_of_the_latest_evaluations_to_agree() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(10, 75);
    let verdict = bench.after_seconds(11, 50);
    assert_eq!(outcome(&verdict), StepOutcome::NoStep);
    assert_eq!(
        bench.summary(&verdict),
        "stays at 4: rate at 50 in the latest evaluation, which no step covers, so the size stays at 4"
    );
    let verdict = bench.after_seconds(10, 75);
    assert_eq!(verdict.desired, 5, "two of the latest three");
}

#[test]
fn a_peak_shorter_than_an_evaluation_takes_no_step() {
    let mut bench = Bench::new(STEPS, 4);
    for _ in 0..20 {
        assert_eq!(bench.after_seconds(9, 50).desired, 4);
        assert_eq!(bench.after_a_second(200).desired, 4, "the mean of ten seconds is 65");
    }
}

#[test]
fn the_summary_names_the_end_of_a_cooldown() {
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
    assert_eq!(bench.after_seconds(9, 75).desired, 6, "the cooldown is over");
}

#[test]
fn scaling_out_does_not_wait_for_a_removal_and_scaling_in_waits_for_both() {
    let mut bench = Bench::new(STEPS, 6);
    assert_eq!(bench.after_seconds(21, 20).desired, 5);
    assert_eq!(bench.after_seconds(20, 75).desired, 6);
    assert_eq!(bench.after_seconds(119, 20).desired, 6);
    assert_eq!(bench.after_a_second(20).desired, 5);
}

#[test]
fn evaluations_from_before_a_change_do_not_count_after_it() {
    let mut bench = Bench::new(&STEPS.replace("30s", "0s"), 4);
    assert_eq!(bench.after_seconds(21, 75).desired, 5);
    assert_eq!(bench.after_seconds(19, 75).desired, 5);
    assert_eq!(bench.after_a_second(75).desired, 6);
}

#[test]
fn evaluations_without_a_measurement_agree_with_no_step_and_hold_the_number() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(11, 20);
    for _ in 0..20 {
        assert!(matches!(bench.after_an_unmeasured_second().outcome, Outcome::Held { .. }));
    }
    let verdict = bench.after_a_second(20);
    assert_eq!(outcome(&verdict), StepOutcome::Unknown);
    assert_eq!(
        bench.summary(&verdict),
        "stays at 4: rate was not measured during the latest evaluation, so the size stays at 4"
    );
}

#[test]
fn no_replica_is_removed_while_one_has_no_sample() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(20, 5);
    let first = bench.replicas[0];
    bench.replicas[0].started = None;
    let verdict = bench.measured(|replica| if *replica == first { Ok(Milli(5000)) } else { Err(Gap::Stale) });
    assert_eq!((verdict.desired, outcome(&verdict)), (4, StepOutcome::Partial));
    assert_eq!(bench.after_a_second(5).desired, 2);
}

#[test]
fn a_step_to_an_exact_number_changes_only_in_its_direction() {
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
fn percentages_are_rounded_towards_more_replicas_and_change_at_least_one() {
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
fn the_step_that_changes_most_is_taken_of_those_that_are_reached() {
    let steps =
        r#"{"step": {"above": [{"from": 70, "to": 90, "percent": 100}, {"from": 90, "replicas": 1}]}}"#;
    assert_eq!(Bench::new(steps, 10).after_seconds(31, 95).desired, 20);
    assert_eq!(Bench::new(steps, 1).after_seconds(31, 95).desired, 2);
}

#[test]
fn a_long_gap_counts_as_evaluations_without_a_measurement() {
    let mut bench = Bench::new(STEPS, 4);
    bench.after_seconds(20, 75);
    bench.now = bench.now + Duration::from_hours(30);
    assert_eq!(outcome(&bench.after_a_second(75)), StepOutcome::Unknown);
    let PolicyHistory::Evaluations(evaluations) = &bench.memory.policy.history else {
        panic!("a step policy has a memory of evaluations")
    };
    assert_eq!(evaluations.means, [None; 3]);
}

#[test]
fn the_memory_of_evaluations_is_bounded() {
    let steps = STEPS.replace(r#""of": 3"#, r#""of": 60"#).replace("10s", "1s");
    let mut bench = Bench::new(&steps, 4);
    bench.after_seconds(500, 50);
    let PolicyHistory::Evaluations(evaluations) = &bench.memory.policy.history else {
        panic!("a step policy has a memory of evaluations")
    };
    assert_eq!(evaluations.means.len(), EVALUATIONS_MAX as usize);
}

#[test]
fn metrics_that_the_policy_does_not_use_have_a_note() {
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
