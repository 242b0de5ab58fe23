//! A fall of load is not believed while requests fail.

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

/// Half a second after which four idle replicas have answered and failed these many requests in all.
fn answers(world: &mut World, spent: &mut Duration, requests: u64, errors: u64) {
    *spent += ms(1);
    let names: Vec<_> = (0..4).map(|place| format!("shop-{place}")).collect();
    world.uses(names.iter().map(|name| (name.as_str(), *spent)));
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
    world.lives_for(ms(500));
}

fn four_replicas() -> World {
    let mut world = World::with([shop()]);
    world.holds("shop", 4, None);
    world.lives_for(seconds(5));
    world.releases("shop");
    world
}

#[test]
fn idle_replicas_that_fail_requests_are_kept() {
    let mut world = four_replicas();
    let mut spent = Duration::ZERO;
    for i in 1..=1400 {
        answers(&mut world, &mut spent, 10 * i, 5 * i);
    }
    assert_eq!(world.service("shop").desired, Some(4));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.limits.last().map(|limit| limit.name), Some("HeldByErrors"));
    assert_eq!((decision.desired, decision.previous), (4, 4));
}

#[test]
fn idle_replicas_that_answer_well_go_in_the_end() {
    let mut world = four_replicas();
    let mut spent = Duration::ZERO;
    for i in 1..=1400 {
        answers(&mut world, &mut spent, 10 * i, 0);
    }
    assert_eq!(world.service("shop").desired, Some(2));
}
