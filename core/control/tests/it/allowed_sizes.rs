//! Only some numbers of replicas are allowed: `scale.sizes`.

use std::num::NonZeroU32;
use std::time::Duration;

use model::event::EventKind;
use model::input::Declared;
use model::reason::Reason;
use model::resource::{
    Behavior, Cron, PolicyChange, Scale, ScaleMode, ScalingPolicy, ScalingRules, Schedule, SelectPolicy,
    Sizes, Span, Zone,
};

use crate::bench::fixed;
use crate::sizing::{shop, work};
use crate::world::{World, seconds};

fn sized(mut declared: Declared, sizes: Sizes) -> Declared {
    declared.spec.scale.sizes = Some(sizes);
    declared
}

/// The last limit of the last decision: its name and the numbers before and after it; and the summary.
fn last_limit(world: &World) -> (&'static str, u32, u32, String) {
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    let limit = decision.limits.last().expect("something limits it").clone();
    (limit.name, limit.from, limit.to, decision.summary.to_string())
}

#[test]
fn an_autoscaler_grows_to_the_next_allowed_size_and_says_so() {
    let mut world = World::with([sized(shop(2, 10), Sizes::PowersOfTwo)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 500, 20);
    work(&mut world, &mut spent, 2, 750, 6);
    assert_eq!(world.service("shop").desired, Some(4));
    let is_reason = |why: &Reason| {
        let why = why.to_string();
        why.starts_with("from 2 to 4: cpu at ")
            && why.ends_with("only powers of two are allowed, and 4 is the next larger one")
    };
    assert!(world.has_event(EventKind::Scaled, is_reason));
}

#[test]
fn a_fall_of_load_that_reaches_no_allowed_size_changes_nothing() {
    let mut world = World::with([sized(shop(2, 10), Sizes::PowersOfTwo)]);
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 2, 1000, 8);
    assert_eq!(world.service("shop").desired, Some(4));
    world.take_sent();
    // Three would be enough, for longer than every window.
    work(&mut world, &mut spent, 4, 370, 1400);
    assert_eq!(world.service("shop").desired, Some(4));
    assert_eq!(last_limit(&world).0, "AllowedSizes");
    assert!(world.take_sent().is_empty());
    work(&mut world, &mut spent, 4, 200, 700);
    assert_eq!(world.service("shop").desired, Some(2));
}

#[test]
fn near_the_maximum_the_size_is_the_largest_allowed_one_within_it() {
    let mut world = World::with([sized(shop(1, 6), Sizes::PowersOfTwo)]);
    let mut spent = Duration::ZERO;
    for measured in [1, 2, 4, 4] {
        work(&mut world, &mut spent, measured, 8000, 20);
    }
    assert_eq!(world.service("shop").desired, Some(4));
    assert_eq!((last_limit(&world).1, last_limit(&world).2), (6, 4));
}

#[test]
fn rate_policies_count_the_rounded_change() {
    let two_a_minute = ScalingRules {
        stabilization: Duration::ZERO,
        select: SelectPolicy::Max,
        policies: vec![ScalingPolicy { change: PolicyChange::Pods(2), period: Duration::from_mins(1) }],
        tolerance: None,
    };
    let mut declared = sized(shop(1, 20), Sizes::MultiplesOf(NonZeroU32::new(4).unwrap()));
    let behavior = Behavior { scale_up: two_a_minute.clone(), scale_down: two_a_minute };
    declared.autoscaler.as_mut().unwrap().behavior = Some(behavior);
    let mut world = World::with([declared]);
    assert_eq!(world.service("shop").desired, Some(4), "the first size is an allowed one");
    let mut spent = Duration::ZERO;
    work(&mut world, &mut spent, 4, 1000, 20);
    assert_eq!(
        world.service("shop").desired,
        Some(8),
        "two more are allowed, and the next size is four more"
    );
    work(&mut world, &mut spent, 8, 1000, 60);
    assert_eq!(world.service("shop").desired, Some(8), "the four that were added use up the minute");
    work(&mut world, &mut spent, 8, 1000, 80);
    assert_eq!(world.service("shop").desired, Some(12));
}

#[test]
fn a_size_by_hand_is_not_rounded() {
    let mut world = World::with([sized(shop(1, 9), Sizes::Odd)]);
    world.hold("shop", 4, None);
    world.run_for(seconds(5));
    assert_eq!(world.service("shop").desired, Some(4));
    world.release("shop");
    world.run_for(seconds(5));
    assert_eq!(world.service("shop").desired, Some(5), "after the release the size is an allowed one again");
}

#[test]
fn a_schedule_moves_a_fixed_size_to_an_allowed_one() {
    let cron = Cron::parse("* * * * *").unwrap();
    let mut always = Schedule::new(cron, Zone::default(), Span::from_secs(120));
    (always.min, always.max) = (Some(4), Some(6));
    let mut declared = sized(fixed("shop", 1, 1), Sizes::Odd);
    declared.spec.scale.schedule.push(always);
    let world = World::with([declared]);
    assert_eq!(world.service("shop").desired, Some(5));
    let (name, from, to, summary) = last_limit(&world);
    assert_eq!((name, from, to), ("AllowedSizes", 4, 5));
    assert!(summary.contains("wants 4 to 6 replicas"), "{summary}");
}

#[test]
fn allowed_sizes_apply_in_every_mode() {
    for mode in [ScaleMode::On, ScaleMode::UpOnly, ScaleMode::Shadow, ScaleMode::Off] {
        let mut world = World::with([shop(2, 10)]);
        let mut declared = sized(shop(2, 10), Sizes::Odd);
        declared.spec.scale.mode = mode;
        declared.revision = model::identity::Generation(2);
        world.declare(declared);
        world.run_for(seconds(3));
        assert_eq!(world.service("shop").desired, Some(3), "{mode:?}");
    }
}

#[test]
fn without_an_allowed_size_within_the_current_bounds_the_bounds_win_with_a_note() {
    let mut declared = sized(fixed("shop", 1, 4), Sizes::Odd);
    declared.spec.scale = Scale { sizes: Some(Sizes::Odd), ..Scale::fixed(4) };
    let world = World::with([declared]);
    assert_eq!(world.service("shop").desired, Some(4));
    assert!(last_limit(&world).3.ends_with("none lies within 4 to 4, and these bounds take precedence"));
}
