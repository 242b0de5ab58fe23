//! A restart of the loop: running replicas keep running, and its memory is restored.

use model::action::ActionKind;
use model::event::EventKind;
use model::input::{Input, ReplicaState};
use model::memory::Memory;

use crate::bench::{READY, autoscaled, fixed};
use crate::world::{World, killed, ms, observed, seconds};

/// The latest memory of a service that was sent to be written.
fn memory_of(world: &World) -> Memory {
    world
        .service("shop")
        .remembered
        .as_ref()
        .map(|known| Memory::clone(&known.memory))
        .expect("it has a memory")
}

#[test]
fn replicas_of_an_earlier_run_are_kept_and_admitted_again() {
    let mut world = World::with([fixed("shop", 1, 3)]);
    let memory = memory_of(&world);
    world.start_run();
    world.declare(fixed("shop", 1, 3));
    world.restore(memory);
    world.report_inventory((0..3).map(|place| observed(&format!("shop-{place}"), 1, READY)));
    assert_eq!(
        world.take_sent(),
        ["conceal shop", "admit shop-0/1 serving", "admit shop-1/1 serving", "admit shop-2/1 serving"]
    );
    world.run_for(seconds(600));
    assert!(world.take_sent().is_empty());
}

#[test]
fn the_first_start_after_a_restart_uses_a_number_that_no_ended_life_had() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    let memory = memory_of(&world);
    world.start_run();
    world.declare(fixed("shop", 2, 3));
    world.restore(memory);
    let ended = |replica, life| observed(replica, life, ReplicaState::Exited(killed()));
    world.report_inventory([observed("shop-0", 1, READY), ended("shop-1", 7), ended("shop-2", 4)]);
    let sent = world.take_sent();
    assert!(sent.contains(&"start shop-1/8 serving".to_owned()), "{sent:?}");
    assert!(sent.contains(&"start shop-2/8 serving".to_owned()), "{sent:?}");
}

#[test]
fn the_desired_size_survives_a_restart() {
    let mut world = World::with([autoscaled("shop", 2, 10)]);
    world.hold("shop", 7, None);
    world.carry_out();
    world.release("shop");
    world.take_sent();
    let memory = memory_of(&world);
    world.start_run();
    world.declare(autoscaled("shop", 2, 10));
    world.restore(memory);
    world.report_inventory((0..7).map(|place| observed(&format!("shop-{place}"), 1, READY)));
    world.run_for(seconds(60));
    assert_eq!(world.service("shop").desired, Some(7));
    assert!(
        world.take_sent().iter().all(|action| action.starts_with("admit") || action.starts_with("conceal"))
    );
}

#[test]
fn the_backoff_of_restarts_survives_a_restart() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    for _ in 0..4 {
        world.kill("shop-0");
        world.carry_out_unready();
        world.advance(seconds(61));
        world.carry_out_unready();
    }
    world.kill("shop-0");
    world.carry_out_unready();
    let memory = memory_of(&world);
    let not_before = memory.restarts[0].1.not_before;
    assert!(not_before > world.now);

    world.start_run();
    world.declare(fixed("shop", 1, 1));
    world.restore(memory);
    world.report_inventory([]);
    world.carry_out_unready();
    world.take_sent();
    let left = not_before.since(world.now);
    world.advance(left - ms(1));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/6 serving"]);
}

#[test]
fn the_window_of_the_storm_limit_survives_a_restart() {
    let mut world = World::with([fixed("shop", 1, 12)]);
    for place in 0..10 {
        world.kill(&format!("shop-{place}"));
    }
    let begun = world.now;
    world.run_for(seconds(20));
    let memory = memory_of(&world);

    world.start_run();
    world.declare(fixed("shop", 1, 12));
    world.restore(memory);
    let life = |place| if place < 10 { 2 } else { 1 };
    world.report_inventory((0..12).map(|place| observed(&format!("shop-{place}"), life(place), READY)));
    world.take_sent();
    world.kill("shop-11");
    assert!(world.take_sent().is_empty(), "ten were restarted within the last minute");
    world.run_for(begun.since(world.now) + seconds(39));
    assert!(world.take_sent().iter().all(|action| !action.starts_with("start")));
    world.run_for(seconds(2));
    assert_eq!(world.take_sent(), ["start shop-11/2 serving"]);
}

