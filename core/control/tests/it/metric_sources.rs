//! Sizes that follow the measurements of metric sources.

use std::sync::Arc;
use std::time::Duration;

use model::decision::RequiredChange;
use model::identity::{Incarnation, Ordinal};
use model::input::{Declared, Input, Intent, Report};
use model::measure::{Measured, MeasurementResult, MetricKey, MetricSubject, ReplicaMeasurement, Series};
use model::quantity::Milli;
use model::resource::hpa::shapes::{
    CrossVersionObjectReference, LabelSelector, LabelSelectorRequirement, SelectorOperator,
};
use model::resource::{
    Behavior, Fallback, MetricIdentifier, MetricSpec, PolicyChange, Quantity, ScalingPolicy, ScalingRules,
    SelectPolicy, TotalTarget,
};

use crate::bench::{autoscaled, name};
use crate::world::{World, ms, seconds};

/// How long a measurement is valid in these tests.
const STALE_AFTER: Duration = Duration::from_secs(10);

fn queue(selector: Option<LabelSelector>) -> MetricIdentifier {
    MetricIdentifier { name: "queue_length".into(), selector }
}

fn ten() -> Quantity {
    Quantity::parse("10").unwrap()
}

fn external(selector: Option<LabelSelector>) -> MetricSpec {
    MetricSpec::External { metric: queue(selector), target: TotalTarget::Average(ten()), fallback: None }
}

/// A service of one to nine replicas without stabilisation or rate limits.
fn shop(metric: MetricSpec) -> Declared {
    let mut declared = autoscaled("shop", 1, 9);
    let policy = ScalingPolicy { change: PolicyChange::Pods(100), period: Duration::from_secs(1) };
    let rules = ScalingRules {
        stabilization: Duration::ZERO,
        select: SelectPolicy::Max,
        policies: vec![policy],
        tolerance: None,
    };
    let spec = declared.autoscaler.as_mut().unwrap();
    spec.metrics = vec![metric];
    spec.behavior = Some(Behavior { scale_up: rules.clone(), scale_down: rules });
    declared
}

fn series(queue: &str, value: i64) -> Series {
    Series { labels: [("queue".into(), queue.into())].into(), value: Milli(value * 1000) }
}

fn report(world: &mut World, subject: MetricSubject, result: MeasurementResult) {
    let key = MetricKey { metric: "queue_length".into(), subject };
    let measured = Measured { source: name("queue"), key, stale_after: STALE_AFTER, result };
    world.put(&Input::Report(Report::Measured(vec![measured])));
}

fn report_queues(world: &mut World, all: &[(&str, i64)]) {
    let all = all.iter().map(|(queue, value)| series(queue, *value)).collect();
    report(world, MetricSubject::External, MeasurementResult::Series(all));
    world.run_for(seconds(2));
}

fn summary(world: &World) -> String {
    world.service("shop").decision.as_ref().unwrap().decision().summary.to_string()
}

#[test]
fn an_external_queue_scales_out_and_in() {
    let mut world = World::with([shop(external(None))]);
    report_queues(&mut world, &[("mail", 20), ("print", 15)]);
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
    // A sudden fall is accepted once it has lasted.
    for _ in 0..3 {
        report_queues(&mut world, &[("mail", 5)]);
    }
    assert_eq!(world.places("shop"), [0]);
    // Zero is a measurement.
    report_queues(&mut world, &[("mail", 0)]);
    assert!(summary(&world).contains("queue_length at 0, target 10"), "{}", summary(&world));
}

