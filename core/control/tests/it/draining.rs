//! How replicas are removed: without cutting off requests, if possible.

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

/// Two replicas with traffic, one of which is to be removed.
fn draining() -> World {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.report_traffic("shop-0", 100, 2);
    world.report_traffic("shop-1", 100, 2);
    world.advance(ms(10));
    world.declare(fixed("shop", 2, 1));
    assert_eq!(world.take_sent(), ["admit shop-1/1 draining"]);
    world
}

#[test]
fn a_drained_replica_is_stopped_when_its_last_request_is_answered() {
    let mut world = draining();
    world.carry_out_unready();
    world.advance(ms(10));
    world.report_traffic("shop-1", 100, 1);
    assert!(world.take_sent().is_empty());

    world.advance(ms(10));
    world.report_traffic("shop-1", 101, 0);
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
    world.carry_out_unready();
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn a_count_from_before_the_drain_took_effect_stops_nothing() {
    let mut world = draining();
    world.advance(ms(10));
    world.report_traffic("shop-1", 101, 0);
    assert!(world.take_sent().is_empty(), "the proxy may still route to it");
    world.end_action("admit", Outcome::Applied);
    assert!(world.take_sent().is_empty(), "the count is older than the drain");

    world.advance(ms(10));
    world.report_traffic("shop-1", 101, 0);
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
}

#[test]
fn a_drained_replica_that_does_not_finish_is_stopped_at_its_deadline() {
    let mut world = draining();
    world.carry_out_unready();
    world.report_traffic("shop-1", 100, 2);
    world.advance(ms(4_999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["stop shop-1/1"]);
}

#[test]
fn a_drain_that_the_proxy_never_confirms_is_sent_three_times_and_ends() {
    let mut world = draining();
    world.report_traffic("shop-1", 100, 2);
    world.advance(ms(29_000));
    assert_eq!(world.take_sent(), ["admit shop-1/1 draining"; 2], "sent again with the same id");
    world.advance(ms(1_000));
    assert_eq!(world.take_sent().last().map(String::as_str), Some("stop shop-1/1"));
    assert!(world.has_event(EventKind::Stopping, |why| matches!(why, Reason::DrainUnanswered { .. })));
    world.advance(seconds(15));
    assert_eq!(world.take_sent(), ["stop shop-1/1"], "the drain is not sent again");
    world.carry_out_unready();
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn a_drain_without_an_answer_waits_for_the_declared_drain_and_grace() {
    let mut declared = fixed("shop", 1, 2);
    declared.spec.stop.drain = model::resource::Span::from_secs(100);
    declared.spec.stop.grace = model::resource::Span::from_secs(20);
    let mut world = World::with([declared.clone()]);
    world.report_traffic("shop-1", 100, 2);
    declared.revision = model::identity::Generation(2);
    declared.spec.scale = model::resource::Scale::fixed(1);
    world.advance(ms(10));
    world.declare(declared);
    world.advance(seconds(119));
    assert!(world.take_sent().iter().all(|action| action == "admit shop-1/1 draining"));
    world.advance(seconds(1));
    assert_eq!(world.take_sent().last().map(String::as_str), Some("stop shop-1/1"));
}

#[test]
fn the_signal_precedes_the_kill_by_the_declared_grace() {
    let mut declared = fixed("shop", 2, 0);
    declared.spec.stop.grace = model::resource::Span::from_secs(3);
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.declare(declared);
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
fn a_replica_that_exits_while_it_drains_is_not_restarted() {
    let mut world = draining();
    world.carry_out_unready();
    world.kill("shop-1");
    world.run_for(seconds(60));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn replicas_that_do_not_serve_are_removed_first() {
    let mut world = World::with([fixed("shop", 1, 3)]);
    world.report_state("shop-0", UNREADY);
    world.declare(fixed("shop", 2, 2));
    assert_eq!(world.take_sent(), ["stop shop-0/1"]);
}

#[test]
fn of_equal_replicas_the_highest_number_is_removed_first() {
    let mut world = World::with([fixed("shop", 1, 3)]);
    world.declare(fixed("shop", 2, 1));
    world.run_for(seconds(30));
    assert_eq!(world.places("shop"), [0]);
}

#[test]
fn a_ready_replica_behind_a_listener_is_drained_even_before_its_first_count() {
    let mut world = World::with([exposed("shop", 1, 2)]);
    world.declare(exposed("shop", 2, 1));
    assert_eq!(world.take_sent(), ["expose shop", "admit shop-1/1 draining"]);
}

#[test]
fn a_replica_of_an_earlier_run_is_drained_before_it_is_stopped() {
    let mut world = World::started();
    world.declare(exposed("shop", 1, 1));
    world.restore(Memory { desired: Some(2), ..Memory::blank(name("shop")) });
    world.report_inventory([observed("shop-0", 1, READY), observed("shop-1", 1, READY)]);
    assert_eq!(world.take_sent(), ["expose shop", "admit shop-0/1 serving", "admit shop-1/1 draining"]);
}

#[test]
fn a_running_replica_of_an_unknown_service_is_stopped() {
    let mut world = World::started();
    world.report_inventory([observed("shop-0", 1, READY)]);
    world.take_sent();
    world.report_traffic("shop-0", 10, 3);
    world.run_for(seconds(60));
    assert_eq!(
        world.control.knowledge().services().count(),
        0,
        "the service is gone, {:?}",
        world.take_sent()
    );
}

#[test]
fn an_unready_replica_with_open_requests_is_drained() {
    let mut world = World::with([exposed("shop", 1, 2)]);
    world.report_traffic("shop-0", 10, 3);
    world.report_state("shop-0", UNREADY);
    world.declare(exposed("shop", 2, 1));
    assert_eq!(world.take_sent(), ["expose shop", "admit shop-0/1 draining"]);
}

#[test]
fn a_withdrawn_service_is_drained_stopped_concealed_and_gone() {
    let mut world = World::with([exposed("shop", 1, 2)]);
    world.report_traffic("shop-0", 10, 1);
    world.report_traffic("shop-1", 10, 1);
    world.withdraw("shop");
    let mut sent = world.take_sent();
    sent.sort();
    assert_eq!(sent, ["admit shop-0/1 draining", "admit shop-1/1 draining", "conceal shop"]);
    world.carry_out_unready();
    assert!(world.has_service("shop"));

    world.run_for(seconds(10));
    assert_eq!(world.take_sent(), ["stop shop-0/1", "stop shop-1/1"]);
    assert!(!world.has_service("shop"));
    assert_eq!(world.count_events(EventKind::Gone), 1);
    world.run_for(seconds(600));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.wakes_in(), None);
}

#[test]
fn a_service_that_is_withdrawn_while_it_starts_is_stopped_once_it_has_started() {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 1));
    world.report_inventory([]);
    world.withdraw("shop");
    world.run_for(seconds(20));
    assert_eq!(world.take_sent(), ["start shop-0/1 serving", "stop shop-0/1"]);
    assert!(!world.has_service("shop"));
}

#[test]
fn a_dead_replica_of_a_withdrawn_service_is_not_started_again() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kill("shop-0");
    world.carry_out();
    world.kill("shop-0");
    world.take_sent();
    world.withdraw("shop");
    world.run_for(seconds(60));
    assert!(world.take_sent().is_empty());
    assert!(!world.has_service("shop"));
}

#[test]
fn a_service_declared_again_while_it_stops_is_started_and_exposed_again() {
    let mut world = World::with([exposed("shop", 1, 1)]);
    world.withdraw("shop");
    world.take_sent();
    world.declare(exposed("shop", 2, 1));
    world.run_for(seconds(20));
    let sent = world.take_sent();
    assert!(sent.iter().any(|action| action.starts_with("start shop-")), "{sent:?}");
    assert!(sent.contains(&"expose shop".to_owned()), "{sent:?}");
    assert_eq!(world.service("shop").serving(), 1);
    assert_eq!(world.service("shop").name, name("shop"));
}

/// Three replicas, one of which has not started yet, while two are wanted: both serving ones are needed.
fn with_excess_start() -> World {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 3));
    world.report_inventory([]);
    world.end_action("start", Outcome::Unknown);
    world.carry_out();
    for replica in ["shop-1", "shop-2"] {
        world.report_traffic(replica, 100, 0);
    }
    world.declare(fixed("shop", 2, 2));
    world.take_sent();
    world
}

/// Found by the law `a_serving_replica_is_removed_only_when_enough_are_left`, with the seed 20261121.
#[test]
fn a_replica_that_becomes_unready_is_removed_at_once_and_serving_ones_stay() {
    let mut world = with_excess_start();
    world.advance(ms(10));
    assert!(world.take_sent().is_empty(), "two serve, and two are needed");
    world.report_state("shop-2", UNREADY);
    assert_eq!(world.take_sent(), ["admit shop-2/1 draining"]);
    world.carry_out();
    assert_eq!(world.places("shop"), [0, 1]);
}

#[test]
fn a_replica_that_became_unready_finishes_the_requests_routed_to_it() {
    let mut world = with_excess_start();
    world.advance(ms(10));
    world.report_state("shop-2", UNREADY);
    world.end_action("admit", Outcome::Applied);
    world.advance(ms(10));
    world.report_traffic("shop-2", 101, 1);
    world.take_sent();
    world.advance(ms(10));
    assert!(world.take_sent().is_empty(), "a request came between the last count and the failed probe");
    world.report_traffic("shop-2", 101, 0);
    assert_eq!(world.take_sent(), ["stop shop-2/1"]);
}
