//! What is started while a newer version has not become ready: the version that is known to work.

use model::event::EventKind;
use model::identity::Generation;
use model::input::{Declared, Observed};
use model::memory::Memory;
use model::reason::Reason;
use model::resource::{Recover, Span};

use crate::bench::{READY, fixed};
use crate::world::{UNREADY, World, observed, seconds};

fn version(version: u64, replicas: u32) -> Declared {
    Declared { generation: Generation(version), ..fixed("shop", version, replicas) }
}

/// The versions of the running replicas, by place.
fn running(world: &World) -> Vec<u64> {
    let places = world.service("shop").places.values().filter(|place| place.is_occupied());
    places.map(|place| place.generation.0).collect()
}

fn memory(world: &World) -> Memory {
    Memory::clone(&world.service("shop").remembered.as_ref().expect("it has a memory").memory)
}

/// Begins another run of the loop, with the declaration and with what the run before remembers.
fn restart(world: &mut World) {
    let memory = memory(world);
    world.start_run();
    world.declare(version(2, 2));
    world.restore(memory);
}

/// Version 1 serves with so many replicas; version 2 is declared, and its first replica runs without becoming ready.
fn stuck(replicas: u32) -> World {
    let mut world = World::with([version(1, replicas)]);
    world.advance(seconds(600));
    world.declare(version(2, replicas));
    world.carry_out_unready();
    world.report_state(&format!("shop-{replicas}"), UNREADY);
    world.take_sent();
    world
}

/// Carries out the starts that are pending; replicas of version 1 become ready, others do not.
fn carry_out(world: &mut World) {
    world.carry_out_unready();
    let started: Vec<u32> = world.places("shop");
    for replica in started.into_iter().map(|ordinal| format!("shop-{ordinal}")) {
        let is_starting = |place: &&knowledge::Place| place.is_occupied() && place.was_never_ready();
        if let Some(place) = world.place(&replica).filter(is_starting) {
            let state = if place.generation == Generation(1) { READY } else { UNREADY };
            world.report_state(&replica, state);
        }
    }
}

#[test]
fn a_replica_that_exits_is_restarted_as_the_version_that_is_known_to_work() {
    let mut world = stuck(2);
    world.kill("shop-1");
    assert_eq!(world.take_sent(), ["start shop-1/2 serving"]);
    let reason = Reason::Unproven { declared: Generation(2), proven: Generation(1) };
    assert!(world.has_event(EventKind::Starting, |why| *why == reason));
    carry_out(&mut world);
    assert_eq!((running(&world), world.service("shop").serving()), (vec![1, 1, 2], 2));
}

#[test]
fn replicas_that_all_exit_are_all_restarted_as_the_version_that_is_known_to_work() {
    let mut world = stuck(3);
    for replica in ["shop-0", "shop-1", "shop-2", "shop-3"] {
        world.kill(replica);
    }
    for _ in 0..10 {
        carry_out(&mut world);
        world.advance(seconds(10));
    }
    assert_eq!(world.service("shop").serving(), 3);
    assert_eq!(running(&world), [1, 1, 1, 2]);
}

#[test]
fn a_newer_version_becomes_the_one_that_is_started_once_it_is_ready() {
    let mut world = stuck(2);
    world.report_state("shop-2", READY);
    world.kill("shop-1");
    world.run_for(seconds(60));
    assert_eq!(running(&world), [2, 2]);
}

#[test]
fn what_waits_as_the_earlier_version_is_started_at_once_as_the_newer_one_when_that_is_ready() {
    let mut world = stuck(2);
    for _ in 0..4 {
        world.kill("shop-1");
        carry_out(&mut world);
        world.advance(seconds(60));
        carry_out(&mut world);
    }
    world.kill("shop-1");
    assert_eq!(running(&world), [1, 2], "it waits");
    world.take_sent();
    world.report_state("shop-2", READY);
    let sent = world.take_sent();
    assert!(sent.iter().any(|action| action.starts_with("start shop-1/")), "{sent:?}");
}

