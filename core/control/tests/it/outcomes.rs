//! Outcomes of actions, and reports that come late, twice or never.

use model::action::{FailureKind, Outcome, Refusal};
use model::event::EventKind;
use model::identity::{ActionId, Epoch, Generation};
use model::input::{Declared, ReplicaState};

use crate::bench::{READY, fixed};
use crate::world::{World, failed, killed, ms, observed, seconds};

fn starting() -> World {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 1));
    world.report_inventory([]);
    world
}

#[test]
fn an_action_with_an_unknown_outcome_is_sent_again_with_the_same_id() {
    let mut world = starting();
    let first = world.take_sent_ids();
    world.advance(seconds(2));
    world.end_action("start", Outcome::Unknown);
    world.advance(ms(9_999));
    assert!(world.take_sent_ids().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent_ids(), first);
}

#[test]
fn an_unanswered_action_is_sent_again_with_the_same_id() {
    let mut world = starting();
    let first = world.take_sent_ids();
    world.advance(ms(9_999));
    assert!(world.take_sent_ids().is_empty());
    for _ in 0..3 {
        world.advance(seconds(10));
        assert_eq!(world.take_sent_ids(), first);
    }
    world.end_action("start", Outcome::Applied);
    world.advance(seconds(60));
    assert!(world.take_sent_ids().is_empty());
}

#[test]
fn after_a_stale_epoch_the_loop_sends_no_action() {
    let mut world = starting();
    world.take_sent();
    world.end_action("start", Outcome::Refused(Refusal::StaleEpoch));
    assert!(world.control.is_fenced());
    world.declare(fixed("other", 1, 3));
    world.run_for(seconds(600));
    assert!(world.take_sent().is_empty());

    world.start_run();
    world.declare(fixed("other", 1, 3));
    world.report_inventory([]);
    assert_eq!(world.take_sent().len(), 3, "a new run sends actions again");
}

#[test]
fn a_start_that_finds_another_incarnation_is_repeated_with_a_later_one() {
    let mut world = starting();
    world.take_sent();
    world.end_action("start", Outcome::Refused(Refusal::OtherIncarnation));
    world.advance(ms(9_999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

/// The restarts of all replicas.
fn restarts(world: &World) -> u32 {
    world.service("shop").places.values().map(|place| place.restart.restarts).sum()
}

#[test]
fn a_start_that_failed_is_no_restart() {
    let mut world = starting();
    for _ in 0..3 {
        world.end_action("start", failed(FailureKind::Other));
        world.advance(seconds(60));
    }
    world.carry_out();
    assert_eq!(restarts(&world), 0, "it runs for the first time");

    world.kill("shop-0");
    for _ in 0..3 {
        world.advance(seconds(60));
        world.end_action("start", failed(FailureKind::Other));
    }
    assert_eq!(restarts(&world), 0, "it does not run again yet");
    world.advance(seconds(600));
    world.carry_out();
    assert_eq!(restarts(&world), 1, "it ran, ended, and runs again");
}

#[test]
fn the_first_start_of_another_version_is_no_restart() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.declare(Declared { generation: Generation(2), ..fixed("shop", 2, 2) });
    world.run_for(seconds(60));
    assert_eq!((world.life("shop-0"), restarts(&world)), (2, 0));
    world.kill("shop-0");
    world.carry_out();
    assert_eq!((world.life("shop-0"), restarts(&world)), (3, 1));
}

#[test]
fn a_refused_start_is_no_restart() {
    let mut world = starting();
    for _ in 0..2 {
        world.end_action("start", Outcome::Refused(Refusal::OtherIncarnation));
        world.advance(seconds(10));
    }
    world.carry_out();
    assert_eq!((world.life("shop-0"), restarts(&world)), (3, 0));

    world.kill("shop-0");
    world.end_action("start", Outcome::Refused(Refusal::OtherIncarnation));
    assert_eq!(restarts(&world), 0);
    world.advance(seconds(10));
    world.carry_out();
    assert_eq!((world.life("shop-0"), restarts(&world)), (5, 1));
}

#[test]
fn a_refused_start_is_reported_with_its_reason() {
    let mut world = starting();
    world.end_action("start", Outcome::Refused(Refusal::OtherIncarnation));
    let cause = "could not start shop-0 as life 1: its node knows a later life, or another one still runs";
    assert!(world.has_event(EventKind::ActionFailed, |reason| reason.to_string() == cause));
    assert!(world.has_event(EventKind::Waiting, |reason| reason.to_string().starts_with(cause)));
}

#[test]
fn the_outcome_of_an_action_of_an_earlier_run_changes_nothing() {
    let mut world = starting();
    world.take_sent();
    let earlier = ActionId { epoch: Epoch(0), sequence: 1 };
    world.put(&model::input::Input::Ended { action: earlier, outcome: failed(FailureKind::Declaration) });
    world.carry_out();
    assert!(world.take_sent().is_empty());
    assert_eq!(world.service("shop").serving(), 1);
}

#[test]
fn an_outcome_that_comes_twice_counts_once() {
    let mut world = starting();
    world.take_sent();
    let id = world.end_action("start", Outcome::Applied);
    world.report_state("shop-0", READY);
    world.put(&model::input::Input::Ended { action: id, outcome: failed(FailureKind::Other) });
    world.advance(seconds(60));
    assert!(world.take_sent().is_empty());
}

#[test]
fn a_failed_stop_is_sent_again_after_a_while() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.declare(fixed("shop", 2, 0));
    let first = world.take_sent_ids();
    world.end_action("stop", failed(FailureKind::Other));
    world.advance(ms(9_999));
    assert!(world.take_sent_ids().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent_ids(), first);
}

#[test]
fn a_failed_write_of_memory_is_sent_again_after_a_while_and_not_at_once() {
    let mut world = starting();
    let writes = |world: &World| world.pending.iter().filter(|a| a.kind.verb() == "remember").count();
    assert_eq!(writes(&world), 1);
    world.end_action("remember", failed(FailureKind::DiskFull));
    assert_eq!(writes(&world), 0);
    world.advance(ms(9_999));
    assert_eq!(writes(&world), 0);
    world.advance(ms(1));
    assert_eq!(writes(&world), 1);
}

#[test]
fn an_exit_that_is_reported_twice_causes_one_restart() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kill("shop-0");
    world.report_life("shop-0", 1, ReplicaState::Exited(killed()));
    world.report_life("shop-0", 1, ReplicaState::Exited(killed()));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
    world.carry_out();
    assert_eq!(world.life("shop-0"), 2);
}

