//! How a newer declaration replaces the running replicas.

use model::event::EventKind;
use model::identity::Generation;
use model::input::{Declared, Observed};
use model::reason::Reason;

use crate::bench::{READY, fixed};
use crate::world::{UNREADY, World, ms, observed, seconds};

fn version(version: u64, replicas: u32) -> Declared {
    Declared { generation: Generation(version), ..fixed("shop", version, replicas) }
}

fn generations(world: &World) -> Vec<u64> {
    world.service("shop").places.values().map(|place| place.generation.0).collect()
}

#[test]
fn outdated_replicas_are_replaced_one_at_a_time_by_replicas_that_start_first() {
    let mut world = World::with([version(1, 2)]);
    world.declare(version(2, 2));
    assert_eq!(world.take_sent(), ["start shop-2/1 serving"]);
    world.carry_out_unready();
    assert!(world.take_sent().is_empty(), "it does not serve yet");
    world.report_state("shop-2", READY);
    assert_eq!(world.take_sent(), ["stop shop-0/1"]);
    world.carry_out_unready();
    assert_eq!(
        world.take_sent(),
        ["start shop-0/2 serving"],
        "the next one takes the place that became free"
    );
    world.report_state("shop-0", READY);
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
    world.run_for(seconds(60));
    assert_eq!((generations(&world), world.take_sent().len()), (vec![2, 2], 0));
}

#[test]
fn a_rollback_keeps_replicas_that_still_run_the_old_version() {
    let mut world = World::with([version(1, 3)]);
    world.declare(version(2, 3));
    assert_eq!(world.take_sent(), ["start shop-3/1 serving"]);
    world.carry_out_unready();
    world.report_state("shop-3", READY);
    assert_eq!(world.take_sent(), ["stop shop-0/1"]);
    world.carry_out_unready();
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
    world.carry_out_unready();
    world.report_state("shop-0", UNREADY);

    world.declare(version(1, 3));
    world.run_for(seconds(60));
    assert_eq!(generations(&world), [1, 1, 1]);
    let lives = |name| world.place(name).map(|place| place.incarnation.0);
    assert_eq!([lives("shop-1"), lives("shop-2")], [Some(1), Some(1)], "they were never replaced");
}