#[test]
fn scaling_out_starts_the_version_that_is_known_to_work() {
    let mut world = stuck(2);
    world.hold("shop", 5, None);
    for _ in 0..3 {
        carry_out(&mut world);
        world.advance(seconds(1));
    }
    assert_eq!((running(&world), world.service("shop").serving()), (vec![1, 1, 2, 1, 1, 1], 5));
}

#[test]
fn scaling_in_and_out_again_leaves_one_replica_of_the_newer_version() {
    let mut world = stuck(4);
    for replicas in [2, 6, 1, 3] {
        world.hold("shop", replicas, None);
        world.kill("shop-1");
        for _ in 0..4 {
            carry_out(&mut world);
            world.advance(seconds(200));
        }
        let running = running(&world);
        assert_eq!(running.iter().filter(|generation| **generation == 1).count(), replicas as usize);
        assert_eq!(running.len(), replicas as usize + 1);
    }
}

#[test]
fn a_correction_is_started_at_once() {
    let mut world = stuck(2);
    for _ in 0..6 {
        world.kill("shop-2");
        world.advance(seconds(1));
        carry_out(&mut world);
    }
    world.kill("shop-2");
    world.take_sent();
    world.declare(version(3, 2));
    let sent = world.take_sent();
    assert!(sent.len() == 1 && sent[0].starts_with("start shop-2/"), "{sent:?}");
    assert_eq!(running(&world), [1, 1, 3]);
    world.run_for(seconds(60));
    assert_eq!(running(&world), [3, 3]);
}

#[test]
fn a_correction_that_is_broken_as_well_leaves_the_version_that_is_known_to_work() {
    let mut world = stuck(2);
    world.declare(version(3, 2));
    carry_out(&mut world);
    world.kill("shop-0");
    carry_out(&mut world);
    world.advance(seconds(60));
    carry_out(&mut world);
    assert_eq!((running(&world), world.service("shop").serving()), (vec![1, 1, 3], 2));
}

#[test]
fn going_back_to_the_version_that_is_known_to_work_replaces_none_of_its_replicas() {
    let mut world = stuck(2);
    world.kill("shop-1");
    carry_out(&mut world);
    world.take_sent();
    world.declare(Declared { generation: Generation(1), ..fixed("shop", 3, 2) });
    world.run_for(seconds(60));
    assert_eq!(world.take_sent(), ["stop shop-2/1"]);
    assert_eq!(running(&world), [1, 1]);
}

#[test]
fn the_version_that_is_known_to_work_survives_a_restart_of_the_loop() {
    let mut world = stuck(2);
    restart(&mut world);
    let newer = Observed { generation: Generation(2), ..observed("shop-2", 1, UNREADY) };
    world.report_inventory([observed("shop-0", 1, READY), observed("shop-1", 1, READY), newer]);
    world.kill("shop-1");
    carry_out(&mut world);
    assert_eq!(running(&world), [1, 1, 2]);
}

#[test]
fn after_a_restart_of_the_machine_the_wanted_number_is_of_the_version_that_is_known_to_work() {
    let mut world = stuck(2);
    restart(&mut world);
    world.report_inventory([]);
    for _ in 0..3 {
        carry_out(&mut world);
        world.advance(seconds(1));
    }
    assert_eq!((running(&world), world.service("shop").serving()), (vec![1, 1, 2], 2));
}

#[test]
fn a_service_that_is_declared_anew_does_not_start_what_was_declared_before_its_deletion() {
    let mut world = stuck(2);
    let memory = memory(&world);
    world.withdraw("shop");
    world.carry_out();
    assert!(!world.has_service("shop"));
    world.start_run();
    world.declare(Declared { generation: Generation(1), ..fixed("shop", 1, 2) });
    world.restore(Memory {
        proven: memory
            .proven
            .map(|proven| Declared { revision: Generation(7), ..Declared::clone(&proven) }.into()),
        ..memory
    });
    world.report_inventory([]);
    assert_eq!(world.service("shop").proven, None);
}

