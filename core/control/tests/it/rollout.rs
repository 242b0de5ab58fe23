//! How a newer declaration replaces the running replicas.

use model::identity::Generation;
use model::input::Declared;

use crate::bench::{READY, fixed};
use crate::world::{UNREADY, World, ms, seconds};

fn version(version: u64, replicas: u32) -> Declared {
    Declared { generation: Generation(version), ..fixed("shop", version, replicas) }
}

fn generations(world: &World) -> Vec<u64> {
    world.service("shop").places.values().map(|place| place.generation.0).collect()
}

#[test]
fn outdated_replicas_are_replaced_one_at_a_time_and_the_new_one_starts_first() {
    let mut world = World::with([version(1, 2)]);
    world.declares(version(2, 2));
    assert_eq!(world.take_sent(), ["start shop-2/1 serving"]);
    world.applies();
    assert!(world.take_sent().is_empty(), "it does not serve yet");
    world.sees("shop-2", READY);
    assert_eq!(world.take_sent(), ["stop shop-0/1"]);
    world.applies();
    assert_eq!(
        world.take_sent(),
        ["start shop-0/2 serving"],
        "the next one takes the place that became free"
    );
    world.sees("shop-0", READY);
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
    world.lives_for(seconds(60));
    assert_eq!((generations(&world), world.take_sent().len()), (vec![2, 2], 0));
}

#[test]
fn a_rollback_leaves_replicas_that_still_run_the_old_version() {
    let mut world = World::with([version(1, 3)]);
    world.declares(version(2, 3));
    assert_eq!(world.take_sent(), ["start shop-3/1 serving"]);
    world.applies();
    world.sees("shop-3", READY);
    assert_eq!(world.take_sent(), ["stop shop-0/1"]);
    world.applies();
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
    world.applies();
    world.sees("shop-0", UNREADY);

    world.declares(version(1, 3));
    world.lives_for(seconds(60));
    assert_eq!(generations(&world), [1, 1, 1]);
    let lives = |name| world.place(name).map(|place| place.incarnation.0);
    assert_eq!([lives("shop-1"), lives("shop-2")], [Some(1), Some(1)], "they ran it all the while");
}

#[test]
fn a_rollout_never_serves_with_fewer_than_wanted() {
    let mut world = World::with([version(1, 5)]);
    world.declares(version(2, 5));
    let mut steps = 0;
    while generations(&world) != [2; 5] {
        assert!(world.service("shop").serving() >= 5 && world.service("shop").count() <= 6);
        if world.pending.is_empty() {
            world.passes(ms(500));
        } else {
            let is_start = world.pending[0].kind.verb() == "start";
            let started = format!("shop-{}", started_place(&world));
            let applied = model::action::Outcome::Applied;
            let verb = world.pending[0].kind.verb();
            world.ends(verb, applied);
            if is_start {
                world.sees(&started, READY);
            }
        }
        steps += 1;
        assert!(steps < 500, "the rollout does not end: {:?}", generations(&world));
    }
}

fn started_place(world: &World) -> u32 {
    match &world.pending[0].kind {
        model::action::ActionKind::Start { replica, .. } => replica.ordinal.0,
        model::action::ActionKind::Stop { .. }
        | model::action::ActionKind::Admit { .. }
        | model::action::ActionKind::Allot { .. }
        | model::action::ActionKind::Expose(_)
        | model::action::ActionKind::Conceal(_)
        | model::action::ActionKind::Remember(_) => 0,
    }
}

#[test]
fn a_version_that_never_becomes_ready_takes_nothing_away() {
    let mut world = World::with([version(1, 2)]);
    world.declares(version(2, 2));
    for _ in 0..100 {
        world.applies();
        world.passes(seconds(10));
    }
    assert_eq!(world.take_sent(), ["start shop-2/1 serving"]);
    assert_eq!(world.service("shop").serving(), 2);
}

#[test]
fn a_version_that_crashes_takes_nothing_away() {
    let mut world = World::with([version(1, 2)]);
    world.declares(version(2, 2));
    for _ in 0..100 {
        world.applies();
        world.kills("shop-2");
        world.passes(seconds(10));
    }
    assert_eq!(world.service("shop").serving(), 2);
    assert!(world.take_sent().iter().all(|action| action.starts_with("start shop-2/")));
}

#[test]
fn a_fix_replaces_replicas_that_serve_no_more() {
    let mut world = World::with([version(1, 2)]);
    world.passes(seconds(600));
    world.sees("shop-0", UNREADY);
    world.sees("shop-1", UNREADY);
    world.passes(seconds(600));
    world.declares(version(2, 2));
    world.lives_for(seconds(60));
    assert_eq!(generations(&world), [2, 2]);
}

#[test]
fn replicas_that_stopped_serving_are_kept_until_a_newer_one_serves() {
    let mut world = World::with([version(1, 2)]);
    world.passes(seconds(600));
    world.sees("shop-0", UNREADY);
    world.sees("shop-1", UNREADY);
    world.declares(version(2, 2));
    world.applies();
    world.passes(seconds(600));
    assert_eq!(world.take_sent(), ["start shop-2/1 serving"], "it may have been what both need");
}

#[test]
fn an_outdated_replica_that_dies_comes_back_as_the_newer_version() {
    let mut world = World::with([version(1, 2)]);
    world.declares(version(2, 2));
    world.kills("shop-1");
    world.lives_for(seconds(60));
    assert_eq!(generations(&world), [2, 2]);
}

#[test]
fn a_change_that_replicas_do_not_run_replaces_none() {
    let mut world = World::with([version(1, 2)]);
    world.declares(Declared { generation: Generation(1), ..fixed("shop", 2, 2) });
    world.lives_for(seconds(60));
    assert!(world.take_sent().is_empty());
}
