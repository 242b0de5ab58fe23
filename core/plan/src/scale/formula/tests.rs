use std::time::Duration;

use model::decision::ConditionKind;
use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::settings::HpaSettings;
use model::time::Time;
use proptest::prelude::*;

use super::super::combine::DecidedBy;
use super::super::hpa::{Outcome, Verdict, reconcile};
use super::super::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Replicas, Requests, Sample, Samples,
    ScaleView, Unavailable,
};
use super::*;

const NOW: Time = Time::from_millis(100_000_000);

/// A service with a processor metric of each replica, in thousandths of the core that each requests, and an external queue.
struct Case {
    spec: AutoscalerSpec,
    current: u32,
    /// The usage of each ready replica.
    used: Vec<Result<i64, Gap>>,
    queue: Option<i64>,
    /// Replicas at the end that have become ready a second ago.
    young: usize,
}

impl Case {
    fn of(policy: &str, used: &[i64], queue: Option<i64>) -> Self {
        let policy = serde_json::from_str(policy).expect("a policy in the code is a policy");
        let metric = |name: &str| {
            format!(
                r#"{{"external": {{"metric": {{"name": "{name}", "selector": null}}, "target": {{"average": "10"}}}}}}"#
            )
        };
        let cpu = r#"{"resource": {"resource": "cpu", "target": {"utilization": 60}}}"#;
        let metrics = [cpu, &metric("queue")].map(|text| serde_json::from_str(text).expect("a metric"));
        let spec = AutoscalerSpec {
            service: ServiceName::parse("shop").expect("a valid name"),
            min: 0,
            max: 100,
            metrics: metrics.into(),
            policy: ScalePolicy::Formula(policy),
            behavior: None,
        };
        let current = u32::try_from(used.len()).expect("few");
        Self { spec, current, used: used.iter().map(|used| Ok(*used)).collect(), queue, young: 0 }
    }

    /// Decides; the log of recommendations has only a low one, which allows scaling in.
    fn decide(&self) -> Verdict {
        let since = NOW - Duration::from_hours(1);
        let ready = ReplicaView {
            phase: Phase::Running,
            leaving: false,
            started: Some(since),
            readiness: Some(Readiness { ready: true, since }),
        };
        let mut replicas = vec![ready; self.used.len()];
        let just = NOW - Duration::from_secs(1);
        for replica in replicas.iter_mut().rev().take(self.young) {
            (replica.started, replica.readiness) = (Some(just), Some(Readiness { ready: true, since: just }));
        }
        let sample = |used: &i64| Sample { value: Milli(*used), at: NOW, window: Duration::from_secs(2) };
        let samples: Vec<_> =
            self.used.iter().map(|used| used.as_ref().map(sample).map_err(|gap| *gap)).collect();
        let cpu = Samples { by_replica: &samples, unmatched: 0, requests: Requests::Same(Milli(1000)) };
        let queue = self.queue.map(|length| [Milli(length * 1000)]);
        let queue = match &queue {
            Some(length) => MetricReading::Series(length),
            None => MetricReading::Unavailable(Unavailable::Absent),
        };
        let view = ScaleView {
            warmup: None,
            learned_target: None,
            spec_replicas: self.current,
            status_replicas: self.current,
            members: Members::Known(&Replicas::of(&replicas)),
        };
        let mut memory = ScalingMemory::default();
        memory.recommendations.push(model::memory::Recommendation { at: since, replicas: 1 });
        memory.scaled_to_zero = self.current == 0;
        reconcile(
            NOW,
            &self.spec,
            &view,
            &[MetricReading::Each(cpu), queue],
            &mut memory,
            &HpaSettings::default(),
        )
    }

    /// The number, limited to twice the current one as in Kubernetes, and the summary.
    fn desired_and_summary(&self) -> (u32, String) {
        let verdict = self.decide();
        (verdict.desired, verdict.summary(&self.spec))
    }
}

