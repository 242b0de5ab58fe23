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
fn scaling_out_must_have_been_proposed_without_interruption() {
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
fn replicas_that_are_not_warm_do_not_count_with_their_samples() {
    let mut bench = Bench::new(TRACKING, 4);
    assert_eq!(bench.after_seconds(4, 100).desired, 8);
    // The four warm replicas still measure the load that the other four were added for. The samples of those do not count, as a start takes
    // more than normal work.
    let warm: Vec<_> = bench.replicas[..4].to_vec();
    for _ in 0..18 {
        let verdict =
            bench.measured(|replica| Ok(Milli(if warm.contains(replica) { 100_000 } else { 900_000 })));
        assert_eq!(verdict.desired, 8);
    }
}

#[test]
fn no_replica_is_removed_while_some_warm_up() {
    let mut bench = Bench::new(TRACKING, 4);
    assert_eq!(bench.after_seconds(4, 100).desired, 8);
    let until = bench.now + Duration::from_secs(20);
    let verdict = bench.after_seconds(19, 5);
    assert_eq!(outcome(&verdict), TrackingOutcome::WarmingUp { replicas: 4, until: Some(until) });
    assert!(bench.summary(&verdict).ends_with(&format!(
        "; but 4 replicas are warming up until {until}, and no replica is removed meanwhile"
    )));
    // Once they are warm, fewer must be proposed for long enough.
    assert_eq!(bench.after_seconds(15, 5).desired, 8);
    assert_eq!(bench.after_a_second(5).desired, 1);
}

#[test]
fn scaling_in_waits_longer_than_scaling_out() {
    let mut bench = Bench::new(TRACKING, 4);
    assert_eq!(bench.after_seconds(15, 20).desired, 4);
    assert_eq!(bench.after_a_second(20).desired, 2);
}

#[test]
fn no_replica_is_removed_while_one_has_no_sample() {
    let mut bench = Bench::new(TRACKING, 4);
    bench.after_seconds(15, 5);
    let first = bench.replicas[0];
    bench.replicas[0].started = None;
    let verdict =
        bench.measured(|replica| if *replica == first { Ok(Milli(5000)) } else { Err(Gap::Absent) });
    assert_eq!(verdict.desired, 4);
}

#[test]
fn starting_replicas_are_not_added_twice_for_a_total_either() {
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
    // The lag is twice its target: twice the four warm replicas, not twice those that have just started.
    assert_eq!((sizes[0], sizes[19]), (4, 8));
}
