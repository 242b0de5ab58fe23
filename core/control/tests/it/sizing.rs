//! The size of a service: by hand, as declared, by load.

use std::time::Duration;

use model::decision::Policy;
use model::event::EventKind;
use model::input::Declared;
use model::resource::{Quantity, ScaleMode};

use crate::bench::{autoscaled, fixed};
use crate::world::{World, ms, seconds};

/// A service with a target of half a core for each replica.
pub(crate) fn shop(min: u32, max: u32) -> Declared {
    let mut declared = autoscaled("shop", min, max);
    declared.spec.resources.cpu = Some(Quantity::parse("1").unwrap());
    declared
}

/// For this many half seconds, each of the first `measured` replicas uses `share` thousandths of a core.
pub(crate) fn work(world: &mut World, spent: &mut Duration, measured: u32, share: u64, halves: u32) {
    for _ in 0..halves {
        *spent += ms(share / 2);
        let names: Vec<_> = (0..measured).map(|place| format!("shop-{place}")).collect();
        world.report_usage(names.iter().map(|name| (name.as_str(), *spent)));
        world.run_for(ms(500));
    }
}

#[test]
fn a_rise_of_load_scales_out_within_a_period_of_its_measurement() {
    let mut world = World::with([shop(2, 10)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 500, 20);
    assert_eq!(world.service("shop").desired, Some(2));

    // One metric window later the mean has risen, and one period after that the decision is made.
    work(&mut world, &mut spent, 2, 1000, 6);
    assert_eq!(world.service("shop").desired, Some(4));
    assert_eq!(world.take_sent(), ["start shop-2/1 serving", "start shop-3/1 serving"]);
}

#[test]
fn no_load_leads_to_more_than_the_declared_maximum() {
    let mut world = World::with([shop(2, 3)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 64_000, 40);
    assert_eq!(world.service("shop").desired, Some(3));
    assert_eq!(world.places("shop"), [0, 1, 2]);
}

#[test]
fn missing_samples_never_scale_in() {
    let mut world = World::with([shop(2, 10)]);
    world.hold("shop", 6, None);
    world.run_for(seconds(5));
    world.release("shop");
    let mut spent = Duration::ZERO;
    // One of six is measured, and idle; then none is, for longer than every window.
    work(&mut world, &mut spent, 1, 10, 1400);
    assert_eq!(world.service("shop").desired, Some(6));
    world.run_for(seconds(700));
    assert_eq!(world.service("shop").desired, Some(6));
}

#[test]
fn a_fall_of_load_scales_in_only_after_the_window() {
    let mut world = World::with([shop(2, 10)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 1000, 8);
    assert_eq!(world.service("shop").desired, Some(4));
    world.take_sent();
    work(&mut world, &mut spent, 4, 10, 590);
    assert_eq!(world.service("shop").desired, Some(4));
    work(&mut world, &mut spent, 4, 10, 30);
    assert_eq!(world.service("shop").desired, Some(2));
    world.run_for(seconds(20));
    assert_eq!(world.places("shop"), [0, 1]);
}

#[test]
fn a_hold_ends_with_its_service_also_when_that_is_declared_again_at_once() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.hold("shop", 3, None);
    world.carry_out();
    world.withdraw("shop");
    world.declare(fixed("shop", 2, 1));
    world.run_for(seconds(60));
    assert_eq!((world.service("shop").desired, world.service("shop").count()), (Some(1), 1));
}

#[test]
fn a_hold_sets_the_size_until_it_is_released() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.hold("shop", 3, None);
    assert_eq!(world.take_sent(), ["start shop-1/1 serving", "start shop-2/1 serving"]);
    world.run_for(seconds(3600));
    assert_eq!(world.service("shop").count(), 3);

    world.release("shop");
    world.run_for(seconds(20));
    assert_eq!(world.places("shop"), [0]);
    assert_eq!(world.count_events(EventKind::Sized), 1, "the first size is not a change");
    assert_eq!(world.count_events(EventKind::Scaled), 2, "held, released");
}

#[test]
fn a_release_from_zero_is_a_change_from_zero() {
    let mut world = World::with([shop(5, 10)]);
    world.hold("shop", 0, None);
    world.run_for(seconds(20));
    assert_eq!(world.service("shop").desired, Some(0));
    world.release("shop");
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!((decision.previous, decision.desired), (0, 5));
    let begin = "from 0 to 5: it begins again with 5 replicas; cpu gives no number";
    assert!(decision.summary.starts_with(begin), "{}", decision.summary);
    assert!(world.has_event(EventKind::Scaled, |reason| reason.to_string().starts_with(begin)));
    world.run_for(seconds(3));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!((decision.previous, decision.desired), (5, 5));
}

#[test]
fn a_hold_ends_at_its_time_and_not_before() {
    let mut world = World::with([shop(2, 10)]);
    world.hold("shop", 5, Some(seconds(60)));
    world.run_for(ms(59_000));
    assert_eq!(world.service("shop").desired, Some(5));
    world.declare(Declared { autoscaler: None, ..fixed("shop", 2, 2) });
    assert_eq!(world.service("shop").desired, Some(5), "a declaration does not end it");
    world.run_for(seconds(3));
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn a_mistyped_size_is_limited_by_the_guard() {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 10_000));
    world.report_inventory([]);
    world.advance(seconds(10));
    assert_eq!(world.service("shop").desired, Some(1000));
    assert_eq!(world.service("shop").places.len(), 1000);
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    let why = "its declaration asks for 10000 replicas; 10000 replicas are declared, but the guard lets at most 1000 of one service run";
    assert_eq!(&*decision.summary, why);
    assert_eq!(decision.limits[0].name, "Guard");
    assert!(world.service("shop").waits.is_empty(), "{:?}", world.service("shop").waits);
}

