use super::super::combine::DecidedBy;
use super::super::hpa::Outcome;
use super::super::tracking::TrackingOutcome;
use super::*;

const TRACKING: &str = r#"{"targetTracking": {"warmup": "20s", "outAfter": "3s", "inAfter": "15s"}}"#;

fn outcome(verdict: &Verdict) -> TrackingOutcome {
    match verdict.outcome {
        Outcome::Scaled { decided_by: DecidedBy::Tracking(decision), .. } => decision.outcome,
        other => panic!("no tracking: {other:?}"),
    }
}

#[test]
fn more_must_have_been_asked_for_without_a_break() {
    let mut bench = Bench::new(TRACKING, 4);
    let verdict = bench.after_a_second(100);
    let until = bench.now + Duration::from_secs(3);
    assert_eq!(verdict.desired, 4);
    assert_eq!(
        bench.summary(&verdict),
        format!(
            "stays at 4: rate at 100, target 50: 2.000 × 4 replicas, rounded up, is 8; no replica is added before {until}, and only if this lasts"
        )
    );
    assert_eq!(bench.after_seconds(2, 100).desired, 4);
    assert_eq!(bench.after_a_second(100).desired, 8);
}

#[test]
fn replicas_that_are_not_warm_are_not_measured_and_count_as_ordered() {
    let mut bench = Bench::new(TRACKING, 4);
    assert_eq!(bench.after_seconds(4, 100).desired, 8);
    // The load is spread over eight now; the four that are warm say what the four that are not are for. Of themselves these say
    // nothing: their start-up takes more than their work.
    let warm: Vec<_> = bench.replicas[..4].to_vec();
    for _ in 0..18 {
        let verdict =
            bench.measured(|replica| Ok(Milli(if warm.contains(replica) { 100_000 } else { 900_000 })));
        assert_eq!(verdict.desired, 8);
    }
}

#[test]
fn none_is_removed_while_replicas_warm_up() {
    let mut bench = Bench::new(TRACKING, 4);
    assert_eq!(bench.after_seconds(4, 100).desired, 8);
    let until = bench.now + Duration::from_secs(20);
    let verdict = bench.after_seconds(19, 5);
    assert_eq!(outcome(&verdict), TrackingOutcome::Warming { replicas: 4, until: Some(until) });
    assert!(bench.summary(&verdict).ends_with(&format!(
        "; but 4 replicas are warming up until {until}, and no replica is removed meanwhile"
    )));
    // Warm, and then fewer are asked for long enough.
    assert_eq!(bench.after_seconds(15, 5).desired, 8);
    assert_eq!(bench.after_a_second(5).desired, 1);
}

#[test]
fn fewer_must_have_been_asked_for_longer_than_more() {
    let mut bench = Bench::new(TRACKING, 4);
    assert_eq!(bench.after_seconds(15, 20).desired, 4);
    assert_eq!(bench.after_a_second(20).desired, 2);
}

#[test]
fn a_replica_without_a_sample_keeps_all_from_being_removed() {
    let mut bench = Bench::new(TRACKING, 4);
    bench.after_seconds(15, 5);
    let first = bench.replicas[0];
    bench.replicas[0].started = None;
    let verdict =
        bench.measured(|replica| if *replica == first { Ok(Milli(5000)) } else { Err(Gap::Absent) });
    assert_eq!(verdict.desired, 4);
}

#[test]
fn the_number_of_a_total_is_not_ordered_twice_either() {
    let mut bench = Bench::new(TRACKING, 4);
    let metric = MetricIdentifier { name: "lag".to_owned(), selector: None };
    let target = model::resource::TotalTarget::Value(Quantity::from_milli(1000));
    bench.spec.metrics = vec![MetricSpec::External { metric, target, fallback: None }];
    let mut sizes = Vec::new();
    for _ in 0..20 {
        bench.now = bench.now + Duration::from_secs(1);
        let view = ScaleView {
            warmup: None,
            learned_target: None,
            spec_replicas: bench.current,
            status_replicas: bench.current,
            members: Members::Known(&Replicas::of(&bench.replicas)),
        };
        let readings = [MetricReading::Series(&[Milli(2000)])];
        let verdict =
            reconcile(bench.now, &bench.spec, &view, &readings, &mut bench.memory, &HpaSettings::default());
        confirm(bench.now, &bench.spec, &verdict, &mut bench.memory);
        bench.current = verdict.desired;
        bench.replicas.resize(bench.current as usize, ready(bench.now));
        sizes.push(bench.current);
    }
    // The lag is twice what it should be: twice the four that are warm, and not twice those that have just come.
    assert_eq!((sizes[0], sizes[19]), (4, 8));
}
