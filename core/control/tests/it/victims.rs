//! Which replicas are removed when a service scales in: `scale.remove`, and those that a person protects.

use model::event::EventKind;
use model::identity::{Generation, Incarnation, Ordinal};
use model::input::{Declared, Input, Intent, Report};
use model::measure::{
    Labels, Measured, MeasurementResult, MetricKey, MetricSubject, ReplicaMeasurement, Series,
};
use model::quantity::Milli;
use model::reason::Reason;
use model::resource::Remove;

use crate::bench::{fixed, name};
use crate::sizing::{shop, work};
use crate::world::{UNREADY, World, id, observed, seconds};

fn removing(remove: &Remove, replicas: u32) -> Declared {
    let mut declared = fixed("shop", 1, replicas);
    declared.spec.scale.remove = remove.clone();
    declared
}

/// A service whose replicas were started a second apart, in the order of their numbers.
fn grown(remove: &Remove, replicas: u32) -> World {
    let mut world = World::with([removing(remove, 1)]);
    for size in 2..=replicas {
        world.run_for(seconds(1));
        let mut declared = removing(remove, size);
        declared.revision = Generation(u64::from(size));
        world.declare(declared);
        world.run_for(seconds(1));
    }
    world.take_sent();
    world
}

fn shrink(world: &mut World, remove: &Remove, replicas: u32) -> Vec<u32> {
    let mut declared = removing(remove, replicas);
    declared.revision = Generation(100);
    world.declare(declared);
    world.run_for(seconds(30));
    world.places("shop")
}

#[test]
fn by_default_the_highest_number_is_removed() {
    let mut world = grown(&Remove::HighestNumber, 4);
    world.kill("shop-0");
    world.run_for(seconds(10));
    assert_eq!(shrink(&mut world, &Remove::HighestNumber, 2), [0, 1]);
}

#[test]
fn the_oldest_is_removed_and_a_restarted_one_counts_as_new() {
    let mut world = grown(&Remove::Oldest, 4);
    world.kill("shop-0");
    world.run_for(seconds(10));
    assert_eq!(shrink(&mut world, &Remove::Oldest, 2), [0, 3]);
    assert!(
        world.has_event(EventKind::Stopping, |why| why.to_string().ends_with("the oldest are removed first"))
    );
}

#[test]
fn the_newest_is_removed_whatever_its_number() {
    let mut world = grown(&Remove::Newest, 4);
    world.kill("shop-0");
    world.run_for(seconds(10));
    assert_eq!(shrink(&mut world, &Remove::Newest, 2), [1, 2]);
}

#[test]
fn the_ages_of_replicas_survive_a_restart() {
    let mut world = grown(&Remove::Oldest, 3);
    world.kill("shop-0");
    world.run_for(seconds(10));
    let memory = world.service("shop").memory();
    world.start_run();
    world.declare(removing(&Remove::Oldest, 3));
    world.restore(memory);
    let running = [("shop-0", 2), ("shop-1", 1), ("shop-2", 1)];
    world.report_inventory(running.map(|(replica, life)| observed(replica, life, crate::bench::READY)));
    world.run_for(seconds(5));
    assert_eq!(shrink(&mut world, &Remove::Oldest, 1), [0]);
}

#[test]
fn the_least_busy_is_removed_and_one_without_a_report_counts_as_busy() {
    let mut world = grown(&Remove::LeastBusy, 4);
    for beat in 1..=4_u64 {
        world.report_traffic("shop-0", beat * 10, 0);
        world.report_traffic("shop-1", beat * 50, 2);
        world.report_traffic("shop-2", beat * 100, 0);
        // Nothing is reported of shop-3.
        world.run_for(model::time::Time::from_millis(250).since(model::time::Time::ZERO));
    }
    world.take_sent();
    let mut declared = removing(&Remove::LeastBusy, 2);
    declared.revision = Generation(100);
    world.declare(declared);
    assert_eq!(world.take_sent(), ["admit shop-0/1 draining", "admit shop-2/1 draining"]);
}

/// Reports the metric of each replica in its first life, by its number.
fn report_sessions(world: &mut World, costs: &[(u32, Result<i64, &str>)]) {
    let series = |value: i64| vec![Series { labels: Labels::new(), value: Milli(value * 1000) }];
    let result = costs.iter().map(|(ordinal, cost)| ReplicaMeasurement {
        ordinal: Ordinal(*ordinal),
        incarnation: Incarnation(1),
        result: cost.map(series).map_err(Into::into),
    });
    let key = MetricKey { metric: "sessions".into(), subject: MetricSubject::Replicas(name("shop")) };
    let (source, stale_after, result) =
        (name("sessions"), seconds(10), MeasurementResult::Replicas(result.collect()));
    world.put(&Input::Report(Report::Measured(vec![Measured { source, key, stale_after, result }])));
}

