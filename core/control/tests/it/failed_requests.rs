//! A service is not scaled in while requests fail.

use std::time::Duration;

use model::identity::Incarnation;
use model::input::{Declared, Input, Report, Traffic};
use model::resource::Quantity;

use crate::bench::{autoscaled, name};
use crate::world::{World, ms, ordinal, seconds};

fn shop() -> Declared {
    let mut declared = autoscaled("shop", 2, 10);
    declared.spec.resources.cpu = Some(Quantity::parse("1").unwrap());
    declared
}

/// Half a second, after which four idle replicas have had so many requests and errors in all.
fn serve(world: &mut World, spent: &mut Duration, requests: u64, errors: u64) {
    *spent += ms(1);
    let names: Vec<_> = (0..4).map(|place| format!("shop-{place}")).collect();
    world.report_usage(names.iter().map(|name| (name.as_str(), *spent)));
    let served = (0..4).map(|place| Traffic {
        service: name("shop"),
        ordinal: ordinal(place),
        incarnation: Incarnation(1),
        requests,
        errors,
        in_flight: 0,
        latency_p99: Duration::ZERO,
    });
    world.put(&Input::Report(Report::Traffic(served.collect())));
    world.run_for(ms(500));
}

fn four_replicas() -> World {
    let mut world = World::with([shop()]);
    world.hold("shop", 4, None);
    world.run_for(seconds(5));
    world.release("shop");
    world
}

#[test]
fn idle_replicas_that_fail_requests_are_kept() {
    let mut world = four_replicas();
    let mut spent = Duration::ZERO;
    for i in 1..=1400 {
        serve(&mut world, &mut spent, 10 * i, 5 * i);
    }
    assert_eq!(world.service("shop").desired, Some(4));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.limits.last().map(|limit| limit.name), Some("HeldByErrors"));
    assert_eq!((decision.desired, decision.previous), (4, 4));
}

#[test]
fn idle_replicas_without_errors_are_removed_after_the_window() {
    let mut world = four_replicas();
    let mut spent = Duration::ZERO;
    for i in 1..=1400 {
        serve(&mut world, &mut spent, 10 * i, 0);
    }
    assert_eq!(world.service("shop").desired, Some(2));
}