#[test]
fn a_rollout_never_serves_with_fewer_than_wanted() {
    let mut world = World::with([version(1, 5)]);
    world.declare(version(2, 5));
    let mut steps = 0;
    while generations(&world) != [2; 5] {
        assert!(world.service("shop").serving() >= 5 && world.service("shop").count() <= 6);
        if world.pending.is_empty() {
            world.advance(ms(500));
        } else {
            let is_start = world.pending[0].kind.verb() == "start";
            let started = format!("shop-{}", started_place(&world));
            let applied = model::action::Outcome::Applied;
            let verb = world.pending[0].kind.verb();
            world.end_action(verb, applied);
            if is_start {
                world.report_state(&started, READY);
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
fn a_version_that_never_becomes_ready_removes_nothing() {
    let mut world = World::with([version(1, 2)]);
    world.declare(version(2, 2));
    for _ in 0..100 {
        world.carry_out_unready();
        world.advance(seconds(10));
    }
    assert_eq!(world.take_sent(), ["start shop-2/1 serving"]);
    assert_eq!(world.service("shop").serving(), 2);
}

#[test]
fn a_version_that_does_not_become_ready_is_reported_once_after_half_a_minute() {
    let mut world = World::with([version(1, 2)]);
    world.declare(version(2, 2));
    world.carry_out_unready();
    world.report_state("shop-2", UNREADY);
    let since = world.now;
    world.advance(seconds(29));
    assert_eq!(world.waits("shop"), []);
    world.advance(seconds(600));
    assert_eq!(world.waits("shop"), [Reason::NotReady { since }]);
    assert_eq!(world.count_events(EventKind::Waiting), 1);
    world.report_state("shop-2", READY);
    assert_eq!(world.waits("shop"), []);
}

#[test]
fn replicas_that_always_start_slowly_are_not_reported() {
    let mut world = World::with([version(1, 2)]);
    for version in (2..6).map(|number| self::version(number, 2)) {
        world.declare(version);
        for replica in ["shop-2", "shop-0"] {
            world.carry_out_unready();
            world.report_state(replica, UNREADY);
            world.advance(seconds(50));
            world.report_state(replica, READY);
        }
        world.run_for(seconds(10));
    }
    let before = world.count_events(EventKind::Waiting);
    assert!(before > 0);
    world.declare(version(6, 2));
    world.carry_out_unready();
    world.advance(seconds(90));
    assert_eq!(world.count_events(EventKind::Waiting), before);
    world.advance(seconds(30));
    assert_eq!(world.count_events(EventKind::Waiting), before + 1);
}

#[test]
fn a_version_that_crashes_removes_nothing() {
    let mut world = World::with([version(1, 2)]);
    world.declare(version(2, 2));
    for _ in 0..100 {
        world.carry_out_unready();
        world.kill("shop-2");
        world.advance(seconds(10));
    }
    assert_eq!(world.service("shop").serving(), 2);
    assert!(world.take_sent().iter().all(|action| action.starts_with("start shop-2/")));
}

#[test]
fn a_new_version_replaces_replicas_that_no_longer_serve() {
    let mut world = World::with([version(1, 2)]);
    world.advance(seconds(600));
    world.report_state("shop-0", UNREADY);
    world.report_state("shop-1", UNREADY);
    world.advance(seconds(600));
    world.declare(version(2, 2));
    world.run_for(seconds(60));
    assert_eq!(generations(&world), [2, 2]);
}

#[test]
fn replicas_that_no_longer_serve_are_kept_until_a_newer_one_serves() {
    let mut world = World::with([version(1, 2)]);
    world.advance(seconds(600));
    world.report_state("shop-0", UNREADY);
    world.report_state("shop-1", UNREADY);
    world.declare(version(2, 2));
    world.carry_out_unready();
    world.advance(seconds(600));
    assert_eq!(world.take_sent(), ["start shop-2/1 serving"], "both versions may depend on what is missing");
}

#[test]
fn replicas_that_were_never_ready_are_replaced_at_once_when_a_newer_one_serves() {
    let mut world = World::started();
    world.report_inventory([]);
    world.declare(version(1, 3));
    world.carry_out_unready();
    for replica in ["shop-0", "shop-1", "shop-2"] {
        world.report_state(replica, UNREADY);
    }
    world.advance(seconds(4));
    world.declare(version(2, 3));
    world.carry_out_unready();
    world.report_state("shop-3", UNREADY);
    world.take_sent();
    world.advance(seconds(10));
    assert!(world.take_sent().is_empty(), "either version may become ready first");
    world.report_state("shop-3", READY);
    world.run_for(ms(100));
    assert_eq!((generations(&world), world.service("shop").serving()), (vec![2, 2, 2], 3));
}

#[test]
fn a_fix_replaces_a_version_that_was_never_ready_at_once() {
    let mut world = World::with([version(1, 2)]);
    world.declare(version(2, 2));
    world.carry_out_unready();
    world.report_state("shop-2", UNREADY);
    world.advance(seconds(4));
    world.take_sent();
    world.declare(version(3, 2));
    assert_eq!(world.take_sent(), ["stop shop-2/1"]);
    world.carry_out_unready();
    assert_eq!(world.take_sent(), ["start shop-2/2 serving"]);
    assert_eq!(world.service("shop").serving(), 2);
}

#[test]
fn a_fix_starts_although_every_replica_has_stopped_being_ready() {
    let mut world = World::with([version(1, 2)]);
    world.declare(version(2, 2));
    world.carry_out_unready();
    world.advance(seconds(1));
    world.report_state("shop-0", UNREADY);
    world.report_state("shop-1", UNREADY);
    world.report_state("shop-2", READY);
    world.report_state("shop-2", UNREADY);
    world.take_sent();
    world.declare(version(3, 2));
    world.run_for(seconds(60));
    assert!(generations(&world).contains(&3), "{:?}", generations(&world));
}

#[test]
fn replicas_that_stopped_being_ready_are_replaced_first_and_one_at_a_time() {
    let mut world = World::with([version(1, 3)]);
    world.advance(seconds(600));
    world.declare(version(2, 3));
    world.carry_out_unready();
    world.report_state("shop-1", UNREADY);
    world.report_state("shop-2", UNREADY);
    world.take_sent();
    world.report_state("shop-3", READY);
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
    world.carry_out_unready();
    assert_eq!(world.take_sent(), ["start shop-1/2 serving"]);
    world.advance(seconds(1));
    assert!(world.take_sent().is_empty(), "shop-2 may recover while shop-1 starts");
    world.report_state("shop-1", READY);
    assert_eq!(world.take_sent(), ["stop shop-2/1"]);
}

#[test]
fn replicas_of_an_earlier_run_are_kept_until_they_are_probed() {
    let mut world = World::with([version(1, 3)]);
    world.start_run();
    world.declare(version(2, 3));
    let of_version_1 = |place: u32| observed(&format!("shop-{place}"), 1, UNREADY);
    let newer = Observed { generation: Generation(2), ..observed("shop-3", 1, READY) };
    world.report_inventory((0..3).map(of_version_1).chain([newer]));
    world.advance(seconds(10));
    assert_eq!(world.service("shop").count(), 4, "the older ones may serve");
}

#[test]
fn a_change_that_does_not_concern_replicas_replaces_none() {
    let mut world = World::with([version(1, 2)]);
    world.declare(Declared { generation: Generation(1), ..fixed("shop", 2, 2) });
    world.run_for(seconds(60));
    assert!(world.take_sent().is_empty());
}
