//! Prospects of other sizes are right: each is tried in the loop itself.

use std::sync::Arc;
use std::time::Duration;

use model::decision::{AlternativeSize, Decision, Prospect, RequiredChange, WhyNot};
use model::input::{Declared, Input, Report};
use model::measure::{Measured, MeasurementResult, MetricKey, MetricSubject, Series};
use model::quantity::Milli;
use model::resource::{
    Behavior, MetricIdentifier, MetricSpec, PolicyChange, Quantity, ScaleMode, ScalingPolicy, ScalingRules,
    SelectPolicy, TotalTarget,
};
use model::time::Time;
use plan::Trial;

use crate::bench::{autoscaled, name};
use crate::world::{World, seconds};

/// A service of one to nine replicas, one for each ten messages in a queue.
fn shop(behavior: Option<Behavior>) -> Declared {
    let mut declared = autoscaled("shop", 1, 9);
    let spec = declared.autoscaler.as_mut().unwrap();
    let target = TotalTarget::Average(Quantity::parse("10").unwrap());
    let metric = MetricIdentifier { name: "queue".into(), selector: None };
    spec.metrics = vec![MetricSpec::External { metric, target, fallback: None }];
    spec.behavior = behavior;
    declared
}

fn rules(pods: u32, period: u64, stabilization: u64) -> ScalingRules {
    let policy = ScalingPolicy { change: PolicyChange::Pods(pods), period: seconds(period) };
    ScalingRules {
        stabilization: seconds(stabilization),
        select: SelectPolicy::Max,
        policies: vec![policy],
        tolerance: None,
    }
}

fn set_queue(world: &mut World, milli: i64) {
    let key = MetricKey { metric: "queue".into(), subject: MetricSubject::External };
    let series = vec![Series { labels: [].into(), value: Milli(milli) }];
    let (source, stale_after) = (name("queue"), seconds(3600));
    let measured = Measured { source, key, stale_after, result: MeasurementResult::Series(series) };
    world.put(&Input::Report(Report::Measured(vec![measured])));
}

/// The world after a queue of `milli` thousandths of a message has lasted for `span`.
fn after(world: &World, milli: i64, span: Duration) -> World {
    let mut world = world.clone();
    set_queue(&mut world, milli);
    world.run_for(span);
    world
}

fn decision(world: &World) -> Decision {
    world.service("shop").decision.as_ref().unwrap().decision()
}

fn desired(world: &World) -> u32 {
    world.service("shop").desired.unwrap()
}

fn prospects(world: &World) -> Vec<Prospect> {
    world.service("shop").decision.as_ref().unwrap().prospects()
}

fn why_not(world: &World, asked: AlternativeSize) -> WhyNot {
    world.service("shop").decision.as_ref().unwrap().why_not(asked)
}

fn of(prospects: &[Prospect], requires: RequiredChange) -> &Prospect {
    prospects
        .iter()
        .find(|it| it.requires == requires)
        .unwrap_or_else(|| panic!("no {requires:?} in {prospects:#?}"))
}

/// The time from the decision until the prospect comes true.
fn wait_for(world: &World, prospect: &Prospect) -> Duration {
    let made = decision(world).at.wall;
    Duration::from_millis(prospect.at.expect("it takes time").as_millis() - made.as_millis())
}

/// When the size changes, if the load stays.
fn next_change(world: &World) -> Time {
    let (mut world, before) = (world.clone(), desired(world));
    let end = world.now + Duration::from_hours(4);
    while desired(&world) == before {
        assert!(world.now < end, "it stays at {before}");
        world.run_for(seconds(1));
    }
    decision(&world).at.time
}

#[test]
fn the_load_of_a_prospect_leads_to_more_replicas_and_one_just_below_does_not() {
    let world = after(&World::with([shop(None)]), 35_000, seconds(3));
    let out = prospects(&world)
        .into_iter()
        .find(|it| it.requires == RequiredChange::Load && it.desired > 4)
        .unwrap();
    assert_eq!((out.desired, out.at), (5, None), "{out:?}");
    assert_eq!(&*out.note, "with queue at 11.001 (now 8.75): 5 replicas");
    assert_eq!(desired(&after(&world, 44_001, seconds(2))), 5);
    assert_eq!(desired(&after(&world, 44_000, seconds(2))), 4);
}