#[test]
fn a_first_version_that_never_was_ready_is_not_started_again() {
    let mut world = World::started();
    world.declare(version(1, 2));
    world.report_inventory([]);
    world.carry_out_unready();
    world.declare(version(2, 2));
    world.kill("shop-0");
    world.run_for(seconds(60));
    assert_eq!(running(&world), [2, 2]);
}

#[test]
fn a_version_that_is_declared_while_no_replica_is_wanted_is_started_in_every_place() {
    let mut world = World::with([version(1, 2)]);
    world.hold("shop", 0, None);
    world.run_for(seconds(60));
    world.declare(version(2, 2));
    world.release("shop");
    carry_out(&mut world);
    assert_eq!(running(&world), [2, 2]);
}

#[test]
fn a_lost_spare_is_replaced_by_the_version_that_is_known_to_work() {
    let standby = |number| {
        let mut declared = version(number, 2);
        declared.spec.recover = Recover::Standby { spares: 1 };
        declared
    };
    let mut world = World::with([standby(1)]);
    world.declare(standby(2));
    carry_out(&mut world);
    for replica in ["shop-0", "shop-1", "shop-2", "shop-3"] {
        world.kill(replica);
        carry_out(&mut world);
        world.advance(seconds(60));
        carry_out(&mut world);
    }
    assert_eq!((running(&world), world.service("shop").serving()), (vec![1, 1, 1, 2], 2));
    assert_eq!(world.service("shop").spares().filter(|(_, place)| place.is_ready()).count(), 1);
}

#[test]
fn a_slow_start_of_the_version_that_is_known_to_work_is_waited_for() {
    let mut world = stuck(2);
    world.kill("shop-1");
    world.carry_out_unready();
    world.report_state("shop-1", UNREADY);
    world.take_sent();
    world.advance(seconds(90));
    assert_eq!(world.take_sent(), Vec::<String>::new());
    world.report_state("shop-1", READY);
    assert_eq!(world.service("shop").serving(), 2);
}

/// A version whose replicas have to be ready for half a minute.
fn with_min_ready(number: u64, replicas: u32) -> Declared {
    let mut declared = version(number, replicas);
    declared.spec.update.min_ready = Span::from_secs(30);
    declared
}

#[test]
fn a_replica_counts_for_a_rollout_only_after_it_has_been_ready_for_the_declared_time() {
    let mut world = World::with([with_min_ready(1, 2)]);
    world.advance(seconds(600));
    world.declare(with_min_ready(2, 2));
    world.carry_out_unready();
    world.take_sent();
    world.report_state("shop-2", READY);
    world.advance(seconds(29));
    assert_eq!(world.take_sent(), Vec::<String>::new());
    world.advance(seconds(1));
    assert_eq!(world.take_sent(), ["stop shop-0/1"]);
}

#[test]
fn a_version_that_crashes_soon_after_it_was_ready_replaces_no_replica() {
    let mut world = World::with([with_min_ready(1, 2)]);
    world.advance(seconds(600));
    world.declare(with_min_ready(2, 2));
    for _ in 0..20 {
        world.carry_out_unready();
        if world.place("shop-2").is_some_and(knowledge::Place::is_occupied) {
            world.report_state("shop-2", READY);
            world.advance(seconds(20));
            world.report_state("shop-2", UNREADY);
            world.report_state("shop-2", READY);
            world.advance(seconds(20));
            world.kill("shop-2");
        }
        world.advance(seconds(60));
    }
    let places = world.service("shop").places.values();
    assert_eq!(places.filter(|place| place.is_ready() && place.generation == Generation(1)).count(), 2);
    world.kill("shop-1");
    carry_out(&mut world);
    assert_eq!(world.place("shop-1").map(|place| place.generation), Some(Generation(1)));
}

#[test]
fn a_version_that_stays_ready_replaces_all_replicas_one_after_the_other() {
    let mut world = World::with([with_min_ready(1, 3)]);
    world.declare(with_min_ready(2, 3));
    world.run_for(seconds(59));
    assert_eq!(running(&world).iter().filter(|generation| **generation == 2).count(), 2);
    world.run_for(seconds(60));
    assert_eq!(running(&world), [2, 2, 2]);
}