#[test]
fn only_selected_series_count() {
    let requirement = |operator, values: &[&str]| LabelSelectorRequirement {
        key: "queue".into(),
        operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let selector = LabelSelector {
        match_labels: Default::default(),
        match_expressions: vec![requirement(SelectorOperator::NotIn, &["print"])],
    };
    let mut world = World::with([shop(external(Some(selector)))]);
    report_queues(&mut world, &[("mail", 20), ("print", 70)]);
    assert_eq!(world.places("shop"), [0, 1]);
    // No selected series does not mean zero.
    report_queues(&mut world, &[("print", 70)]);
    assert_eq!(world.places("shop"), [0, 1]);
    assert!(summary(&world).contains("no value for it, which does not count as zero"), "{}", summary(&world));
}

#[test]
fn absent_failed_stale_and_unsourced_metrics_are_distinguished_and_never_scale_in() {
    let mut world = World::with([shop(external(None))]);
    world.run_for(seconds(2));
    assert!(summary(&world).contains("no source measures it"), "{}", summary(&world));
    report(&mut world, MetricSubject::External, MeasurementResult::Pending);
    world.run_for(seconds(2));
    assert!(summary(&world).contains("no value for it, which does not count as zero"), "{}", summary(&world));

    report_queues(&mut world, &[("mail", 40)]);
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
    report(&mut world, MetricSubject::External, MeasurementResult::Failed("the server is down".into()));
    world.run_for(seconds(3));
    // A failure does not undo a measurement, which is valid until it is too old.
    assert!(summary(&world).contains("queue_length at 10"), "{}", summary(&world));
    world.run_for(STALE_AFTER);
    assert!(summary(&world).contains("reading it failed: the server is down"), "{}", summary(&world));

    report_queues(&mut world, &[("mail", 40)]);
    world.run_for(STALE_AFTER + seconds(1));
    assert!(summary(&world).contains("is too old"), "{}", summary(&world));
    report_queues(&mut world, &[]);
    assert!(summary(&world).contains("no value for it, which does not count as zero"), "{}", summary(&world));
    report(&mut world, MetricSubject::External, MeasurementResult::Withdrawn);
    world.run_for(seconds(2));
    assert!(summary(&world).contains("no source measures it"), "{}", summary(&world));
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
}

#[test]
fn the_prospects_name_when_a_fallback_will_be_used() {
    let (target, fallback) = (TotalTarget::Average(ten()), Fallback { after: seconds(180), replicas: 6 });
    let metric = |after| MetricSpec::External {
        metric: queue(None),
        target,
        fallback: Some(Fallback { after, ..fallback }),
    };
    let mut world = World::with([shop(metric(fallback.after))]);
    report_queues(&mut world, &[("mail", 20)]);
    report(&mut world, MetricSubject::External, MeasurementResult::Failed("the server is down".into()));
    world.run_for(STALE_AFTER + seconds(2));
    assert_eq!(world.places("shop"), [0, 1]);
    let prospects = world.service("shop").decision.as_ref().unwrap().prospects();
    let by_itself =
        prospects.iter().find(|it| it.requires == RequiredChange::Time).expect("a prospect by time");
    assert_eq!(by_itself.desired, 6, "{by_itself:?}");
    let decision = |world: &World| world.service("shop").decision.as_ref().unwrap().decision();
    let at = decision(&world).at;
    let wait = by_itself.at.expect("at a time").as_millis() - at.wall.as_millis();
    while decision(&world).desired == 2 {
        world.run_for(seconds(1));
    }
    assert_eq!(decision(&world).at.time.since(at.time).as_millis(), u128::from(wait));
    assert!(summary(&world).contains("so its fallback of 6 replicas is used"), "{}", summary(&world));
    world.run_for(seconds(2));
    assert_eq!(world.places("shop"), [0, 1, 2, 3, 4, 5]);

    // Another declaration forgets how long the metric has failed.
    world.put(&Input::Intent(Intent::Declare(Arc::new(shop(metric(seconds(300)))))));
    world.run_for(seconds(2));
    assert!(!summary(&world).contains("fallback"), "{}", summary(&world));
    // The metric has a value again.
    report_queues(&mut world, &[("mail", 60)]);
    assert!(summary(&world).contains("queue_length at 10"), "{}", summary(&world));
}

#[test]
fn a_negative_metric_never_scales_in() {
    let mut world = World::with([shop(external(None))]);
    report_queues(&mut world, &[("mail", 40)]);
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
    for _ in 0..30 {
        report_queues(&mut world, &[("mail", -5)]);
    }
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
    assert_eq!(
        summary(&world),
        "stays at 4: queue_length is -5, but a load cannot be negative, so no replica is removed"
    );
    // With a positive total, the negative part counts like any other number.
    report_queues(&mut world, &[("mail", -5), ("print", 75)]);
    assert_eq!(world.places("shop").len(), 7);
}

#[test]
fn from_zero_the_total_is_shown_instead_of_a_share() {
    let mut declared = shop(external(None));
    declared.autoscaler.as_mut().unwrap().min = 0;
    let mut world = World::with([declared]);
    for _ in 0..5 {
        report_queues(&mut world, &[("mail", 0)]);
    }
    assert_eq!(world.places("shop"), [0; 0]);
    let prospects = world.service("shop").decision.as_ref().unwrap().prospects();
    let notes: Vec<_> = prospects.iter().map(|it| &*it.note).collect();
    assert!(notes.contains(&"with queue_length at 0.001 (now 0): 1 replica"), "{notes:?}");
    report(&mut world, MetricSubject::External, MeasurementResult::Series(vec![series("mail", 35)]));
    world.run_for(seconds(1));
    assert!(
        summary(&world).starts_with("from 0 to 4: queue_length at 35, target 10: 35 shared by 0 replicas"),
        "{}",
        summary(&world)
    );
}

#[test]
fn a_metric_of_an_object_must_be_one_series() {
    let object =
        CrossVersionObjectReference { kind: "Ingress".into(), name: "web".into(), api_version: None };
    let target = TotalTarget::Value(ten());
    let mut world = World::with([shop(MetricSpec::Object { object, metric: queue(None), target })]);
    let subject = MetricSubject::Object { kind: "Ingress".into(), name: "web".into() };
    report(&mut world, subject.clone(), MeasurementResult::Series(vec![series("mail", 30)]));
    world.run_for(ms(1500));
    assert_eq!(world.places("shop"), [0, 1, 2]);
    report(&mut world, subject, MeasurementResult::Series(vec![series("mail", 1), series("print", 1)]));
    world.run_for(seconds(2));
    assert!(summary(&world).contains("2 series were measured where one is needed"), "{}", summary(&world));
    assert_eq!(world.places("shop"), [0, 1, 2]);
}

/// The reports of the first places of the shop, each a queue length or a failure.
fn report_by_replica(world: &mut World, values: &[Result<i64, &str>]) {
    let result = values.iter().zip(0..).map(|(value, place)| ReplicaMeasurement {
        ordinal: Ordinal(place),
        incarnation: Incarnation(1),
        result: value.map(|value| vec![series("mail", value)]).map_err(Into::into),
    });
    report(world, MetricSubject::Replicas(name("shop")), MeasurementResult::Replicas(result.collect()));
    world.run_for(seconds(2));
}

#[test]
fn metrics_of_replicas_are_averaged_and_a_missing_one_never_scales_in() {
    let mut world = World::with([shop(MetricSpec::Pods { metric: queue(None), average: ten() })]);
    report_by_replica(&mut world, &[Ok(38)]);
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
    // A replica without a value counts as being at its target when scaling in.
    report_by_replica(&mut world, &[Ok(9), Ok(9), Err("it is gone"), Ok(9)]);
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
    let note = world.service("shop").decision.as_ref().unwrap().decision().metrics[0].note.clone();
    assert!(note.contains("3 ready, 1 missing (1 failed)"), "{note}");
    report_by_replica(&mut world, &[Err("it is gone"); 4]);
    world.run_for(STALE_AFTER);
    assert!(summary(&world).contains("0 ready, 4 missing (4 failed)"), "{}", summary(&world));
    assert_eq!(world.places("shop"), [0, 1, 2, 3]);
}

#[test]
fn the_metric_of_an_earlier_life_of_a_replica_does_not_count() {
    let mut world = World::with([shop(MetricSpec::Pods { metric: queue(None), average: ten() })]);
    world.kill("shop-0");
    world.run_for(seconds(2));
    assert_eq!(world.life("shop-0"), 2);
    report_by_replica(&mut world, &[Ok(90)]);
    assert_eq!(world.places("shop"), [0]);
    assert!(
        summary(&world).contains("none of the replicas that count has been measured"),
        "{}",
        summary(&world)
    );
}