#[test]
fn a_prospect_names_the_end_of_a_stabilization_window() {
    let world = after(&World::with([shop(None)]), 35_000, seconds(3));
    let world = after(&world, 12_000, seconds(100));
    let all = prospects(&world);
    let by_itself = of(&all, RequiredChange::Time);
    assert_eq!(by_itself.desired, 2, "{by_itself:?}");
    assert!(
        by_itself.note.contains("until then: up to 4 replicas were recommended within the last 300 s"),
        "{by_itself:?}"
    );
    let waited = next_change(&world).since(decision(&world).at.time);
    assert_eq!(wait_for(&world, by_itself), waited);
    assert!(waited > seconds(100) && waited < seconds(300), "{waited:?}");
    let evidence = decision(&world).evidence;
    assert_eq!(evidence.len(), 1, "the recommendation that holds it is named: {evidence:?}");
}

#[test]
fn a_prospect_of_fewer_replicas_names_how_long_a_lower_load_must_last() {
    let world = after(&World::with([shop(None)]), 35_000, seconds(3));
    let fewer = prospects(&world).into_iter().find(|it| it.desired < 4).unwrap();
    assert_eq!((fewer.requires, fewer.desired), (RequiredChange::Load, 3), "{fewer:?}");
    let waited = wait_for(&world, &fewer);
    let lasting = after(&world, 30_000, waited);
    assert_eq!(desired(&lasting), 3);
    assert_eq!(desired(&after(&world, 30_000, waited.saturating_sub(seconds(1)))), 4);
    assert_eq!(desired(&after(&world, 30_001, waited)), 4, "{fewer:?}");
}

#[test]
fn a_prospect_names_when_a_rate_policy_allows_more() {
    let behavior = Behavior { scale_up: rules(2, 60, 0), scale_down: rules(1, 60, 0) };
    let world = after(&World::with([shop(Some(behavior))]), 85_000, seconds(5));
    assert_eq!(desired(&world), 3);
    let all = prospects(&world);
    let by_itself = of(&all, RequiredChange::Time);
    assert_eq!(by_itself.desired, 5, "{by_itself:?}");
    assert_eq!(wait_for(&world, by_itself), next_change(&world).since(decision(&world).at.time));
    let why = why_not(&world, AlternativeSize::Exactly(8));
    assert!(why.reasons.iter().any(|it| it.contains("ScaleUpLimit")), "{why:?}");
    let by_then = &why.prospects[0];
    assert_eq!((by_then.requires, by_then.desired), (RequiredChange::Time, 9), "{why:?}");
    assert!(by_then.note.contains("it never becomes 8"), "{why:?}");
    let waited = wait_for(&world, by_then);
    assert_eq!(desired(&after(&world, 85_000, waited)), 9);
    assert_eq!(desired(&after(&world, 85_000, waited.saturating_sub(seconds(1)))), 7);
}

#[test]
fn a_size_that_no_load_leads_to_is_explained_by_its_obstacle() {
    let world = after(&World::with([shop(None)]), 35_000, seconds(3));
    let why = why_not(&world, AlternativeSize::Exactly(12));
    assert_eq!(why.prospects[0].requires, RequiredChange::Declaration);
    assert!(why.prospects[0].note.contains("leads to 12 replicas: the maximum is 9"), "{why:?}");
    assert!(why.reasons[0].contains("queue asks for 4"), "{why:?}");
    assert_eq!(&*why_not(&world, AlternativeSize::Exactly(4)).reasons[0], "that is what was decided");
}

