//! How the loop takes the ends of actions, and reports that come late, twice or never.

use model::action::{FailureKind, Outcome, Refusal};
use model::identity::{ActionId, Epoch};
use model::input::ReplicaState;

use crate::bench::{READY, fixed};
use crate::world::{World, failed, killed, ms, observed, seconds};

fn starting() -> World {
    let mut world = World::begun();
    world.declares(fixed("shop", 1, 1));
    world.finds([]);
    world
}

#[test]
fn an_action_with_an_unknown_outcome_is_sent_again_with_the_same_id() {
    let mut world = starting();
    let first = world.take_sent_ids();
    world.passes(seconds(2));
    world.ends("start", Outcome::Unknown);
    world.passes(ms(9_999));
    assert!(world.take_sent_ids().is_empty());
    world.passes(ms(1));
    assert_eq!(world.take_sent_ids(), first);
}

#[test]
fn an_unanswered_action_is_sent_again_with_the_same_id() {
    let mut world = starting();
    let first = world.take_sent_ids();
    world.passes(ms(9_999));
    assert!(world.take_sent_ids().is_empty());
    for _ in 0..3 {
        world.passes(seconds(10));
        assert_eq!(world.take_sent_ids(), first);
    }
    world.ends("start", Outcome::Applied);
    world.passes(seconds(60));
    assert!(world.take_sent_ids().is_empty());
}

#[test]
fn a_stale_epoch_silences_the_loop() {
    let mut world = starting();
    world.take_sent();
    world.ends("start", Outcome::Refused(Refusal::StaleEpoch));
    assert!(world.control.is_fenced());
    world.declares(fixed("other", 1, 3));
    world.lives_for(seconds(600));
    assert!(world.take_sent().is_empty());

    world.begins();
    world.declares(fixed("other", 1, 3));
    world.finds([]);
    assert_eq!(world.take_sent().len(), 3, "a new run speaks again");
}

#[test]
fn a_start_that_finds_another_life_is_begun_anew_later_with_a_later_one() {
    let mut world = starting();
    world.take_sent();
    world.ends("start", Outcome::Refused(Refusal::OtherIncarnation));
    world.passes(ms(9_999));
    assert!(world.take_sent().is_empty());
    world.passes(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

#[test]
fn the_end_of_an_action_of_an_earlier_run_changes_nothing() {
    let mut world = starting();
    world.take_sent();
    let stranger = ActionId { epoch: Epoch(0), sequence: 1 };
    world.put(&model::input::Input::Ended { action: stranger, outcome: failed(FailureKind::Declaration) });
    world.obeys();
    assert!(world.take_sent().is_empty());
    assert_eq!(world.service("shop").serving(), 1);
}

#[test]
fn an_outcome_that_comes_twice_counts_once() {
    let mut world = starting();
    world.take_sent();
    let id = world.ends("start", Outcome::Applied);
    world.sees("shop-0", READY);
    world.put(&model::input::Input::Ended { action: id, outcome: failed(FailureKind::Other) });
    world.passes(seconds(60));
    assert!(world.take_sent().is_empty());
}

#[test]
fn a_stop_that_fails_is_sent_again_after_a_while() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.declares(fixed("shop", 2, 0));
    let first = world.take_sent_ids();
    world.ends("stop", failed(FailureKind::Other));
    world.passes(ms(9_999));
    assert!(world.take_sent_ids().is_empty());
    world.passes(ms(1));
    assert_eq!(world.take_sent_ids(), first);
}

#[test]
fn a_memory_that_cannot_be_written_is_sent_again_after_a_while_and_not_at_once() {
    let mut world = starting();
    let writes = |world: &World| world.pending.iter().filter(|a| a.kind.verb() == "remember").count();
    assert_eq!(writes(&world), 1);
    world.ends("remember", failed(FailureKind::DiskFull));
    assert_eq!(writes(&world), 0);
    world.passes(ms(9_999));
    assert_eq!(writes(&world), 0);
    world.passes(ms(1));
    assert_eq!(writes(&world), 1);
}

#[test]
fn an_end_that_is_reported_twice_is_answered_once() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kills("shop-0");
    world.sees_life("shop-0", 1, ReplicaState::Exited(killed()));
    world.sees_life("shop-0", 1, ReplicaState::Exited(killed()));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
    world.obeys();
    assert_eq!(world.life("shop-0"), 2);
}

#[test]
fn a_late_report_does_not_revive_a_life_that_is_over() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kills("shop-0");
    world.obeys();
    world.kills("shop-0");
    world.take_sent();
    world.sees_life("shop-0", 2, READY);
    world.sees_life("shop-0", 1, READY);
    assert_eq!(world.service("shop").serving(), 0);
    world.passes(seconds(3));
    assert_eq!(world.take_sent(), ["start shop-0/3 serving"]);
}

#[test]
fn a_late_report_does_not_revive_a_place_that_is_closed() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.declares(fixed("shop", 2, 1));
    world.obeys();
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
    world.sees_life("shop-1", 1, READY);
    assert_eq!(world.places("shop"), [0]);
    assert!(world.take_sent().is_empty());
}

#[test]
fn an_inventory_from_before_a_start_does_not_make_it_vanish() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    let before = world.pending.last().map_or(ActionId { epoch: Epoch(1), sequence: 1 }, |a| a.id);
    world.declares(fixed("shop", 2, 2));
    world.obeys();
    world.take_sent();
    world.finds_as_of(before, [observed("shop-0", 1, READY)]);
    assert!(world.take_sent().is_empty());
    assert_eq!(world.service("shop").serving(), 2);
}

#[test]
fn what_a_later_inventory_does_not_have_is_lost() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.finds([observed("shop-0", 1, READY)]);
    assert_eq!(world.take_sent(), ["start shop-1/2 serving"]);
}

#[test]
fn a_start_that_is_not_known_to_have_ended_does_not_vanish() {
    let mut world = starting();
    world.take_sent();
    world.finds([]);
    world.finds([]);
    assert!(world.take_sent().is_empty(), "it is in flight");
}

#[test]
fn a_listener_that_cannot_be_had_is_asked_for_again() {
    let mut declared = fixed("shop", 1, 0);
    declared.spec.expose = Some(model::resource::Expose::new(
        model::resource::ListenAddress::parse("127.0.0.1:80").unwrap(),
        model::resource::PortName::parse("http").unwrap(),
    ));
    let mut world = World::begun();
    world.declares(declared);
    world.finds([]);
    assert_eq!(world.take_sent(), ["expose shop"]);
    world.ends("expose", failed(FailureKind::AddressInUse));
    world.passes(ms(9_999));
    assert!(world.take_sent().is_empty());
    world.passes(ms(1));
    assert_eq!(world.take_sent(), ["expose shop"]);
}