#[test]
fn suspended_healing_stays_suspended_for_its_whole_time() {
    let all = || (0..4).map(|place| format!("shop-{place}"));
    let mut world = World::with([fixed("shop", 1, 4)]);
    all().for_each(|replica| world.fail_liveness(&replica));
    world.run_for(seconds(300));
    assert_eq!(world.count_events(EventKind::HealingSuspended), 1);
    let memory = memory_of(&world);

    world.start_run();
    world.declare(fixed("shop", 1, 4));
    world.restore(memory);
    // The probes have begun again, and have not failed often enough yet to be reported.
    world.report_inventory(all().map(|replica| observed(&replica, 1, READY)));
    world.run_for(seconds(30));
    all().for_each(|replica| world.fail_liveness(&replica));
    world.take_sent();
    world.run_for(seconds(269));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.count_events(EventKind::HealingResumed), 0);
    world.run_for(seconds(2));
    assert_eq!(world.take_sent(), ["stop shop-0/1", "start shop-0/2 serving"]);
}

#[test]
fn suspended_healing_is_resumed_once_the_probes_would_have_failed() {
    let all = || (0..4).map(|place| format!("shop-{place}"));
    let mut world = World::with([fixed("shop", 1, 4)]);
    all().for_each(|replica| world.fail_liveness(&replica));
    let memory = memory_of(&world);
    world.start_run();
    world.declare(fixed("shop", 1, 4));
    world.restore(memory);
    world.report_inventory(all().map(|replica| observed(&replica, 1, READY)));
    world.run_for(seconds(59));
    assert_eq!(world.count_events(EventKind::HealingResumed), 0);
    world.run_for(seconds(2));
    assert_eq!(world.count_events(EventKind::HealingResumed), 1);
}

#[test]
fn a_replica_that_exited_meanwhile_is_started_with_a_later_incarnation() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    let memory = memory_of(&world);
    world.start_run();
    world.declare(fixed("shop", 1, 2));
    world.restore(memory);
    world.report_inventory([
        observed("shop-0", 1, READY),
        observed("shop-1", 1, ReplicaState::Exited(killed())),
    ]);
    assert_eq!(world.take_sent(), ["conceal shop", "admit shop-0/1 serving", "start shop-1/2 serving"]);
}

#[test]
fn nothing_is_sent_before_the_inventory() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.start_run();
    world.declare(fixed("shop", 1, 2));
    world.advance(seconds(600));
    assert!(world.take_sent().is_empty());
}

#[test]
fn the_first_action_of_a_run_has_the_epoch_of_the_run() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.start_run();
    world.declare(fixed("shop", 1, 1));
    world.report_inventory([]);
    assert!(world.pending.iter().all(|action| action.id.epoch.0 == 2));
    assert!(world.pending.iter().any(|action| matches!(action.kind, ActionKind::Start { .. })));
}

#[test]
fn the_same_inputs_give_the_same_digests() {
    let digests = || -> Vec<u64> {
        let mut world = World::with([fixed("shop", 1, 5), autoscaled("web", 2, 8)]);
        for round in 0..200_u64 {
            world.now = world.now + ms(37 * (round % 11));
            let place = round % 5;
            world.kill(&format!("shop-{place}"));
            world.carry_out();
            world.put(&Input::Woke);
        }
        world.digests
    };
    let first = digests();
    assert_eq!(first, digests());
    assert!(first.iter().any(|digest| *digest != 0), "something happened");
}