#[test]
fn a_value_with_a_target_multiplies_the_replicas_by_their_ratio() {
    let busier = r#"{"expression": "max(cpu / 60, queue / 30)", "target": 1}"#;
    let (desired, summary) = Case::of(busier, &[1100, 1000], Some(12)).desired_and_summary();
    assert_eq!(desired, 4);
    assert_eq!(
        summary,
        "from 2 to 4: max(cpu / 60, queue / 30) is 1.75 (cpu 105 %, queue 12), target 1: 1.750 × 2 replicas, rounded up, is 4"
    );
    let (desired, summary) = Case::of(busier, &[300, 310], Some(31)).desired_and_summary();
    assert_eq!(desired, 2);
    assert!(
        summary.ends_with("the ratio 1.033 is within the tolerance, so the size stays at 2"),
        "{summary}"
    );
    assert_eq!(Case::of(busier, &[100, 100, 100, 100], Some(0)).desired_and_summary().0, 1, "1/6 of four");
}

#[test]
fn an_average_value_is_a_total_divided_by_the_target() {
    let work = r#"{"expression": "queue + 5 * replicas", "target": 10, "metricType": "AverageValue"}"#;
    let (desired, summary) = Case::of(work, &[0, 0], Some(25)).desired_and_summary();
    assert_eq!(desired, 4);
    assert!(
        summary.contains(
            "queue + 5 * replicas is 35 (queue 25, replicas 2), target 10: shared by 2 replicas; divided by"
        ),
        "{summary}"
    );
}

#[test]
fn without_a_target_the_value_is_the_number_of_replicas() {
    let plain = r#"{"expression": "queue / 10 + (1 if cpu > 80 else 0)"}"#;
    let (desired, summary) = Case::of(plain, &[900, 900], Some(15)).desired_and_summary();
    assert_eq!(desired, 3);
    assert!(summary.ends_with("is 2.5 (queue 15, cpu 90 %): rounded up, 3 replicas"), "{summary}");
    assert_eq!(Case::of(plain, &[100, 100], Some(0)).desired_and_summary().0, 0);
}

#[test]
fn a_missing_metric_holds_the_number_unless_the_formula_has_a_default() {
    let strict = r#"{"expression": "max(cpu / 60, queue / 30)", "target": 1}"#;
    let (desired, summary) = Case::of(strict, &[1200, 1200], None).desired_and_summary();
    assert_eq!(desired, 2, "{summary}");
    assert!(
        summary.starts_with("stays at 2: queue gives no number, because its source has no value"),
        "{summary}"
    );
    let lenient = r#"{"expression": "max(cpu / 60, (queue / 30) | default(0))", "target": 1}"#;
    let (desired, summary) = Case::of(lenient, &[1200, 1200], None).desired_and_summary();
    assert_eq!(desired, 4);
    assert!(summary.contains("(cpu 120 %, queue missing)"), "{summary}");
}