#[test]
fn the_maximum_of_the_guard_is_reached_where_more_is_declared_and_proposed() {
    let mut world = World::with([shop(900, 5000)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 900, 1000, 6);
    assert_eq!(world.service("shop").desired, Some(1000), "1800 are proposed");
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    let limits: Vec<_> = decision.limits.iter().map(|limit| (limit.name, limit.from, limit.to)).collect();
    assert!(limits.contains(&("Guard", 5000, 1000)), "{limits:?}");
}

#[test]
fn a_hold_of_an_older_version_is_limited_by_the_guard() {
    for held in [1500, u32::MAX] {
        let mut world = World::with([fixed("shop", 1, 2)]);
        world.hold("shop", held, None);
        world.advance(seconds(10));
        assert_eq!(world.service("shop").desired, Some(1000));
        assert_eq!(world.service("shop").places.len(), 1000);
        let decision = world.service("shop").decision.as_ref().unwrap().decision();
        let why = format!(
            "held at {held} replicas by hand until released; {held} replicas are held by hand, but the guard lets at most 1000 of one service run"
        );
        assert_eq!(*decision.summary, why);
        let limit = &decision.limits[0];
        assert_eq!((limit.name, limit.from, limit.to), ("Guard", held, 1000));
        world.release("shop");
        world.advance(seconds(2));
        assert_eq!(world.service("shop").desired, Some(2));
    }
}

/// A shop of two replicas with the load of four, for long enough, in this mode.
fn busy(mode: ScaleMode) -> (World, Duration) {
    let mut declared = shop(2, 10);
    declared.spec.scale.mode = mode;
    let mut world = World::with([declared]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 500, 20);
    work(&mut world, &mut spent, 2, 1000, 6);
    (world, spent)
}

#[test]
fn in_mode_shadow_the_decision_is_recorded_without_effect() {
    let (world, _) = busy(ScaleMode::Shadow);
    assert_eq!(world.service("shop").desired, Some(2));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!((decision.policy, decision.desired), (Policy::Hpa, 2));
    let limit = decision.limits.last().unwrap();
    assert_eq!((limit.name, limit.from, limit.to), ("Shadow", 4, 2));
    assert!(decision.summary.contains("it would be: from 2 to 4"), "{}", decision.summary);
}

#[test]
fn mode_up_only_never_scales_in() {
    let (mut world, mut spent) = busy(ScaleMode::UpOnly);
    assert_eq!(world.service("shop").desired, Some(4));
    world.carry_out();
    work(&mut world, &mut spent, 4, 0, 1400);
    assert_eq!(world.service("shop").desired, Some(4));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.limits.last().map(|limit| limit.name), Some("UpOnly"));
}

#[test]
fn an_autoscaler_that_is_off_keeps_the_number_and_continues_from_it_when_on_again() {
    let (mut world, mut spent) = busy(ScaleMode::Off);
    assert_eq!(world.service("shop").desired, Some(2));
    assert_eq!(world.service("shop").decision.as_ref().unwrap().decision().policy, Policy::Off);
    let mut declared = shop(2, 10);
    declared.revision = model::identity::Generation(2);
    world.declare(declared);
    work(&mut world, &mut spent, 2, 1000, 6);
    assert_eq!(world.service("shop").desired, Some(4));
}

#[test]
fn bounds_apply_in_every_mode() {
    for mode in [ScaleMode::On, ScaleMode::UpOnly, ScaleMode::Shadow, ScaleMode::Off] {
        let (mut world, _) = busy(mode);
        let mut declared = shop(1, 1);
        declared.revision = model::identity::Generation(2);
        declared.spec.scale.mode = mode;
        world.declare(declared);
        world.run_for(seconds(3));
        assert_eq!(world.service("shop").desired, Some(1), "{mode:?}");
    }
}
