//! A service is not scaled in while something is wrong, while a fall of load is not believed, or once the number has turned around too often.

use std::time::Duration;

use model::input::Declared;
use model::resource::{
    Behavior, Flaps, Percent, PolicyChange, ScalingPolicy, ScalingRules, SelectPolicy, Span,
};

use crate::bench::fixed;
use crate::sizing::{shop, work};
use crate::world::{UNREADY, World, seconds};

/// Scales in at once when nothing holds it.
pub(crate) fn eager(min: u32, max: u32) -> Declared {
    let rules = ScalingRules {
        stabilization: Duration::ZERO,
        select: SelectPolicy::Max,
        policies: vec![ScalingPolicy {
            change: PolicyChange::Percent(Percent(100)),
            period: Duration::from_secs(1),
        }],
        tolerance: None,
    };
    let mut declared = shop(min, max);
    declared.autoscaler.as_mut().unwrap().behavior =
        Some(Behavior { scale_up: rules.clone(), scale_down: rules });
    declared
}

pub(crate) fn desired(world: &World) -> Option<u32> {
    world.service("shop").desired
}

pub(crate) fn says(world: &World) -> (&'static str, String) {
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    (decision.limits.last().map_or("", |limit| limit.name), decision.summary.to_string())
}

/// Four replicas at half of their target, so that two would suffice.
fn half_idle(mut declared: Declared) -> (World, Duration) {
    declared.spec.scale.mode = model::resource::ScaleMode::Off;
    let mut world = World::with([fixed("db", 1, 1), declared.clone()]);
    world.holds("shop", 4, None);
    world.lives_for(seconds(3));
    world.releases("shop");
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 4, 240, 10);
    assert_eq!(desired(&world), Some(4));
    declared.spec.scale.mode = model::resource::ScaleMode::On;
    declared.revision = model::identity::Generation(2);
    (world, spent)
}

fn turned_on(mut declared: Declared) -> Declared {
    declared.revision = model::identity::Generation(2);
    declared
}

#[test]
fn without_any_doubt_it_scales_in_at_once() {
    let (mut world, mut spent) = half_idle(eager(2, 10));
    world.declares(turned_on(eager(2, 10)));
    work(&mut world, &mut spent, 4, 240, 6);
    assert_eq!(desired(&world), Some(2));
}

#[test]
fn nothing_is_taken_away_while_a_replica_is_lost_and_not_back() {
    let (mut world, mut spent) = half_idle(eager(1, 10));
    for _ in 0..3 {
        world.kills("shop-3");
        world.applies();
    }
    world.declares(turned_on(eager(1, 10)));
    for _ in 0..6 {
        spent += Duration::from_millis(120);
        world.uses([("shop-0", spent), ("shop-1", spent), ("shop-2", spent)]);
        world.passes(Duration::from_millis(500));
    }
    assert_eq!(desired(&world), Some(4));
    let (name, summary) = says(&world);
    assert_eq!(name, "HeldByIncident");
    assert!(summary.starts_with("stays at 4: no replica is removed while replica 3 "), "{summary}");
}

#[test]
fn nothing_is_taken_away_while_what_it_depends_on_is_not_ready() {
    use model::resource::{Dependency, DependencyStage};
    let (mut world, mut spent) = half_idle(eager(2, 10));
    let mut declared = turned_on(eager(2, 10));
    let on_db = Dependency { service: crate::bench::name("db"), when: DependencyStage::Ready };
    declared.spec.depends_on = vec![on_db];
    world.sees("db-0", UNREADY);
    world.declares(declared);
    work(&mut world, &mut spent, 4, 240, 6);
    assert_eq!(desired(&world), Some(4));
    assert!(says(&world).1.ends_with("its dependency, service db, is not ready"), "{}", says(&world).1);
    world.sees("db-0", crate::bench::READY);
    work(&mut world, &mut spent, 4, 240, 4);
    assert_eq!(desired(&world), Some(2));
}

#[test]
fn a_fall_to_nothing_from_one_look_to_the_next_is_believed_once_it_lasts() {
    let mut world = World::with([eager(1, 10)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 1, 1900, 8);
    let mut grown = 1;
    for _ in 0..3 {
        grown = desired(&world).unwrap();
        world.obeys();
        work(&mut world, &mut spent, grown, 500, 12);
    }
    assert!(grown >= 4 && desired(&world) == Some(grown), "{grown}");
    work(&mut world, &mut spent, grown, 0, 20);
    assert_eq!(desired(&world), Some(grown), "ten seconds later");
    assert_eq!(says(&world).0, "HeldBySuddenFall");
    work(&mut world, &mut spent, grown, 0, 50);
    assert_eq!(desired(&world), Some(1));
}

#[test]
fn once_the_budget_is_used_up_it_goes_up_and_not_down() {
    let mut declared = eager(1, 10);
    declared.spec.scale.flaps = Some(Flaps { most: 2, per: Span::from_secs(300) });
    let mut world = World::with([declared]);
    let mut spent = Duration::ZERO;
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let running = desired(&world).unwrap();
        work(&mut world, &mut spent, running, 950, 12);
        world.obeys();
        let running = desired(&world).unwrap();
        sizes.push(running);
        work(&mut world, &mut spent, running, 150, 24);
        sizes.push(desired(&world).unwrap());
    }
    // The first way up is no turn, down is the first, up the second; then it does not go down any more.
    assert!(sizes[1] < sizes[0] && sizes[2] > sizes[1], "{sizes:?}");
    assert!(sizes[2..].windows(2).all(|pair| pair[0] <= pair[1]), "{sizes:?}");
    let (name, summary) = says(&world);
    assert_eq!(name, "HeldByFlaps", "{summary}");
    assert!(summary.contains("changed direction 2 times within 5m"), "{summary}");
    let memory = world.service("shop").memory();
    assert_eq!(memory.scaling.flaps.turns.len(), 2);
}