fn by_sessions() -> Remove {
    Remove::Cheapest("sessions".into())
}

#[test]
fn the_cheapest_is_removed_and_one_without_a_metric_counts_as_the_most_expensive() {
    let mut world = grown(&by_sessions(), 5);
    report_sessions(&mut world, &[(0, Ok(7)), (1, Ok(-3)), (2, Ok(900)), (4, Err("it is down"))]);
    assert_eq!(shrink(&mut world, &by_sessions(), 2), [3, 4]);
    assert!(world.has_event(EventKind::Stopping, |why| {
        why.to_string().ends_with("those with the least sessions are removed first")
    }));
}

/// Like [`shrink`], where replicas with sessions must stay.
fn shrink_to_idle_ones(world: &mut World, replicas: u32) -> Vec<u32> {
    let mut declared = removing(&Remove::HighestNumber, replicas);
    declared.revision = Generation(100 + u64::from(replicas));
    declared.spec.scale.protect = Some("sessions".into());
    world.declare(declared);
    world.run_for(seconds(8));
    world.places("shop")
}

#[test]
fn a_replica_that_reports_to_be_needed_stays_and_so_does_one_without_a_report() {
    let mut world = grown(&Remove::HighestNumber, 5);
    report_sessions(&mut world, &[(0, Ok(0)), (1, Ok(0)), (2, Ok(-1)), (3, Ok(1)), (4, Err("it is down"))]);
    assert_eq!(shrink_to_idle_ones(&mut world, 1), [3, 4], "either of these two may be needed");
    let waits = world.waits("shop");
    let needed = |is_known| Reason::MustStay { metric: "sessions".into(), is_known };
    assert_eq!(
        waits,
        [needed(false)],
        "there is one replica too many, and the one that would be removed has the reason"
    );
    // Another replica must stay now.
    report_sessions(&mut world, &[(3, Ok(0)), (4, Ok(1))]);
    world.run_for(seconds(8));
    assert_eq!(world.places("shop"), [4]);
}

#[test]
fn a_rollout_continues_where_more_must_stay_than_are_wanted() {
    let mut world = grown(&Remove::HighestNumber, 3);
    report_sessions(&mut world, &[(0, Ok(1)), (1, Ok(1)), (2, Ok(1))]);
    assert_eq!(shrink_to_idle_ones(&mut world, 1), [0, 1, 2]);
    let mut declared = removing(&Remove::HighestNumber, 1);
    (declared.revision, declared.generation) = (Generation(200), Generation(200));
    declared.spec.scale.protect = Some("sessions".into());
    world.declare(declared);
    world.run_for(seconds(120));
    let generations: Vec<u64> =
        world.service("shop").places.values().map(|place| place.generation.0).collect();
    assert_eq!(generations, [200]);
}

#[test]
fn a_replica_that_does_not_serve_is_removed_without_a_report() {
    let mut world = grown(&Remove::HighestNumber, 3);
    world.report_state("shop-0", UNREADY);
    report_sessions(&mut world, &[(1, Ok(0)), (2, Ok(1))]);
    assert_eq!(shrink_to_idle_ones(&mut world, 2), [1, 2]);
}

#[test]
fn a_stale_value_or_one_of_another_metric_is_not_a_cost() {
    let mut world = grown(&by_sessions(), 3);
    report_sessions(&mut world, &[(0, Ok(1)), (1, Ok(2)), (2, Ok(3))]);
    world.run_for(seconds(11));
    assert_eq!(shrink(&mut world, &by_sessions(), 2), [0, 1], "as without any report");
    report_sessions(&mut world, &[(0, Ok(1)), (1, Ok(2))]);
    assert_eq!(shrink(&mut world, &Remove::Cheapest("other".into()), 1), [0]);
}

#[test]
fn the_metric_of_an_ended_life_does_not_count_for_the_next() {
    let mut world = grown(&by_sessions(), 3);
    world.kill("shop-0");
    world.run_for(seconds(10));
    // The second life of shop-0 has reported nothing yet.
    report_sessions(&mut world, &[(0, Ok(0)), (1, Ok(5)), (2, Ok(9))]);
    assert_eq!(shrink(&mut world, &by_sessions(), 1), [0]);
}

