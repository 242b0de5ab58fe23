//! How replicas leave: without cutting off a request, if that can be avoided.

use model::action::{ActionKind, Outcome};
use model::event::EventKind;
use model::input::Declared;
use model::memory::Memory;
use model::reason::Reason;
use model::resource::{Expose, ListenAddress, PortName};

use crate::bench::{READY, fixed, name};
use crate::world::{UNREADY, World, ms, observed, seconds};

fn exposed(service: &str, revision: u64, replicas: u32) -> Declared {
    let mut declared = fixed(service, revision, replicas);
    let listen = ListenAddress::parse("127.0.0.1:8080").unwrap();
    declared.spec.expose = Some(Expose::new(listen, PortName::parse("http").unwrap()));
    declared
}

/// Two replicas with traffic, one of which is to go.
fn draining() -> World {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.serves("shop-0", 100, 2);
    world.serves("shop-1", 100, 2);
    world.passes(ms(10));
    world.declares(fixed("shop", 2, 1));
    assert_eq!(world.take_sent(), ["admit shop-1/1 draining"]);
    world
}

#[test]
fn a_drained_replica_is_stopped_when_its_last_request_is_answered() {
    let mut world = draining();
    world.applies();
    world.passes(ms(10));
    world.serves("shop-1", 100, 1);
    assert!(world.take_sent().is_empty());

    world.passes(ms(10));
    world.serves("shop-1", 101, 0);
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
    world.applies();
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn a_count_from_before_the_drain_took_effect_stops_nothing() {
    let mut world = draining();
    world.passes(ms(10));
    world.serves("shop-1", 101, 0);
    assert!(world.take_sent().is_empty(), "the proxy may still route to it");
    world.ends("admit", Outcome::Applied);
    assert!(world.take_sent().is_empty(), "the count is older than the drain");

    world.passes(ms(10));
    world.serves("shop-1", 101, 0);
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
}

#[test]
fn a_drained_replica_that_does_not_finish_is_stopped_at_its_deadline() {
    let mut world = draining();
    world.applies();
    world.serves("shop-1", 100, 2);
    world.passes(ms(4_999));
    assert!(world.take_sent().is_empty());
    world.passes(ms(1));
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
}

#[test]
fn a_drain_that_the_proxy_never_answers_ends_after_three_tellings() {
    let mut world = draining();
    world.serves("shop-1", 100, 2);
    world.passes(ms(29_000));
    assert_eq!(world.take_sent(), ["admit shop-1/1 draining"; 2], "sent again with the same id");
    world.passes(ms(1_000));
    assert_eq!(world.take_sent().last().map(String::as_str), Some("stop shop-1/1"));
    assert!(world.heard_because(EventKind::Stopping, |why| matches!(why, Reason::DrainUnanswered { .. })));
    world.passes(seconds(15));
    assert_eq!(world.take_sent(), ["stop shop-1/1"], "the proxy is asked no more");
    world.applies();
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn a_drain_without_an_answer_waits_for_as_long_as_the_service_may_take() {
    let mut declared = fixed("shop", 1, 2);
    declared.spec.stop.drain = model::resource::Span::from_secs(100);
    declared.spec.stop.grace = model::resource::Span::from_secs(20);
    let mut world = World::with([declared.clone()]);
    world.serves("shop-1", 100, 2);
    declared.revision = model::identity::Generation(2);
    declared.spec.scale = model::resource::Scale::fixed(1);
    world.passes(ms(10));
    world.declares(declared);
    world.passes(seconds(119));
    assert!(world.take_sent().iter().all(|action| action == "admit shop-1/1 draining"));
    world.passes(seconds(1));
    assert_eq!(world.take_sent().last().map(String::as_str), Some("stop shop-1/1"));
}

#[test]
fn the_signal_comes_before_the_kill_by_the_grace_declared() {
    let mut declared = fixed("shop", 2, 0);
    declared.spec.stop.grace = model::resource::Span::from_secs(3);
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.declares(declared);
    let grace = world.pending.iter().find_map(|action| match &action.kind {
        ActionKind::Stop { grace, .. } => Some(*grace),
        ActionKind::Start { .. }
        | ActionKind::Admit { .. }
        | ActionKind::Allot { .. }
        | ActionKind::Expose(_)
        | ActionKind::Conceal(_)
        | ActionKind::Remember(_) => None,
    });
    assert_eq!(grace, Some(seconds(3)));
}

#[test]
fn a_replica_that_ends_while_it_is_drained_is_not_restarted() {
    let mut world = draining();
    world.applies();
    world.kills("shop-1");
    world.lives_for(seconds(60));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn those_that_do_not_serve_go_first() {
    let mut world = World::with([fixed("shop", 1, 3)]);
    world.sees("shop-0", UNREADY);
    world.declares(fixed("shop", 2, 2));
    assert_eq!(world.take_sent(), ["stop shop-0/1"]);
}

#[test]
fn of_equals_the_highest_number_goes_first() {
    let mut world = World::with([fixed("shop", 1, 3)]);
    world.declares(fixed("shop", 2, 1));
    world.lives_for(seconds(30));
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn a_ready_replica_behind_a_listener_is_drained_even_before_its_first_count() {
    let mut world = World::with([exposed("shop", 1, 2)]);
    world.declares(exposed("shop", 2, 1));
    assert_eq!(world.take_sent(), ["expose shop", "admit shop-1/1 draining"]);
}

#[test]
fn a_replica_of_an_earlier_run_is_drained_before_it_is_stopped() {
    let mut world = World::begun();
    world.declares(exposed("shop", 1, 1));
    world.remembers(Memory { desired: Some(2), ..Memory::blank(name("shop")) });
    world.finds([observed("shop-0", 1, READY), observed("shop-1", 1, READY)]);
    assert_eq!(world.take_sent(), ["expose shop", "admit shop-0/1 serving", "admit shop-1/1 draining"]);
}

#[test]
fn a_replica_that_serves_for_nobody_this_run_knows_of_is_stopped() {
    let mut world = World::begun();
    world.finds([observed("shop-0", 1, READY)]);
    world.take_sent();
    world.serves("shop-0", 10, 3);
    world.lives_for(seconds(60));
    assert_eq!(world.control.knowledge().services().count(), 0, "it is gone, {:?}", world.take_sent());
}

#[test]
fn an_unready_replica_with_open_requests_is_drained() {
    let mut world = World::with([exposed("shop", 1, 2)]);
    world.serves("shop-0", 10, 3);
    world.sees("shop-0", UNREADY);
    world.declares(exposed("shop", 2, 1));
    assert_eq!(world.take_sent(), ["expose shop", "admit shop-0/1 draining"]);
}

#[test]
fn a_withdrawn_service_is_drained_stopped_concealed_and_gone() {
    let mut world = World::with([exposed("shop", 1, 2)]);
    world.serves("shop-0", 10, 1);
    world.serves("shop-1", 10, 1);
    world.withdraws("shop");
    let mut sent = world.take_sent();
    sent.sort();
    assert_eq!(sent, ["admit shop-0/1 draining", "admit shop-1/1 draining", "conceal shop"]);
    world.applies();
    assert!(world.knows("shop"));

    world.lives_for(seconds(10));
    assert_eq!(world.take_sent(), ["stop shop-0/1", "stop shop-1/1"]);
    assert!(!world.knows("shop"));
    assert_eq!(world.heard(EventKind::Gone), 1);
    world.lives_for(seconds(600));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.wakes_in(), None);
}

#[test]
fn a_service_that_is_withdrawn_while_it_starts_is_stopped_once_it_has_started() {
    let mut world = World::begun();
    world.declares(fixed("shop", 1, 1));
    world.finds([]);
    world.withdraws("shop");
    world.lives_for(seconds(20));
    assert_eq!(world.take_sent(), ["start shop-0/1 serving", "stop shop-0/1"]);
    assert!(!world.knows("shop"));
}

#[test]
fn a_dead_replica_of_a_withdrawn_service_is_not_started_again() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kills("shop-0");
    world.obeys();
    world.kills("shop-0");
    world.take_sent();
    world.withdraws("shop");
    world.lives_for(seconds(60));
    assert!(world.take_sent().is_empty());
    assert!(!world.knows("shop"));
}

#[test]
fn a_service_declared_again_while_it_leaves_is_started_anew_and_listened_for() {
    let mut world = World::with([exposed("shop", 1, 1)]);
    world.withdraws("shop");
    world.take_sent();
    world.declares(exposed("shop", 2, 1));
    world.lives_for(seconds(20));
    let sent = world.take_sent();
    assert!(sent.iter().any(|action| action.starts_with("start shop-")), "{sent:?}");
    assert!(sent.contains(&"expose shop".to_owned()), "{sent:?}");
    assert_eq!(world.service("shop").serving(), 1);
    assert_eq!(world.service("shop").name, name("shop"));
}

/// Three replicas, one of which has not started yet, while two are wanted: both that serve are needed.
fn one_too_many() -> World {
    let mut world = World::begun();
    world.declares(fixed("shop", 1, 3));
    world.finds([]);
    world.ends("start", Outcome::Unknown);
    world.obeys();
    for replica in ["shop-1", "shop-2"] {
        world.serves(replica, 100, 0);
    }
    world.declares(fixed("shop", 2, 2));
    world.take_sent();
    world
}

/// Found by the law `what_serves_is_taken_away_only_when_enough_is_left`, with the seed 20261121.
#[test]
fn who_stops_being_ready_goes_at_once_and_who_serves_stays() {
    let mut world = one_too_many();
    world.passes(ms(10));
    assert!(world.take_sent().is_empty(), "two serve, and two are needed");
    world.sees("shop-2", UNREADY);
    assert_eq!(world.take_sent(), ["admit shop-2/1 draining"]);
    world.obeys();
    assert_eq!(world.places("shop"), [0, 1]);
}

#[test]
fn who_stopped_being_ready_keeps_the_requests_that_it_was_given() {
    let mut world = one_too_many();
    world.passes(ms(10));
    world.sees("shop-2", UNREADY);
    world.ends("admit", Outcome::Applied);
    world.passes(ms(10));
    world.serves("shop-2", 101, 1);
    world.take_sent();
    world.passes(ms(10));
    assert!(world.take_sent().is_empty(), "a request came between the last count and the failed probe");
    world.serves("shop-2", 101, 0);
    assert_eq!(world.take_sent(), ["stop shop-2/1"]);
}