#[test]
fn the_prospects_of_a_hold_name_its_end_and_the_size_after_it() {
    let mut world = after(&World::with([shop(None)]), 35_000, seconds(3));
    world.hold("shop", 2, Some(Duration::from_mins(30)));
    world.run_for(seconds(2));
    let all = prospects(&world);
    assert_eq!(of(&all, RequiredChange::Release).desired, 4, "{all:?}");
    let end = of(&all, RequiredChange::Time);
    assert_eq!(
        (end.desired, wait_for(&world, end)),
        (4, next_change(&world).since(decision(&world).at.time))
    );
    world.release("shop");
    world.run_for(seconds(2));
    assert_eq!(desired(&world), 4);
}

#[test]
fn an_unmeasured_metric_has_a_prospect_by_load() {
    let mut world = World::with([shop(None)]);
    world.run_for(seconds(2));
    let all = prospects(&world);
    let more = of(&all, RequiredChange::Load);
    assert_eq!(more.desired, 2, "{all:?}");
    assert!(more.note.contains("(now unknown)"), "{more:?}");
}

#[test]
fn in_mode_shadow_there_is_a_prospect_of_mode_on() {
    let mut declared = shop(None);
    declared.spec.scale.mode = ScaleMode::Shadow;
    let world = after(&World::with([declared]), 35_000, seconds(3));
    assert_eq!((desired(&world), of(&prospects(&world), RequiredChange::Mode).desired), (1, 4));
}

#[test]
fn a_fixed_size_has_only_the_prospect_of_another_declaration() {
    let mut world = World::with([crate::bench::fixed("shop", 1, 3)]);
    world.run_for(seconds(2));
    assert_eq!(
        prospects(&world).iter().map(|it| it.requires).collect::<Vec<_>>(),
        [RequiredChange::Declaration]
    );
}

#[test]
fn decisions_with_the_same_reason_have_the_same_fingerprint() {
    let fingerprint = |world: &World| world.service("shop").decision.as_ref().unwrap().fingerprint();
    let world = after(&World::with([shop(None)]), 35_000, seconds(3));
    assert_eq!(fingerprint(&world), fingerprint(&after(&world, 36_000, seconds(2))));
    assert_ne!(
        fingerprint(&world),
        fingerprint(&after(&world, 12_000, seconds(2))),
        "the number is held by a recommendation now"
    );
}

/// The decisions of the loop and of a trial beside it, each second.
fn decide_both(mut world: World, declared: Declared, load: impl Fn(i64) -> i64) -> Vec<(u32, u32)> {
    let begin = world.service("shop");
    let mut trial = Trial::new(Arc::new(declared), begin);
    let each = |second| {
        set_queue(&mut world, load(second));
        world.run_for(seconds(1));
        let (at, service) = (decision(&world).at, world.service("shop"));
        let explanation = trial.decide(world.control.plan_context(at, service, &[]));
        (desired(&world), explanation.desired())
    };
    (0..900).map(each).collect()
}

#[test]
fn a_trial_of_the_acting_declaration_decides_like_the_loop() {
    let load = |second: i64| 40_000 + 30_000 * ((second / 100) % 3 - 1) + second * 7919 % 5000;
    let both = decide_both(World::with([shop(None)]), shop(None), load);
    assert!(both.iter().all(|(acting, trial)| acting == trial), "{both:?}");
    assert!(both.iter().any(|(acting, _)| *acting > 5) && both[0].0 < 5, "the load changes the size");
}

#[test]
fn a_trial_has_its_own_bounds_and_its_own_memory_and_no_effect() {
    let mut smaller = shop(Some(Behavior { scale_up: rules(100, 1, 0), scale_down: rules(100, 1, 0) }));
    smaller.autoscaler.as_mut().unwrap().max = 3;
    let load = |second: i64| if second < 300 { 60_000 } else { 5_000 };
    let both = decide_both(World::with([shop(None)]), smaller, load);
    assert_eq!(both[200], (6, 3));
    // The acting policy waits for five minutes, the trial does not.
    assert_eq!(both[400], (6, 1));
    assert_eq!(both[899], (1, 1));
}