#[test]
fn a_formula_without_a_result_holds_the_number_and_says_why() {
    for (expression, why) in [
        ("cpu / (queue - 3)", "because it divides by zero"),
        ("cpu / 60 - queue", "because its result is below zero"),
        ("sqrt(0 - queue) + cpu", "because it takes the root of a negative number"),
        ("cpu * 1e300 * 1e300", "because its result is too large"),
    ] {
        let case =
            Case::of(&format!(r#"{{"expression": "{expression}", "target": 1}}"#), &[1200, 1200], Some(3));
        let verdict = case.decide();
        assert_eq!(verdict.desired, 2, "{expression}");
        let summary = verdict.summary(&case.spec);
        assert_eq!(summary, format!("stays at 2: the formula {expression} gives no number, {why}"));
        let conditions = verdict.conditions(&case.spec, &super::super::explain::RescaleResult::Done);
        assert!(conditions.iter().any(|it| it.kind == ConditionKind::ScalingActive
            && !it.holds
            && it.reason == "FormulaUndefined"));
    }
}

#[test]
fn partial_data_may_scale_out_and_never_in() {
    let mut case = Case::of(r#"{"expression": "cpu", "target": 60}"#, &[100, 100, 100], Some(0));
    case.used[2] = Err(Gap::Stale);
    let (desired, summary) = case.desired_and_summary();
    assert_eq!(desired, 3);
    assert!(
        summary.ends_with("asks for 1, but cpu is not measured on all replicas (2 ready, 1 missing (1 stale)), and a service never scales in on partial data"),
        "{summary}"
    );
    case.used = vec![Ok(2000), Ok(2000), Err(Gap::Absent)];
    assert_eq!(case.desired_and_summary().0, 6, "3.333 × 2, and no more than doubled");
}

#[test]
fn defaults_for_all_metrics_may_scale_out_and_never_in() {
    let fewer = r#"{"expression": "queue | default(1)", "target": 10, "metricType": "AverageValue"}"#;
    let (desired, summary) = Case::of(fewer, &[500, 500, 500], None).desired_and_summary();
    assert_eq!(desired, 3);
    assert!(
        summary.ends_with(
            "asks for 1, but none of its metrics is measured, and a service never scales in on a substitute"
        ),
        "{summary}"
    );
    let more = r#"{"expression": "queue | default(60)", "target": 10, "metricType": "AverageValue"}"#;
    assert_eq!(Case::of(more, &[500, 500, 500], None).desired_and_summary().0, 6);
}

#[test]
fn replicas_that_have_just_become_ready_do_not_multiply_the_load_of_the_others() {
    // Four serve, two of them for so short a time that their usage does not count yet.
    let mut case = Case::of(r#"{"expression": "cpu", "target": 60}"#, &[1200, 1200, 0, 0], Some(0));
    case.young = 2;
    let verdict = case.decide();
    let Outcome::Scaled { decided_by: DecidedBy::Formula(computed), .. } = verdict.outcome else {
        panic!("{verdict:?}")
    };
    assert_eq!(computed.arithmetic, CombinedArithmetic::Ratio { ratio: 2.0, times: 2, replacements: 0 });
    assert_eq!(verdict.desired, 4);
}

#[test]
fn from_zero_it_scales_out_by_external_metrics() {
    let mut case = Case::of(r#"{"expression": "max(cpu / 60, queue / 30)", "target": 1}"#, &[], Some(90));
    assert_eq!(case.desired_and_summary().0, 0, "there is no replica whose usage could be measured");
    case =
        Case::of(r#"{"expression": "max((cpu / 60) | default(0), queue / 30)", "target": 1}"#, &[], Some(90));
    assert_eq!(case.desired_and_summary().0, 3);
}

#[test]
fn the_record_lists_the_formula_after_its_metrics() {
    let case = Case::of(r#"{"expression": "queue / 10"}"#, &[500, 500], Some(25));
    let rows = case.decide().metric_verdicts(&case.spec);
    let row =
        |place: usize| (&*rows[place].name, &*rows[place].current, rows[place].proposal, &*rows[place].note);
    assert_eq!(row(0), ("cpu", "50 %", None, "it has no effect: the formula does not use it"));
    assert_eq!(row(1).3, "the formula uses it");
    assert_eq!(row(2), ("formula", "2.5", Some(3), "rounded up, 3 replicas"));
}

proptest! {
    #[test]
    fn never_outside_of_the_bounds_whatever_is_measured(
        used in prop::collection::vec(prop_oneof![Just(Err(Gap::Absent)), (0..5000_i64).prop_map(Ok)], 0..8),
        queue in prop::option::of(-100..100_000_i64),
        formula in prop::sample::select(vec![
            r#"{"expression": "max(cpu / 60, queue / 30)", "target": 1}"#,
            r#"{"expression": "queue - 50 * cpu"}"#,
            r#"{"expression": "queue / cpu", "target": 3, "metricType": "AverageValue"}"#,
            r#"{"expression": "(queue | default(1e300)) * 1e10 * ready_replicas", "target": "1m"}"#,
        ]),
        (min, above) in (0..4_u32, 0..6_u32),
    ) {
        let mut case = Case::of(formula, &[], queue);
        (case.spec.min, case.spec.max) = (min, (min + above).max(1));
        (case.current, case.used) = (u32::try_from(used.len()).expect("few"), used);
        let verdict = case.decide();
        let kept = verdict.desired == case.current && case.current <= case.spec.max;
        prop_assert!((case.spec.min..=case.spec.max).contains(&verdict.desired) || kept, "{verdict:?}");
        prop_assert!(!verdict.summary(&case.spec).is_empty());
        let is_partial = case.used.iter().any(Result::is_err);
        if is_partial && formula.contains("cpu") && case.current <= case.spec.max {
            prop_assert!(verdict.desired >= case.current, "{}", verdict.summary(&case.spec));
        }
    }
}