#[test]
fn a_late_report_does_not_revive_an_ended_life() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kill("shop-0");
    world.carry_out();
    world.kill("shop-0");
    world.take_sent();
    world.report_life("shop-0", 2, READY);
    world.report_life("shop-0", 1, READY);
    assert_eq!(world.service("shop").serving(), 0);
    world.advance(seconds(3));
    assert_eq!(world.take_sent(), ["start shop-0/3 serving"]);
}

#[test]
fn a_late_report_does_not_reopen_a_closed_place() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.declare(fixed("shop", 2, 1));
    world.carry_out();
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
    world.report_life("shop-1", 1, READY);
    assert_eq!(world.places("shop"), [0]);
    assert!(world.take_sent().is_empty());
}

#[test]
fn an_inventory_from_before_a_start_does_not_make_it_vanish() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    let before = world.pending.last().map_or(ActionId { epoch: Epoch(1), sequence: 1 }, |a| a.id);
    world.declare(fixed("shop", 2, 2));
    world.carry_out();
    world.take_sent();
    world.report_inventory_as_of(before, [observed("shop-0", 1, READY)]);
    assert!(world.take_sent().is_empty());
    assert_eq!(world.service("shop").serving(), 2);
}

#[test]
fn a_replica_missing_from_a_later_inventory_is_lost() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.report_inventory([observed("shop-0", 1, READY)]);
    assert_eq!(world.take_sent(), ["start shop-1/2 serving"]);
}

#[test]
fn a_start_in_flight_is_not_expected_in_an_inventory() {
    let mut world = starting();
    world.take_sent();
    world.report_inventory([]);
    world.report_inventory([]);
    assert!(world.take_sent().is_empty(), "it is in flight");
}

/// A service without replicas that is exposed.
fn exposed(revision: u64) -> Declared {
    let mut declared = fixed("shop", revision, 0);
    declared.spec.expose = Some(model::resource::Expose::new(
        model::resource::ListenAddress::parse("127.0.0.1:80").unwrap(),
        model::resource::PortName::parse("http").unwrap(),
    ));
    declared
}

#[test]
fn a_failed_listener_is_tried_again() {
    let mut world = World::started();
    world.declare(exposed(1));
    world.report_inventory([]);
    assert_eq!(world.take_sent(), ["expose shop"]);
    world.end_action("expose", failed(FailureKind::AddressInUse));
    world.advance(ms(9_999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["expose shop"]);
}

#[test]
fn an_action_on_a_listener_is_not_sent_again_after_a_later_one() {
    let mut world = World::started();
    world.report_inventory([]);
    world.declare(exposed(1));
    world.declare(exposed(2));
    world.withdraw("shop");
    assert_eq!(world.take_sent(), ["expose shop", "expose shop", "conceal shop"]);
    world.end_action("conceal", Outcome::Applied);
    assert!(!world.has_service("shop"));
    world.advance(seconds(60));
    assert!(
        world.take_sent().is_empty(),
        "the node has forgotten the service, and would listen for it again"
    );
}

#[test]
fn the_memory_of_a_service_that_is_gone_is_not_sent_again() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kill("shop-0");
    world.end_action("remember", failed(FailureKind::DiskFull));
    world.withdraw("shop");
    world.carry_out();
    assert!(!world.has_service("shop"));
    world.advance(seconds(60));
    assert!(world.pending.is_empty(), "{:?}", world.pending);
}