/// Every order of removal.
fn every() -> [Remove; 5] {
    [Remove::HighestNumber, Remove::LeastBusy, Remove::Oldest, Remove::Newest, by_sessions()]
}

#[test]
fn replicas_that_do_not_serve_are_removed_before_serving_ones_in_every_order() {
    for remove in &every() {
        let mut world = grown(remove, 4);
        world.report_state("shop-1", UNREADY);
        world.take_sent();
        assert_eq!(shrink(&mut world, remove, 3), [0, 2, 3], "{remove:?}");
    }
}

#[test]
fn a_starting_replica_is_removed_before_a_serving_one() {
    let mut world = World::with([removing(&Remove::HighestNumber, 2)]);
    let mut declared = removing(&Remove::HighestNumber, 3);
    declared.revision = Generation(2);
    world.declare(declared);
    let mut declared = removing(&Remove::HighestNumber, 2);
    declared.revision = Generation(3);
    world.take_sent();
    world.declare(declared);
    assert!(
        world.take_sent().is_empty(),
        "a starting replica cannot be stopped yet, and no serving one is removed instead"
    );
    world.run_for(seconds(10));
    assert_eq!(world.places("shop"), [0, 1]);
}

fn protect(world: &mut World, replica: &str, span: u64) {
    let until = world.now + seconds(span);
    let (replica, incarnation) = (id(replica), Incarnation(world.life(replica)));
    world.put(&Input::Intent(Intent::Protect { replica, incarnation, until }));
}

#[test]
fn a_protected_replica_stays_until_its_protection_ends() {
    let mut world = grown(&Remove::HighestNumber, 4);
    protect(&mut world, "shop-3", 100);
    assert_eq!(shrink(&mut world, &Remove::HighestNumber, 2), [0, 3]);
    assert_eq!(world.count_events(EventKind::Protected), 1);
    protect(&mut world, "shop-0", 60);
    assert_eq!(shrink(&mut world, &Remove::HighestNumber, 1), [0, 3]);
    let waits = world.waits("shop");
    assert!(matches!(waits[..], [Reason::Protected { .. }]), "with its reason: {waits:?}");
    world.run_for(seconds(60));
    assert_eq!(world.places("shop"), [3], "the first protection is over");
}

#[test]
fn a_protection_can_be_removed() {
    let mut world = grown(&Remove::HighestNumber, 3);
    protect(&mut world, "shop-2", 3600);
    assert_eq!(shrink(&mut world, &Remove::HighestNumber, 0), [2]);
    world.put(&Input::Intent(Intent::Unprotect(id("shop-2"))));
    world.run_for(seconds(20));
    assert!(world.places("shop").is_empty());
}

#[test]
fn a_protection_is_of_one_life_and_does_not_prevent_healing() {
    let mut world = grown(&Remove::HighestNumber, 3);
    protect(&mut world, "shop-2", 3600);
    world.kill("shop-2");
    world.run_for(seconds(10));
    assert_eq!(world.life("shop-2"), 2, "it is restarted");
    assert_eq!(shrink(&mut world, &Remove::HighestNumber, 1), [0], "and the protected life has ended");
}

#[test]
fn a_rollout_replaces_a_protected_replica() {
    let mut world = grown(&Remove::HighestNumber, 2);
    protect(&mut world, "shop-1", 3600);
    let mut declared = removing(&Remove::HighestNumber, 2);
    (declared.revision, declared.generation) = (Generation(100), Generation(100));
    world.declare(declared);
    world.run_for(seconds(60));
    let generations = world.service("shop").places.values().map(|place| place.generation.0);
    assert!(generations.into_iter().all(|generation| generation == 100));
}

#[test]
fn an_autoscaler_keeps_as_many_as_are_protected_with_a_note() {
    let mut world = World::with([shop(1, 10)]);
    world.hold("shop", 4, None);
    world.run_for(seconds(5));
    for replica in ["shop-1", "shop-2", "shop-3"] {
        protect(&mut world, replica, 7200);
    }
    world.release("shop");
    let mut spent = std::time::Duration::ZERO;
    work(&mut world, &mut spent, 4, 10, 1400);
    assert_eq!(world.service("shop").desired, Some(3));
    assert_eq!(world.places("shop"), [1, 2, 3]);
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.limits.last().map(|limit| (limit.name, limit.to)), Some(("Protected", 3)));
    assert!(
        decision.summary.contains("3 replicas are protected from removal until "),
        "{}",
        decision.summary
    );
}
