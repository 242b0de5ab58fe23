//! The autoscaler of a service is paused by hand.

use std::time::Duration;

use model::decision::{Condition, ConditionKind, Policy};
use model::event::EventKind;
use model::identity::Generation;
use model::input::{Input, Intent};
use model::time::Wall;

use crate::bench::name;
use crate::sizing::{shop, work};
use crate::world::{World, seconds};

fn pause(world: &mut World, span: Option<u64>) {
    let until = span.map(|span| world.now + seconds(span));
    world.put(&Input::Intent(Intent::Pause { service: name("shop"), until }));
}

#[test]
fn a_paused_autoscaler_keeps_the_number_and_says_until_when() {
    let mut world = World::with([shop(2, 10)]);
    pause(&mut world, Some(30));
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 1000, 50);
    assert_eq!(world.service("shop").desired, Some(2));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.policy, Policy::Paused);
    assert!(decision.summary.starts_with("its autoscaler is paused by hand until "), "{}", decision.summary);
    work(&mut world, &mut spent, 2, 1000, 20);
    assert_eq!(world.service("shop").desired, Some(4), "the pause is over");
}

#[test]
fn the_conditions_of_a_paused_autoscaler_say_so_and_since_when() {
    let mut world = World::with([shop(2, 10)]);
    let mut spent = Duration::ZERO;
    let active = |world: &World| {
        let decision = world.service("shop").decision.as_ref().unwrap().decision();
        let found =
            decision.conditions.into_iter().find(|condition| condition.kind == ConditionKind::ScalingActive);
        let Condition { holds, reason, since, .. } = found.expect("the decision has the condition");
        (holds, reason, since.expect("it is remembered"))
    };
    let mut work_from = |world: &mut World, wall: u64, periods: u32| {
        world.wall = Wall::from_millis(wall);
        work(world, &mut spent, 2, 250, periods);
    };
    work_from(&mut world, 1000, 6);
    assert_eq!(active(&world), (true, "ValidMetricFound", Wall::from_millis(1000)));
    world.wall = Wall::from_millis(2000);
    pause(&mut world, Some(10));
    work_from(&mut world, 3000, 18);
    assert_eq!(active(&world), (false, "ScalingDisabled", Wall::from_millis(2000)));
    work_from(&mut world, 4000, 20);
    assert_eq!(active(&world), (true, "ValidMetricFound", Wall::from_millis(4000)), "the pause is over");
}

#[test]
fn a_pause_without_an_end_lasts_until_it_is_resumed() {
    let mut world = World::with([shop(2, 10)]);
    pause(&mut world, None);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 1000, 4000);
    assert_eq!(world.service("shop").desired, Some(2));
    world.put(&Input::Intent(Intent::Resume(name("shop"))));
    work(&mut world, &mut spent, 2, 1000, 6);
    assert_eq!(world.service("shop").desired, Some(4));
    assert_eq!((world.count_events(EventKind::Paused), world.count_events(EventKind::Resumed)), (1, 1));
}

#[test]
fn new_bounds_and_a_size_by_hand_apply_while_it_is_paused() {
    let mut world = World::with([shop(2, 10)]);
    pause(&mut world, None);
    let mut declared = shop(3, 10);
    declared.revision = Generation(2);
    world.declare(declared);
    world.run_for(seconds(3));
    assert_eq!(world.service("shop").desired, Some(3));
    world.hold("shop", 6, None);
    world.run_for(seconds(3));
    assert_eq!(world.service("shop").desired, Some(6));
    world.release("shop");
    world.run_for(seconds(3));
    assert_eq!(world.service("shop").desired, Some(6), "a paused autoscaler keeps the last size");
}
