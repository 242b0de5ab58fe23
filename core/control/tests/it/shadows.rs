//! Shadows: autoscalers that are tried beside the acting one, with sizes of their own and without effect.

use std::time::Duration;

use model::input::Declared;
use model::memory::{Memory, ShadowMemory};
use model::resource::{Quantity, Shadow};

use crate::bench::{READY, autoscaled};
use crate::world::{World, ms, observed, seconds};

/// A service with a target of half a core for each replica, and these shadows.
fn shop(shadows: &[&str]) -> Declared {
    let mut declared = autoscaled("shop", 2, 10);
    declared.spec.resources.cpu = Some(Quantity::parse("1").unwrap());
    let shadow =
        |text: &&str| -> Shadow { serde_json::from_str(text).expect("a shadow in the code is a shadow") };
    declared.spec.scale.shadows = shadows.iter().map(shadow).collect();
    declared
}

/// Equal to the acting autoscaler.
const SAME: &str = r#"{"name": "same"}"#;

/// A target of a quarter of a core for each replica.
const CAREFUL: &str = r#"{"name": "careful", "metrics": [{"type": "Resource", "resource": {"name": "cpu",
    "target": {"type": "Utilization", "averageUtilization": 25}}}]}"#;

/// For this many half seconds, the replicas together use `load` thousandths of a core.
fn work(world: &mut World, spent: &mut [Duration; 10], load: u64, halves: u32) {
    for _ in 0..halves {
        let places = world.places("shop");
        let share = load / places.len() as u64 / 2;
        for place in &places {
            spent[*place as usize] += ms(share);
        }
        let names: Vec<(String, Duration)> =
            places.iter().map(|place| (format!("shop-{place}"), spent[*place as usize])).collect();
        world.report_usage(names.iter().map(|(name, spent)| (name.as_str(), *spent)));
        world.run_for(ms(500));
    }
}

/// Load that rises, falls, and rises again.
fn day(world: &mut World, mut look: impl FnMut(&World)) {
    let mut spent = [Duration::ZERO; 10];
    for load in [1000, 2000, 2300, 900, 400, 1500] {
        for _ in 0..10 {
            work(world, &mut spent, load, 80);
            look(world);
        }
    }
}

fn shadow<'w>(world: &'w World, name: &str) -> &'w ShadowMemory {
    world.service("shop").shadows.iter().find(|shadow| shadow.name.as_str() == name).expect("it is tried")
}

#[test]
fn a_shadow_equal_to_the_acting_autoscaler_decides_the_same() {
    let mut world = World::with([shop(&[SAME])]);
    let mut sizes = Vec::new();
    day(&mut world, |world| {
        let same = shadow(world, "same");
        sizes.push(same.desired);
        assert_eq!(Some(same.desired), world.service("shop").desired);
        assert_eq!(same.own, same.acting);
        assert_eq!((same.below.ms, same.above.ms), (0, 0));
    });
    sizes.dedup();
    assert!(sizes.len() > 3, "the sizes changed: {sizes:?}");
    assert!(shadow(&world, "same").own.reversals > 0);
}

#[test]
fn a_shadow_has_no_effect_and_follows_its_own_sizes() {
    let mut alone = World::with([shop(&[])]);
    let mut beside = World::with([shop(&[CAREFUL])]);
    day(&mut alone, |_| {});
    let mut wanted = Vec::new();
    day(&mut beside, |world| wanted.push(shadow(world, "careful").desired));
    assert_eq!(alone.take_sent(), beside.take_sent());
    assert_eq!(alone.service("shop").desired, beside.service("shop").desired);
    // 1500 thousandths of a core at 250 each are six replicas, while the acting autoscaler has three at their target.
    assert_eq!((wanted[59], beside.service("shop").desired), (6, Some(3)));
    let careful = shadow(&beside, "careful");
    assert_eq!(careful.below.ms, 0);
    assert!(careful.above.ms > careful.counted_ms / 2, "{careful:?}");
    assert!(careful.own.replica_ms > careful.acting.replica_ms * 3 / 2);
    assert_eq!(careful.own.replica_ms - careful.acting.replica_ms, careful.above.replica_ms);
    assert!((2395..=2405).contains(&(careful.counted_ms / 1000)), "{}", careful.counted_ms);
    let decision = beside.service("shop").decision.as_ref().unwrap().decision();
    let summary = &decision.shadows[0].decision.summary;
    assert!(summary.contains("cpu at 25 %, target 25 %"), "{summary}");
}

#[test]
fn a_shadow_decides_while_the_size_is_held_and_without_an_acting_autoscaler() {
    let mut held = World::with([shop(&[CAREFUL])]);
    held.hold("shop", 2, None);
    let mut fixed = shop(&[r#"{"name": "first", "max": 8}"#]);
    (fixed.autoscaler, fixed.spec.scale.count) = (None, model::resource::Count::Fixed(2));
    let mut fixed = World::with([fixed]);
    let mut spent = [Duration::ZERO; 10];
    work(&mut held, &mut spent, 1000, 40);
    let mut spent = [Duration::ZERO; 10];
    work(&mut fixed, &mut spent, 3200, 40);
    assert_eq!((held.service("shop").desired, shadow(&held, "careful").desired), (Some(2), 4));
    assert_eq!((fixed.service("shop").desired, shadow(&fixed, "first").desired), (Some(2), 4));
}

#[test]
fn the_score_of_a_shadow_survives_a_restart_and_not_another_declaration() {
    let mut world = World::with([shop(&[CAREFUL, SAME])]);
    let mut spent = [Duration::ZERO; 10];
    work(&mut world, &mut spent, 1500, 400);
    let before = shadow(&world, "careful").clone();
    let memory = world.service("shop").remembered.as_ref().map(|known| Memory::clone(&known.memory)).unwrap();
    let kept = memory.shadows.iter().find(|shadow| shadow.name == before.name).unwrap();
    assert!(before.until.since(kept.until) <= seconds(31), "stored twice a minute");

    let running = world.places("shop");
    world.start_run();
    world.declare(shop(&[CAREFUL, SAME]));
    world.restore(memory.clone());
    world.report_inventory(running.iter().map(|place| observed(&format!("shop-{place}"), 1, READY)));
    world.run_for(seconds(5));
    let after = shadow(&world, "careful");
    assert_eq!((after.since, after.desired), (before.since, before.desired));
    assert!(after.counted_ms >= kept.counted_ms);

    let changed = CAREFUL.replace("25", "20");
    world.declare(shop(&[&changed, SAME]));
    world.run_for(seconds(2));
    assert!(shadow(&world, "careful").since > before.since, "a changed shadow starts again");
    assert_eq!(shadow(&world, "same").since, before.since, "an unchanged one continues");
    world.declare(shop(&[]));
    world.run_for(seconds(2));
    assert!(world.service("shop").shadows.is_empty());
}
