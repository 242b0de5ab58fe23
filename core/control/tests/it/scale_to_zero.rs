//! Scaling to zero while there are no requests.

use std::time::Duration;

use model::action::FailureKind;
use model::decision::Policy;
use model::event::EventKind;
use model::input::{Declared, Demand, Input, Report};
use model::reason::Reason;
use model::resource::{Dependency, DependencyStage, Expose, ListenAddress, PortName, Scale, Span, ToZero};

use crate::bench::{autoscaled, fixed, name};
use crate::world::{World, failed, ms, seconds};

const AFTER: Duration = Duration::from_secs(60);

fn with_scale_to_zero(mut declared: Declared, replicas: u32) -> Declared {
    let to_zero = Some(ToZero { after: Span::from_secs(60), wait: Span::from_secs(60) });
    declared.spec.scale = Scale { to_zero, ..Scale::fixed(replicas) };
    let listen = ListenAddress::parse("127.0.0.1:8080").unwrap();
    declared.spec.expose = Some(Expose::new(listen, PortName::parse("http").unwrap()));
    declared
}

/// A service of two replicas without requests.
fn in_use() -> World {
    World::with([with_scale_to_zero(fixed("shop", 1, 2), 2)])
}

/// The proxy reports on the service: requests so far, those that wait, and those being answered.
fn report_demand(world: &mut World, requests: u64, waiting: u32, in_flight: u32) {
    let demand = Demand { service: name("shop"), requests, waiting, in_flight };
    world.put(&Input::Report(Report::Demand(vec![demand])));
}

/// Lets time pass while the proxy reports the same every half second.
fn pass(world: &mut World, span: Duration, requests: u64, in_flight: u32) {
    let end = world.now + span;
    while world.now < end {
        report_demand(world, requests, 0, in_flight);
        world.run_for(ms(500));
    }
}

/// A service of two replicas that has just been scaled to zero, after ten requests.
fn at_zero() -> World {
    let mut world = in_use();
    pass(&mut world, AFTER + seconds(2), 10, 0);
    assert_eq!((world.service("shop").desired, world.places("shop")), (Some(0), vec![]));
    world.take_sent();
    world
}

#[test]
fn a_service_without_requests_is_scaled_to_zero_after_its_delay() {
    let mut world = in_use();
    pass(&mut world, AFTER - seconds(1), 10, 0);
    assert_eq!(world.service("shop").desired, Some(2));
    pass(&mut world, seconds(3), 10, 0);
    assert_eq!((world.service("shop").desired, world.places("shop")), (Some(0), vec![]));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.policy, Policy::ToZero);
    assert!(decision.summary.contains("the service has had no requests since"), "{}", decision.summary);
}

#[test]
fn each_request_restarts_the_delay() {
    let mut world = in_use();
    for requests in 1..=10 {
        pass(&mut world, AFTER - seconds(2), requests, 0);
    }
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn a_service_with_an_open_request_is_not_scaled_to_zero() {
    let mut world = in_use();
    pass(&mut world, AFTER * 3, 10, 1);
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn a_missing_report_of_the_proxy_does_not_scale_to_zero() {
    let mut world = in_use();
    report_demand(&mut world, 10, 0, 0);
    world.run_for(AFTER * 3);
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn the_first_request_scales_out_at_once() {
    let mut world = at_zero();
    report_demand(&mut world, 11, 1, 0);
    assert_eq!(world.take_sent(), ["start shop-0/2 serving", "start shop-1/2 serving"]);
    let is_awaited = |reason: &Reason| matches!(reason, Reason::RequestsWaiting { waiting: 1 });
    assert!(world.has_event(EventKind::Scaled, is_awaited));
    pass(&mut world, AFTER - seconds(1), 11, 0);
    assert_eq!(world.places("shop"), [0, 1], "the delay begins again");
}

#[test]
fn a_service_at_zero_remembers_that_its_last_replica_could_not_start() {
    let mut declared = with_scale_to_zero(fixed("shop", 1, 2), 2);
    // Shorter than the wait after a start that failed.
    declared.spec.scale.to_zero = Some(ToZero { after: Span::from_secs(20), wait: Span::from_secs(20) });
    let idle = seconds(22);
    let mut world = World::with([declared]);
    pass(&mut world, idle, 10, 0);
    assert_eq!(world.service("shop").desired, Some(0));
    assert_eq!(world.service("shop").failure_at_zero(), None, "it served until it was scaled to zero");

    report_demand(&mut world, 11, 1, 0);
    for _ in 0..2 {
        world.end_action("start", failed(FailureKind::Declaration));
    }
    assert_eq!(world.service("shop").failure_at_zero(), None, "it is not at zero");
    pass(&mut world, idle, 11, 0);
    assert_eq!((world.service("shop").desired, world.places("shop")), (Some(0), vec![]));
    assert!(matches!(world.service("shop").failure_at_zero(), Some(Reason::ActionFailed(_))));

    report_demand(&mut world, 12, 1, 0);
    pass(&mut world, idle, 12, 0);
    assert_eq!(world.service("shop").desired, Some(0));
    assert_eq!(world.service("shop").failure_at_zero(), None, "it served until it was scaled to zero");
}

#[test]
fn a_request_that_is_no_longer_waiting_scales_out_as_well() {
    let mut world = at_zero();
    report_demand(&mut world, 11, 0, 0);
    world.run_for(seconds(1));
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn a_service_stays_at_zero_after_a_restart_of_the_loop() {
    let mut world = at_zero();
    let memory = world.service("shop").memory();
    world.start_run();
    world.declare(with_scale_to_zero(fixed("shop", 1, 2), 2));
    world.restore(memory);
    world.report_inventory([]);
    // The counters of a proxy that was restarted together with the loop.
    pass(&mut world, seconds(5), 0, 0);
    assert_eq!((world.service("shop").desired, world.places("shop")), (Some(0), vec![]));
    report_demand(&mut world, 1, 1, 0);
    world.run_for(seconds(1));
    assert_eq!(world.places("shop"), [0, 1]);
}

#[test]
fn a_hold_at_zero_is_not_ended_by_a_request_and_the_service_stays_at_zero() {
    let mut world = at_zero();
    world.hold("shop", 0, Some(seconds(10)));
    report_demand(&mut world, 11, 5, 0);
    world.run_for(seconds(5));
    assert_eq!(world.service("shop").desired, Some(0));
    pass(&mut world, seconds(90), 11, 0);
    assert_eq!(world.service("shop").desired, Some(0), "the hold is over, and there are no requests");
    report_demand(&mut world, 12, 1, 0);
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn an_autoscaler_begins_at_its_first_size() {
    let shop = with_scale_to_zero(autoscaled("shop", 3, 9), 1);
    let mut world = World::with([shop]);
    pass(&mut world, AFTER + seconds(2), 10, 0);
    assert_eq!(world.service("shop").desired, Some(0));
    report_demand(&mut world, 11, 1, 0);
    assert_eq!(world.service("shop").desired, Some(3));
}

#[test]
fn dependents_do_not_wait_for_a_service_at_zero() {
    let mut world = at_zero();
    let mut web = fixed("web", 1, 1);
    web.spec.depends_on = vec![Dependency { service: name("shop"), when: DependencyStage::Ready }];
    world.declare(web);
    assert_eq!(world.take_sent(), ["start web-0/1 serving"]);
}
