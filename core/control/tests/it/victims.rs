//! Which replicas go when a service shrinks: `scale.remove`, and those that a person protects.

use model::event::EventKind;
use model::identity::{Generation, Incarnation, Ordinal};
use model::input::{Declared, Input, Intent, Report};
use model::measure::{Labels, Measured, MetricKey, ReplicaSaid, Said, Series, Whose};
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

/// Replicas that were started a second apart, in the order of their numbers.
fn grown(remove: &Remove, replicas: u32) -> World {
    let mut world = World::with([removing(remove, 1)]);
    for size in 2..=replicas {
        world.lives_for(seconds(1));
        let mut declared = removing(remove, size);
        declared.revision = Generation(u64::from(size));
        world.declares(declared);
        world.lives_for(seconds(1));
    }
    world.take_sent();
    world
}

fn shrinks(world: &mut World, remove: &Remove, replicas: u32) -> Vec<u32> {
    let mut declared = removing(remove, replicas);
    declared.revision = Generation(100);
    world.declares(declared);
    world.lives_for(seconds(30));
    world.places("shop")
}

#[test]
fn by_default_the_highest_number_goes() {
    let mut world = grown(&Remove::HighestNumber, 4);
    world.kills("shop-0");
    world.lives_for(seconds(10));
    assert_eq!(shrinks(&mut world, &Remove::HighestNumber, 2), [0, 1]);
}

#[test]
fn the_oldest_goes_and_one_that_was_started_anew_is_none() {
    let mut world = grown(&Remove::Oldest, 4);
    world.kills("shop-0");
    world.lives_for(seconds(10));
    assert_eq!(shrinks(&mut world, &Remove::Oldest, 2), [0, 3]);
    assert!(
        world.heard_because(EventKind::Stopping, |why| why
            .to_string()
            .ends_with("the oldest are removed first"))
    );
}

#[test]
fn the_newest_goes_whatever_its_number() {
    let mut world = grown(&Remove::Newest, 4);
    world.kills("shop-0");
    world.lives_for(seconds(10));
    assert_eq!(shrinks(&mut world, &Remove::Newest, 2), [1, 2]);
}

#[test]
fn who_is_oldest_is_known_after_a_restart() {
    let mut world = grown(&Remove::Oldest, 3);
    world.kills("shop-0");
    world.lives_for(seconds(10));
    let memory = world.service("shop").memory();
    world.begins();
    world.declares(removing(&Remove::Oldest, 3));
    world.remembers(memory);
    let running = [("shop-0", 2), ("shop-1", 1), ("shop-2", 1)];
    world.finds(running.map(|(replica, life)| observed(replica, life, crate::bench::READY)));
    world.lives_for(seconds(5));
    assert_eq!(shrinks(&mut world, &Remove::Oldest, 1), [0]);
}

#[test]
fn the_least_busy_goes_and_one_that_is_silent_counts_as_busy() {
    let mut world = grown(&Remove::LeastBusy, 4);
    for beat in 1..=4_u64 {
        world.serves("shop-0", beat * 10, 0);
        world.serves("shop-1", beat * 50, 2);
        world.serves("shop-2", beat * 100, 0);
        // Nothing is reported of shop-3.
        world.lives_for(model::time::Time::from_millis(250).since(model::time::Time::ZERO));
    }
    world.take_sent();
    let mut declared = removing(&Remove::LeastBusy, 2);
    declared.revision = Generation(100);
    world.declares(declared);
    assert_eq!(world.take_sent(), ["admit shop-0/1 draining", "admit shop-2/1 draining"]);
}

/// The value of `metric` for each replica of shop in its first life, by its number.
fn says(world: &mut World, costs: &[(u32, Result<i64, &str>)]) {
    let series = |value: i64| vec![Series { labels: Labels::new(), value: Milli(value * 1000) }];
    let said = costs.iter().map(|(ordinal, cost)| ReplicaSaid {
        ordinal: Ordinal(*ordinal),
        incarnation: Incarnation(1),
        said: cost.map(series).map_err(Into::into),
    });
    let key = MetricKey { metric: "sessions".into(), whose: Whose::Replicas(name("shop")) };
    let (source, stale_after, said) = (name("sessions"), seconds(10), Said::Replicas(said.collect()));
    world.put(&Input::Report(Report::Measured(vec![Measured { source, key, stale_after, said }])));
}

