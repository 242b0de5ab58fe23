//! The loop comes back: running replicas go on running, and what was learned is remembered.

use model::action::ActionKind;
use model::event::EventKind;
use model::input::{Input, ReplicaState};
use model::memory::Memory;

use crate::bench::{READY, autoscaled, fixed};
use crate::world::{World, killed, ms, observed, seconds};

/// The latest memory of a service that was sent to be written.
fn memory_of(world: &World) -> Memory {
    world.service("shop").remembered.as_ref().map(|known| Memory::clone(&known.memory)).expect("it is kept")
}

#[test]
fn replicas_of_an_earlier_run_are_kept_and_admitted_again() {
    let mut world = World::with([fixed("shop", 1, 3)]);
    let memory = memory_of(&world);
    world.begins();
    world.declares(fixed("shop", 1, 3));
    world.remembers(memory);
    world.finds((0..3).map(|place| observed(&format!("shop-{place}"), 1, READY)));
    assert_eq!(
        world.take_sent(),
        ["conceal shop", "admit shop-0/1 serving", "admit shop-1/1 serving", "admit shop-2/1 serving"]
    );
    world.lives_for(seconds(600));
    assert!(world.take_sent().is_empty());
}

#[test]
fn the_size_that_was_wanted_is_wanted_still() {
    let mut world = World::with([autoscaled("shop", 2, 10)]);
    world.holds("shop", 7, None);
    world.obeys();
    world.releases("shop");
    world.take_sent();
    let memory = memory_of(&world);
    world.begins();
    world.declares(autoscaled("shop", 2, 10));
    world.remembers(memory);
    world.finds((0..7).map(|place| observed(&format!("shop-{place}"), 1, READY)));
    world.lives_for(seconds(60));
    assert_eq!(world.service("shop").desired, Some(7));
    assert!(
        world.take_sent().iter().all(|action| action.starts_with("admit") || action.starts_with("conceal"))
    );
}

#[test]
fn the_ladder_of_restarts_goes_on() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    for _ in 0..4 {
        world.kills("shop-0");
        world.applies();
        world.passes(seconds(61));
        world.applies();
    }
    world.kills("shop-0");
    world.applies();
    let memory = memory_of(&world);
    let not_before = memory.restarts[0].1.not_before;
    assert!(not_before > world.now);

    world.begins();
    world.declares(fixed("shop", 1, 1));
    world.remembers(memory);
    world.finds([]);
    world.applies();
    world.take_sent();
    let left = not_before.since(world.now);
    world.passes(left - ms(1));
    assert!(world.take_sent().is_empty());
    world.passes(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/6 serving"]);
}

#[test]
fn the_window_of_the_storm_limit_goes_on() {
    let mut world = World::with([fixed("shop", 1, 12)]);
    for place in 0..10 {
        world.kills(&format!("shop-{place}"));
    }
    let begun = world.now;
    world.lives_for(seconds(20));
    let memory = memory_of(&world);

    world.begins();
    world.declares(fixed("shop", 1, 12));
    world.remembers(memory);
    let life = |place| if place < 10 { 2 } else { 1 };
    world.finds((0..12).map(|place| observed(&format!("shop-{place}"), life(place), READY)));
    world.take_sent();
    world.kills("shop-11");
    assert!(world.take_sent().is_empty(), "ten were restarted within the last minute");
    world.lives_for(begun.since(world.now) + seconds(39));
    assert!(world.take_sent().iter().all(|action| !action.starts_with("start")));
    world.lives_for(seconds(2));
    assert_eq!(world.take_sent(), ["start shop-11/2 serving"]);
}

#[test]
fn suspended_healing_stays_suspended_and_ends_when_it_would_have() {
    let all = || (0..4).map(|place| format!("shop-{place}"));
    let mut world = World::with([fixed("shop", 1, 4)]);
    all().for_each(|replica| world.sickens(&replica));
    world.lives_for(seconds(300));
    assert_eq!(world.heard(EventKind::HealingSuspended), 1);
    let memory = memory_of(&world);

    world.begins();
    world.declares(fixed("shop", 1, 4));
    world.remembers(memory);
    // The probes start anew as well, and have not failed often enough yet to be reported.
    world.finds(all().map(|replica| observed(&replica, 1, READY)));
    world.lives_for(seconds(30));
    all().for_each(|replica| world.sickens(&replica));
    world.take_sent();
    world.lives_for(seconds(269));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.heard(EventKind::HealingResumed), 0);
    world.lives_for(seconds(2));
    assert_eq!(world.take_sent(), ["stop shop-0/1", "start shop-0/2 serving"]);
}

#[test]
fn suspended_healing_is_resumed_when_the_probes_had_time_to_fail_and_did_not() {
    let all = || (0..4).map(|place| format!("shop-{place}"));
    let mut world = World::with([fixed("shop", 1, 4)]);
    all().for_each(|replica| world.sickens(&replica));
    let memory = memory_of(&world);
    world.begins();
    world.declares(fixed("shop", 1, 4));
    world.remembers(memory);
    world.finds(all().map(|replica| observed(&replica, 1, READY)));
    world.lives_for(seconds(59));
    assert_eq!(world.heard(EventKind::HealingResumed), 0);
    world.lives_for(seconds(2));
    assert_eq!(world.heard(EventKind::HealingResumed), 1);
}

#[test]
fn what_died_meanwhile_is_started_with_a_later_life() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    let memory = memory_of(&world);
    world.begins();
    world.declares(fixed("shop", 1, 2));
    world.remembers(memory);
    world.finds([observed("shop-0", 1, READY), observed("shop-1", 1, ReplicaState::Exited(killed()))]);
    assert_eq!(world.take_sent(), ["conceal shop", "admit shop-0/1 serving", "start shop-1/2 serving"]);
}

#[test]
fn nothing_is_sent_before_the_inventory() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.begins();
    world.declares(fixed("shop", 1, 2));
    world.passes(seconds(600));
    assert!(world.take_sent().is_empty());
}

#[test]
fn the_first_action_of_a_run_has_the_epoch_of_the_run() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.begins();
    world.declares(fixed("shop", 1, 1));
    world.finds([]);
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
            world.kills(&format!("shop-{place}"));
            world.obeys();
            world.put(&Input::Woke);
        }
        world.digests
    };
    let first = digests();
    assert_eq!(first, digests());
    assert!(first.iter().any(|digest| *digest != 0), "something happened");
}
