//! A service that rests while there are no requests.

use std::time::Duration;

use model::decision::Policy;
use model::event::EventKind;
use model::input::{Declared, Demand, Input, Report};
use model::reason::Reason;
use model::resource::{Dependency, DependencyStage, Expose, ListenAddress, PortName, Scale, Span, ToZero};

use crate::bench::{autoscaled, fixed, name};
use crate::world::{World, ms, seconds};

const AFTER: Duration = Duration::from_secs(60);

fn may_rest(mut declared: Declared, replicas: u32) -> Declared {
    let to_zero = Some(ToZero { after: Span::from_secs(60), wait: Span::from_secs(60) });
    declared.spec.scale = Scale { to_zero, ..Scale::fixed(replicas) };
    let listen = ListenAddress::parse("127.0.0.1:8080").unwrap();
    declared.spec.expose = Some(Expose::new(listen, PortName::parse("http").unwrap()));
    declared
}

/// A shop of two replicas without requests.
fn awake() -> World {
    World::with([may_rest(fixed("shop", 1, 2), 2)])
}

/// The proxy reports on the shop: requests so far, those that wait, and those being answered.
fn asks(world: &mut World, requests: u64, waiting: u32, in_flight: u32) {
    let demand = Demand { service: name("shop"), requests, waiting, in_flight };
    world.put(&Input::Report(Report::Demand(vec![demand])));
}

/// Lets time pass while the proxy reports the same every half second.
fn goes_by(world: &mut World, span: Duration, requests: u64, in_flight: u32) {
    let end = world.now + span;
    while world.now < end {
        asks(world, requests, 0, in_flight);
        world.lives_for(ms(500));
    }
}

/// A shop of two that has just gone to rest, after ten requests.
fn resting() -> World {
    let mut world = awake();
    goes_by(&mut world, AFTER + seconds(2), 10, 0);
    assert_eq!((world.service("shop").desired, world.places("shop")), (Some(0), vec![]));
    world.take_sent();
    world
}

#[test]
fn nobody_asks_for_a_while_and_it_rests() {
    let mut world = awake();
    goes_by(&mut world, AFTER - seconds(1), 10, 0);
    assert_eq!(world.service("shop").desired, Some(2));
    goes_by(&mut world, seconds(3), 10, 0);
    assert_eq!((world.service("shop").desired, world.places("shop")), (Some(0), vec![]));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.policy, Policy::ToZero);
    assert!(decision.summary.contains("the service has had no requests since"), "{}", decision.summary);
}

#[test]
fn each_request_puts_the_rest_off() {
    let mut world = awake();
    for requests in 1..=10 {
        goes_by(&mut world, AFTER - seconds(2), requests, 0);
    }
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn whoever_still_waits_for_an_answer_is_not_left_alone() {
    let mut world = awake();
    goes_by(&mut world, AFTER * 3, 10, 1);
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn a_proxy_that_does_not_tell_is_no_reason_to_rest() {
    let mut world = awake();
    asks(&mut world, 10, 0, 0);
    world.lives_for(AFTER * 3);
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn the_first_request_wakes_it_at_once() {
    let mut world = resting();
    asks(&mut world, 11, 1, 0);
    assert_eq!(world.take_sent(), ["start shop-0/2 serving", "start shop-1/2 serving"]);
    let is_awaited = |reason: &Reason| matches!(reason, Reason::Awaited { waiting: 1 });
    assert!(world.heard_because(EventKind::Scaled, is_awaited));
    goes_by(&mut world, AFTER - seconds(1), 11, 0);
    assert_eq!(world.places("shop"), [0, 1], "it stays for as long again");
}

#[test]
fn a_request_that_did_not_wait_long_enough_to_be_counted_wakes_it_as_well() {
    let mut world = resting();
    asks(&mut world, 11, 0, 0);
    world.lives_for(seconds(1));
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn it_still_rests_after_a_restart_of_the_loop() {
    let mut world = resting();
    let memory = world.service("shop").memory();
    world.begins();
    world.declares(may_rest(fixed("shop", 1, 2), 2));
    world.remembers(memory);
    world.finds([]);
    // The counters of a proxy that was restarted together with the loop.
    goes_by(&mut world, seconds(5), 0, 0);
    assert_eq!((world.service("shop").desired, world.places("shop")), (Some(0), vec![]));
    asks(&mut world, 1, 1, 0);
    world.lives_for(seconds(1));
    assert_eq!(world.places("shop"), [0, 1]);
}

#[test]
fn a_hold_at_none_is_not_broken_by_a_request_and_ends_in_rest() {
    let mut world = resting();
    world.holds("shop", 0, Some(seconds(10)));
    asks(&mut world, 11, 5, 0);
    world.lives_for(seconds(5));
    assert_eq!(world.service("shop").desired, Some(0));
    goes_by(&mut world, seconds(90), 11, 0);
    assert_eq!(world.service("shop").desired, Some(0), "the hold is over, and nobody asks");
    asks(&mut world, 12, 1, 0);
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn an_autoscaler_begins_where_it_would_have_begun() {
    let shop = may_rest(autoscaled("shop", 3, 9), 1);
    let mut world = World::with([shop]);
    goes_by(&mut world, AFTER + seconds(2), 10, 0);
    assert_eq!(world.service("shop").desired, Some(0));
    asks(&mut world, 11, 1, 0);
    assert_eq!(world.service("shop").desired, Some(3));
}

#[test]
fn those_that_depend_on_it_do_not_wait_for_it() {
    let mut world = resting();
    let mut web = fixed("web", 1, 1);
    web.spec.depends_on = vec![Dependency { service: name("shop"), when: DependencyStage::Ready }];
    world.declares(web);
    assert_eq!(world.take_sent(), ["start web-0/1 serving"]);
}
