use model::histogram::Width;
use model::memory::{PolicyHistory, RISE_STEPS_MAX, RiseMemory};

use super::super::combine::DecidedBy;
use super::super::hpa::Outcome;
use super::super::slo_first::SloDecision;
use super::*;

/// An SLO within which a replica carries 50 requests a second.
fn slo_policy(objective: &str) -> String {
    format!(r#"{{"slo": {{"latency": {{"quantile": 0.99, "below": "200ms"}}, "objective": {objective}}}}}"#)
}

/// A second of so many requests in all.
fn second(bench: &mut Bench, load: i64) -> Verdict {
    let each = Milli(load * 1000 / i64::from(bench.current.max(1)));
    bench.measured(|_| Ok(each))
}

fn decision(verdict: &Verdict) -> SloDecision {
    match verdict.outcome {
        Outcome::Scaled { decided_by: DecidedBy::Slo(decision), .. } => decision,
        other => panic!("not decided by an SLO: {other:?}"),
    }
}

fn rises(bench: &Bench) -> &RiseMemory {
    match &bench.memory.policy.history {
        PolicyHistory::Rises(rises) => rises,
        other => panic!("no rises: {other:?}"),
    }
}

/// Minutes of 100 requests a second, each second one with twice as many, so that the rises are known; the last one is quiet.
fn with_known_rises(objective: &str) -> Bench {
    let mut bench = Bench::new(&slo_policy(objective), 4);
    for minute in 0..41 {
        for _ in 0..60 {
            second(&mut bench, if minute % 2 == 0 { 100 } else { 200 });
        }
    }
    bench
}

#[test]
fn rises_within_a_minute_are_distinguished_from_rises_between_minutes() {
    let bursts = |load: fn(u64) -> i64| {
        let mut bench = Bench::new(&slo_policy("0.999"), 9);
        for _ in 0..20 * 60 {
            let load = load(bench.now.as_millis() / 1000);
            second(&mut bench, load);
        }
        // In thousandths of the mean of a minute.
        rises(&bench).bursts.percentile(90, Width(10)).expect("minutes were seen")
    };
    assert!(bursts(|_| 200) < 20, "a constant load has no bursts");
    assert!(
        bursts(|at| if at / 60 % 2 == 0 { 100 } else { 200 }) < 20,
        "the load is constant within each minute"
    );
    let burst = bursts(|at| if (30..35).contains(&(at % 60)) { 300 } else { 100 });
    assert!((1000..2500).contains(&burst), "for five seconds of each minute three times as many: {burst}");
}

#[test]
fn a_service_without_observed_rises_keeps_three_tenths_free() {
    let mut bench = Bench::new(&slo_policy("0.999"), 4);
    let verdict = second(&mut bench, 141);
    assert!(decision(&verdict).is_new, "{verdict:?}");
    assert_eq!((decision(&verdict).needed, verdict.desired), (3, 5));
}

#[test]
fn a_load_that_never_rises_gets_only_the_needed_replicas() {
    let mut bench = Bench::new(&slo_policy("0.999"), 4);
    let verdict = (0..2400).map(|_| second(&mut bench, 170)).last().expect("forty minutes");
    assert_eq!((decision(&verdict).is_new, verdict.desired), (false, 4));
}

#[test]
fn replicas_are_kept_for_observed_rises() {
    let mut bench = with_known_rises("0.999");
    let verdict = second(&mut bench, 100);
    assert_eq!((decision(&verdict).needed, decision(&verdict).risk), (2, 0), "{verdict:?}");
    assert!((4..=5).contains(&verdict.desired), "{verdict:?}");
    let summary = bench.summary(&verdict);
    assert!(summary.contains("rose past what") && summary.contains("0 % of the times"), "{summary}");
}

#[test]
fn no_replicas_are_kept_for_rises_that_cost_less_than_they_do() {
    let mut bench = with_known_rises("0.5");
    let verdict = second(&mut bench, 100);
    assert_eq!(verdict.desired, 3, "enough for a hundredth more than two replicas carry: {verdict:?}");
    assert!(decision(&verdict).risk > 20_000, "{verdict:?}");
}

#[test]
fn nothing_is_removed_while_not_all_replicas_are_measured() {
    let mut bench = Bench::new(&slo_policy("0.999"), 6);
    let is_first = std::cell::Cell::new(true);
    let verdict =
        bench.measured(|_| if is_first.replace(false) { Err(Gap::Absent) } else { Ok(Milli(10_000)) });
    assert!(decision(&verdict).is_partial && verdict.desired == 6, "{verdict:?}");
}

#[test]
fn the_slowest_start_counts_and_decays() {
    let mut bench = Bench::new(&slo_policy("0.999"), 4);
    for replica in &mut bench.replicas[..1] {
        replica.started = replica.readiness.map(|readiness| readiness.since - Duration::from_secs(40));
    }
    second(&mut bench, 150);
    assert_eq!(rises(&bench).start, Duration::from_secs(40));
    bench.replicas = vec![ready(bench.now - Duration::from_hours(1)); 4];
    for _ in 0..3601 {
        second(&mut bench, 140);
    }
    assert_eq!(rises(&bench).start, Duration::from_secs(20));
}

#[test]
fn the_memory_of_rises_is_bounded_and_a_repeated_decision_does_not_change_it() {
    let mut bench = with_known_rises("0.999");
    assert!(rises(&bench).peaks.len() <= RISE_STEPS_MAX + 2);
    let before = rises(&bench).clone();
    bench.now = bench.now - Duration::from_secs(1);
    second(&mut bench, 100);
    assert_eq!(rises(&bench), &before);
}

#[test]
fn a_gap_in_the_observations_is_not_a_rise() {
    let mut bench = Bench::new(&slo_policy("0.999"), 4);
    for _ in 0..60 {
        second(&mut bench, 100);
    }
    let seen = rises(&bench).observed;
    bench.now = bench.now + Duration::from_mins(10);
    second(&mut bench, 190);
    assert!(rises(&bench).observed <= seen + 1, "{} after {seen}", rises(&bench).observed);
    assert_eq!(
        rises(&bench).rises.percentile(100, model::histogram::Width(10)),
        Some(10),
        "{:?}",
        rises(&bench)
    );
}

#[test]
fn scaling_in_leaves_a_margin_for_the_learned_capacity() {
    let mut bench = Bench::new(&slo_policy("0.999"), 4);
    (0..2400).for_each(|_| drop(second(&mut bench, 170)));
    // Four carry the load, but would not if each carried a tenth less.
    bench.current = 5;
    bench.replicas = vec![ready(bench.now - Duration::from_hours(1)); 5];
    let verdict = second(&mut bench, 190);
    assert_eq!(
        (decision(&verdict).floor, decision(&verdict).scale_in_floor, verdict.desired),
        (4, Some(5), 5)
    );
    let summary = bench.summary(&verdict);
    assert!(summary.contains("it scales in only to 5, because what it has learned may change"), "{summary}");
    // Scaling out needs no margin.
    assert_eq!(second(&mut bench, 260).desired, 6);
}

#[test]
fn rises_are_learned_from_observations_every_quarter_of_a_minute() {
    let mut bench = Bench::new(&slo_policy("0.999"), 4);
    for replica in &mut bench.replicas {
        replica.started = replica.readiness.map(|readiness| readiness.since - Duration::from_secs(60));
    }
    for minute in 0..240 {
        for _ in 0..4 {
            bench.now = bench.now + Duration::from_secs(14);
            second(&mut bench, if minute % 5 == 4 { 140 } else { 100 });
        }
    }
    assert!(rises(&bench).observed > 900, "{}", rises(&bench).observed);
    let verdict = second(&mut bench, 100);
    assert_eq!((decision(&verdict).is_new, decision(&verdict).floor), (false, 3), "{verdict:?}");
}

#[test]
fn a_proven_forecast_shortens_the_scale_in_window_unless_one_is_declared() {
    let seconds_held = |proven: Option<u64>, declared: Option<u64>| {
        let mut bench = with_known_rises("0.999");
        bench.forecast = ForecastFloor { floor: 1, proven: proven.map(Duration::from_secs) };
        bench.spec.behavior = declared.map(|seconds| {
            let scale_down = ScalingRules { stabilization: Duration::from_secs(seconds), ..at_once() };
            Behavior { scale_up: at_once(), scale_down }
        });
        (0..600).for_each(|_| drop(second(&mut bench, 400)));
        let busy = bench.current;
        (1..600).find(|_| second(&mut bench, 50).desired < busy).expect("it scales in within ten minutes")
    };
    let usual = seconds_held(None, None);
    assert!((300..310).contains(&usual), "{usual}");
    let with_forecast = seconds_held(Some(120), None);
    assert!(
        (120..190).contains(&with_forecast),
        "the mean of a minute falls first, then two minutes pass: {with_forecast}"
    );
    assert!(seconds_held(Some(3600), None) >= usual, "a forecast does not lengthen the window");
    let declared = seconds_held(Some(120), Some(400));
    assert!((400..470).contains(&declared), "{declared}");
}

#[test]
fn requests_count_as_late_by_the_replicas_that_served_and_for_how_long_they_did() {
    // Of four that are ready now, two have been so for half of the second.
    let late = |load: i64| {
        let mut bench = Bench::new(&slo_policy("0.999"), 4);
        second(&mut bench, 0);
        bench.current = 4;
        let since = |span| ready(bench.now + span);
        let (before, meanwhile) = (since(Duration::ZERO), since(Duration::from_millis(500)));
        bench.replicas = vec![before, before, meanwhile, meanwhile];
        second(&mut bench, load);
        rises(&bench).error_budget.late
    };
    assert_eq!(late(150), 0, "they carried fifty a second each");
    assert_eq!(late(151), 151_000);
    assert_eq!(late(200), 200_000, "all four carry that many now, but did not then");
}
