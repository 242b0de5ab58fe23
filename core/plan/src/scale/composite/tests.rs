use std::time::Duration;

use model::memory::{Recommendation, ScalingMemory};
use model::name::ServiceName;
use model::resource::{Quantity, ScalePolicy};
use model::settings::HpaSettings;
use model::time::{Now, Time, Wall};

use super::super::hpa::{Outcome, Verdict, reconcile};
use super::super::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Replicas, Requests, Sample, Samples,
    ScaleView, Unavailable,
};
use super::*;

const NOW: Time = Time::from_millis(100_000_000);

/// Four replicas, each with its processor usage in thousandths of a core (target 500), and requests a second (target 10).
struct Case {
    spec: AutoscalerSpec,
    cpu: Vec<Result<i64, Gap>>,
    requests: Option<i64>,
}

impl Case {
    fn of(weights: &[(&str, &str)], cpu: i64, requests: i64) -> Self {
        let weights =
            weights.iter().map(|(name, weight)| ((*name).to_owned(), Quantity::parse(weight).unwrap()));
        let policy = CompositePolicy { weights: weights.collect() };
        let cpu_metric = r#"{"resource": {"resource": "cpu", "target": {"average": "500m"}}}"#;
        let requests_metric =
            r#"{"pods": {"metric": {"name": "requests", "selector": null}, "average": "10"}}"#;
        let metrics = [cpu_metric, requests_metric].map(|text| serde_json::from_str(text).expect("a metric"));
        let spec = AutoscalerSpec {
            service: ServiceName::parse("shop").expect("a valid name"),
            min: 1,
            max: 100,
            metrics: metrics.into(),
            policy: ScalePolicy::Composite(policy),
            behavior: None,
        };
        Self { spec, cpu: vec![Ok(cpu); 4], requests: Some(requests) }
    }

    fn decide(&self) -> Verdict {
        let since = NOW - Duration::from_hours(1);
        let readiness = Some(Readiness { ready: true, since });
        let ready = ReplicaView { phase: Phase::Running, leaving: false, started: Some(since), readiness };
        let replicas = vec![ready; self.cpu.len()];
        let sample = |milli: i64| Sample { value: Milli(milli), at: NOW, window: Duration::from_secs(2) };
        let cpu: Vec<_> = self.cpu.iter().map(|used| used.map(sample)).collect();
        let requests = vec![self.requests.map(|rate| sample(rate * 1000)).ok_or(Gap::Absent); 4];
        let of =
            |by_replica| MetricReading::Each(Samples { by_replica, unmatched: 0, requests: Requests::Unset });
        let requests = match self.requests {
            Some(_) => of(&requests),
            None => MetricReading::Unavailable(Unavailable::NoSource),
        };
        let view = ScaleView {
            spec_replicas: 4,
            status_replicas: 4,
            members: Members::Known(&Replicas::of(&replicas)),
            warmup: None,
            learned_target: None,
        };
        let mut memory = ScalingMemory::default();
        memory.recommendations.push(Recommendation { at: since, replicas: 1 });
        let readings = [of(&cpu), requests];
        reconcile(NOW, &self.spec, &view, &readings, &mut memory, &HpaSettings::default())
    }

    fn desired(&self) -> u32 {
        self.decide().desired
    }

    fn summary(&self) -> String {
        let now = Now { time: NOW, wall: Wall::from_millis(0) };
        self.decide().decision(self.spec.service.clone(), now, &self.spec).summary.to_string()
    }
}

#[test]
fn metrics_are_ratios_to_their_targets_and_weigh_the_same_unless_declared() {
    // Twice and half of what they should be.
    assert_eq!(Case::of(&[], 1000, 5).desired(), 5, "the mean of 2 and 0.5 is 1.25");
    assert_eq!(Case::of(&[("cpu", "3")], 1000, 5).desired(), 7, "(3 × 2 + 0.5) / 4 is 1.625");
    assert_eq!(
        Case::of(&[("requests", "3")], 1000, 5).desired(),
        4,
        "(2 + 3 × 0.5) / 4 is 0.875, and of four that is 3.5"
    );
    assert_eq!(Case::of(&[("requests", "0")], 1000, 5).desired(), 8);
    assert_eq!(Case::of(&[("cpu", "0")], 1000, 5).desired(), 2);
}

#[test]
fn a_high_metric_and_a_low_one_can_cancel_out() {
    assert_eq!(Case::of(&[], 700, 6).desired(), 4, "the mean of 1.4 and 0.6 is 1");
}

#[test]
fn the_weights_are_shown_with_the_arithmetic() {
    let summary = Case::of(&[("cpu", "3")], 1000, 5).summary();
    assert!(
        summary.contains(
            "the load is (3 × cpu 2 + 1 × requests 0.5) / 4 = 1.625: 1.625 × 4 replicas, rounded up, is 7"
        ),
        "{summary}"
    );
    let case = Case::of(&[("cpu", "3"), ("requests", "0")], 1000, 5);
    let verdicts = case.decide().metric_verdicts(&case.spec);
    let notes: Vec<&str> = verdicts.iter().map(|verdict| &*verdict.note).collect();
    assert!(notes[0].starts_with("its weight is 3 of 3, and it adds 2 to the load"), "{notes:?}");
    assert_eq!(notes[1], "it has no effect: its weight is 0");
    assert_eq!((&*verdicts[2].name, verdicts[2].proposal), ("composite load", Some(8)));
}

#[test]
fn a_missing_metric_counts_as_idle_and_never_scales_in() {
    let missing = |cpu| Case { requests: None, ..Case::of(&[], cpu, 0) };
    assert_eq!(missing(2000).desired(), 8, "half of 4 is 2 all the same");
    for cpu in [1000, 400, 0] {
        assert!(matches!(missing(cpu).decide().outcome, Outcome::Held { invalid: 1, .. }), "{cpu}");
    }
    let partial =
        Case { cpu: vec![Ok(100), Ok(100), Err(Gap::Stale), Err(Gap::Stale)], ..Case::of(&[], 0, 1) };
    assert_eq!(partial.desired(), 4);
}

#[test]
fn a_metric_without_weight_may_be_missing() {
    let case = Case { requests: None, ..Case::of(&[("requests", "0")], 250, 0) };
    assert_eq!(case.desired(), 2);
}