fn by_sessions() -> Remove {
    Remove::Cheapest("sessions".into())
}

#[test]
fn the_cheapest_goes_and_one_that_says_nothing_is_the_dearest() {
    let mut world = grown(&by_sessions(), 5);
    says(&mut world, &[(0, Ok(7)), (1, Ok(-3)), (2, Ok(900)), (4, Err("it is down"))]);
    assert_eq!(shrinks(&mut world, &by_sessions(), 2), [3, 4]);
    assert!(world.heard_because(EventKind::Stopping, |why| {
        why.to_string().ends_with("those with the least sessions are removed first")
    }));
}

/// Like [`shrinks`], where replicas with sessions must stay.
fn shrinks_to_idle_ones(world: &mut World, replicas: u32) -> Vec<u32> {
    let mut declared = removing(&Remove::HighestNumber, replicas);
    declared.revision = Generation(100 + u64::from(replicas));
    declared.spec.scale.protect = Some("sessions".into());
    world.declares(declared);
    world.lives_for(seconds(8));
    world.places("shop")
}

#[test]
fn who_says_that_it_must_stay_stays_and_so_does_one_of_which_that_is_not_known() {
    let mut world = grown(&Remove::HighestNumber, 5);
    says(&mut world, &[(0, Ok(0)), (1, Ok(0)), (2, Ok(-1)), (3, Ok(1)), (4, Err("it is down"))]);
    assert_eq!(
        shrinks_to_idle_ones(&mut world, 1),
        [3, 4],
        "of these two the one or the other may be needed"
    );
    let waits = world.waits("shop");
    let needed = |is_known| Reason::Needed { metric: "sessions".into(), is_known };
    assert_eq!(waits, [needed(false)], "one is too many, and the one that would go says why it does not");
    // The leader is another one now.
    says(&mut world, &[(3, Ok(0)), (4, Ok(1))]);
    world.lives_for(seconds(8));
    assert_eq!(world.places("shop"), [4]);
}

#[test]
fn a_rollout_goes_on_where_more_must_stay_than_are_wanted() {
    let mut world = grown(&Remove::HighestNumber, 3);
    says(&mut world, &[(0, Ok(1)), (1, Ok(1)), (2, Ok(1))]);
    assert_eq!(shrinks_to_idle_ones(&mut world, 1), [0, 1, 2]);
    let mut declared = removing(&Remove::HighestNumber, 1);
    (declared.revision, declared.generation) = (Generation(200), Generation(200));
    declared.spec.scale.protect = Some("sessions".into());
    world.declares(declared);
    world.lives_for(seconds(120));
    let generations: Vec<u64> =
        world.service("shop").places.values().map(|place| place.generation.0).collect();
    assert_eq!(generations, [200]);
}

#[test]
fn one_that_does_not_serve_goes_though_it_says_nothing() {
    let mut world = grown(&Remove::HighestNumber, 3);
    world.sees("shop-0", UNREADY);
    says(&mut world, &[(1, Ok(0)), (2, Ok(1))]);
    assert_eq!(shrinks_to_idle_ones(&mut world, 2), [1, 2]);
}

#[test]
fn what_was_said_too_long_ago_or_of_another_metric_is_no_cost() {
    let mut world = grown(&by_sessions(), 3);
    says(&mut world, &[(0, Ok(1)), (1, Ok(2)), (2, Ok(3))]);
    world.lives_for(seconds(11));
    assert_eq!(shrinks(&mut world, &by_sessions(), 2), [0, 1], "as if nobody had said anything");
    says(&mut world, &[(0, Ok(1)), (1, Ok(2))]);
    assert_eq!(shrinks(&mut world, &Remove::Cheapest("other".into()), 1), [0]);
}

#[test]
fn a_life_that_is_over_says_nothing_for_the_next() {
    let mut world = grown(&by_sessions(), 3);
    world.kills("shop-0");
    world.lives_for(seconds(10));
    // The second life of shop-0 has reported nothing yet.
    says(&mut world, &[(0, Ok(0)), (1, Ok(5)), (2, Ok(9))]);
    assert_eq!(shrinks(&mut world, &by_sessions(), 1), [0]);
}

