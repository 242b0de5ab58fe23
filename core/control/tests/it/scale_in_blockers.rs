//! A service is not scaled in during an incident, after a sudden fall of the load, or once the number has changed direction too often.

use std::time::Duration;

use model::input::Declared;
use model::resource::{
    Behavior, Flaps, Percent, PolicyChange, ScalingPolicy, ScalingRules, SelectPolicy, Span,
};

use crate::bench::fixed;
use crate::sizing::{shop, work};
use crate::world::{UNREADY, World, seconds};

/// A service that scales in at once when nothing blocks it.
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

pub(crate) fn last_limit(world: &World) -> (&'static str, String) {
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    (decision.limits.last().map_or("", |limit| limit.name), decision.summary.to_string())
}

/// Four replicas at half of their target, so that two would be enough.
fn half_idle(mut declared: Declared) -> (World, Duration) {
    declared.spec.scale.mode = model::resource::ScaleMode::Off;
    let mut world = World::with([fixed("db", 1, 1), declared.clone()]);
    world.hold("shop", 4, None);
    world.run_for(seconds(3));
    world.release("shop");
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
fn without_a_blocker_it_scales_in_at_once() {
    let (mut world, mut spent) = half_idle(eager(2, 10));
    world.declare(turned_on(eager(2, 10)));
    work(&mut world, &mut spent, 4, 240, 6);
    assert_eq!(desired(&world), Some(2));
}

#[test]
fn no_replica_is_removed_while_one_is_lost() {
    let (mut world, mut spent) = half_idle(eager(1, 10));
    for _ in 0..3 {
        world.kill("shop-3");
        world.carry_out_unready();
    }
    world.declare(turned_on(eager(1, 10)));
    for _ in 0..6 {
        spent += Duration::from_millis(120);
        world.report_usage([("shop-0", spent), ("shop-1", spent), ("shop-2", spent)]);
        world.advance(Duration::from_millis(500));
    }
    assert_eq!(desired(&world), Some(4));
    let (name, summary) = last_limit(&world);
    assert_eq!(name, "HeldByIncident");
    assert!(summary.starts_with("stays at 4: no replica is removed while replica 3 "), "{summary}");
}

#[test]
fn no_replica_is_removed_while_a_dependency_is_not_ready() {
    use model::resource::{Dependency, DependencyStage};
    let (mut world, mut spent) = half_idle(eager(2, 10));
    let mut declared = turned_on(eager(2, 10));
    let on_db = Dependency { service: crate::bench::name("db"), when: DependencyStage::Ready };
    declared.spec.depends_on = vec![on_db];
    world.report_state("db-0", UNREADY);
    world.declare(declared);
    work(&mut world, &mut spent, 4, 240, 6);
    assert_eq!(desired(&world), Some(4));
    assert!(
        last_limit(&world).1.ends_with("its dependency, service db, is not ready"),
        "{}",
        last_limit(&world).1
    );
    world.report_state("db-0", crate::bench::READY);
    work(&mut world, &mut spent, 4, 240, 4);
    assert_eq!(desired(&world), Some(2));
}

#[test]
fn a_sudden_fall_to_zero_is_accepted_once_it_lasts() {
    let mut world = World::with([eager(1, 10)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 1, 1900, 8);
    let mut grown = 1;
    for _ in 0..3 {
        grown = desired(&world).unwrap();
        world.carry_out();
        work(&mut world, &mut spent, grown, 500, 12);
    }
    assert!(grown >= 4 && desired(&world) == Some(grown), "{grown}");
    work(&mut world, &mut spent, grown, 0, 20);
    assert_eq!(desired(&world), Some(grown), "ten seconds later");
    assert_eq!(last_limit(&world).0, "HeldBySuddenFall");
    work(&mut world, &mut spent, grown, 0, 50);
    assert_eq!(desired(&world), Some(1));
}

#[test]
fn once_the_limit_of_flaps_is_reached_it_scales_out_only() {
    let mut declared = eager(1, 10);
    declared.spec.scale.flaps = Some(Flaps { most: 2, per: Span::from_secs(300) });
    let mut world = World::with([declared]);
    let mut spent = Duration::ZERO;
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let running = desired(&world).unwrap();
        work(&mut world, &mut spent, running, 950, 12);
        world.carry_out();
        let running = desired(&world).unwrap();
        sizes.push(running);
        work(&mut world, &mut spent, running, 150, 24);
        sizes.push(desired(&world).unwrap());
    }
    // The first increase is no change of direction; the decrease is the first, the next increase the second. Then it does not decrease again.
    assert!(sizes[1] < sizes[0] && sizes[2] > sizes[1], "{sizes:?}");
    assert!(sizes[2..].windows(2).all(|pair| pair[0] <= pair[1]), "{sizes:?}");
    let (name, summary) = last_limit(&world);
    assert_eq!(name, "HeldByFlaps", "{summary}");
    assert!(summary.contains("changed direction 2 times within 5m"), "{summary}");
    let memory = world.service("shop").memory();
    assert_eq!(memory.scaling.flaps.reversals.len(), 2);
}