/// Each way of choosing.
fn every() -> [Remove; 5] {
    [Remove::HighestNumber, Remove::LeastBusy, Remove::Oldest, Remove::Newest, by_sessions()]
}

#[test]
fn what_does_not_serve_goes_before_what_serves_in_every_order() {
    for remove in &every() {
        let mut world = grown(remove, 4);
        world.sees("shop-1", UNREADY);
        world.take_sent();
        assert_eq!(shrinks(&mut world, remove, 3), [0, 2, 3], "{remove:?}");
    }
}

#[test]
fn one_that_is_starting_goes_before_one_that_serves() {
    let mut world = World::with([removing(&Remove::HighestNumber, 2)]);
    let mut declared = removing(&Remove::HighestNumber, 3);
    declared.revision = Generation(2);
    world.declares(declared);
    let mut declared = removing(&Remove::HighestNumber, 2);
    declared.revision = Generation(3);
    world.take_sent();
    world.declares(declared);
    assert!(
        world.take_sent().is_empty(),
        "nothing can be said of a start on its way, and nobody goes in its stead"
    );
    world.lives_for(seconds(10));
    assert_eq!(world.places("shop"), [0, 1]);
}

fn protects(world: &mut World, replica: &str, span: u64) {
    let until = world.now + seconds(span);
    let (replica, incarnation) = (id(replica), Incarnation(world.life(replica)));
    world.put(&Input::Intent(Intent::Protect { replica, incarnation, until }));
}

#[test]
fn a_protected_replica_stays_until_its_protection_ends() {
    let mut world = grown(&Remove::HighestNumber, 4);
    protects(&mut world, "shop-3", 100);
    assert_eq!(shrinks(&mut world, &Remove::HighestNumber, 2), [0, 3]);
    assert_eq!(world.heard(EventKind::Protected), 1);
    protects(&mut world, "shop-0", 60);
    assert_eq!(shrinks(&mut world, &Remove::HighestNumber, 1), [0, 3]);
    let waits = world.waits("shop");
    assert!(matches!(waits[..], [Reason::Protected { .. }]), "and says why: {waits:?}");
    world.lives_for(seconds(60));
    assert_eq!(world.places("shop"), [3], "the first protection is over");
}

#[test]
fn a_protection_is_taken_back() {
    let mut world = grown(&Remove::HighestNumber, 3);
    protects(&mut world, "shop-2", 3600);
    assert_eq!(shrinks(&mut world, &Remove::HighestNumber, 0), [2]);
    world.put(&Input::Intent(Intent::Unprotect(id("shop-2"))));
    world.lives_for(seconds(20));
    assert!(world.places("shop").is_empty());
}

#[test]
fn a_protection_is_of_one_life_and_does_not_hinder_healing() {
    let mut world = grown(&Remove::HighestNumber, 3);
    protects(&mut world, "shop-2", 3600);
    world.kills("shop-2");
    world.lives_for(seconds(10));
    assert_eq!(world.life("shop-2"), 2, "it is healed");
    assert_eq!(shrinks(&mut world, &Remove::HighestNumber, 1), [0], "and what was protected is over");
}

#[test]
fn a_rollout_replaces_a_protected_replica() {
    let mut world = grown(&Remove::HighestNumber, 2);
    protects(&mut world, "shop-1", 3600);
    let mut declared = removing(&Remove::HighestNumber, 2);
    (declared.revision, declared.generation) = (Generation(100), Generation(100));
    world.declares(declared);
    world.lives_for(seconds(60));
    let generations = world.service("shop").places.values().map(|place| place.generation.0);
    assert!(generations.into_iter().all(|generation| generation == 100));
}

#[test]
fn an_autoscaler_keeps_as_many_as_are_protected_and_says_so() {
    let mut world = World::with([shop(1, 10)]);
    world.holds("shop", 4, None);
    world.lives_for(seconds(5));
    for replica in ["shop-1", "shop-2", "shop-3"] {
        protects(&mut world, replica, 7200);
    }
    world.releases("shop");
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
