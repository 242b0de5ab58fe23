//! Schedules: other bounds at some times of day.

use model::decision::Policy;
use model::input::{Declared, Demand, Input, Report};
use model::resource::{Cron, Expose, ListenAddress, PortName, Schedule, Span, ToZero, Zone};
use model::time::Wall;

use crate::bench::{autoscaled, fixed, name};
use crate::world::{World, ms, seconds};

/// 2026-11-27, a Friday, at this time of day in UTC.
fn at(hour: u64, minute: u64) -> Wall {
    const DAY: u64 = 1_795_737_600_000;
    Wall::from_millis(DAY + (hour * 60 + minute) * 60_000)
}

/// From eight to six on weekdays.
fn office_hours(min: Option<u32>, max: Option<u32>) -> Schedule {
    let cron = Cron::parse("0 8 * * 1-5").unwrap();
    let mut schedule = Schedule::new(cron, Zone::default(), Span::from_secs(10 * 3600));
    (schedule.min, schedule.max) = (min, max);
    schedule
}

fn on_schedule(mut declared: Declared, schedule: Schedule) -> Declared {
    declared.spec.scale.schedule.push(schedule);
    declared
}

/// The desired size at that time of day, after the next decision.
fn desired_at(world: &mut World, wall: Wall) -> Option<u32> {
    world.wall = wall;
    world.run_for(seconds(3));
    world.service("shop").desired
}

#[test]
fn a_fixed_size_follows_the_schedule_with_a_reason() {
    let mut world = World::with([on_schedule(fixed("shop", 1, 2), office_hours(Some(6), None))]);
    assert_eq!(desired_at(&mut world, at(7, 59)), Some(2));
    assert_eq!(desired_at(&mut world, at(8, 0)), Some(6));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    assert_eq!(decision.policy, Policy::Schedule);
    assert_eq!(
        &*decision.summary,
        "schedule \"0 8 * * 1-5\" in UTC wants at least 6 replicas until 2026-11-27 18:00 UTC"
    );
    assert_eq!(desired_at(&mut world, at(18, 0)), Some(2));
    assert_eq!(desired_at(&mut world, at(24 + 12, 0)), Some(2), "a Saturday");
}

#[test]
fn an_autoscaler_keeps_within_the_bounds_of_the_schedule() {
    let mut world = World::with([on_schedule(autoscaled("shop", 2, 10), office_hours(Some(4), Some(12)))]);
    assert_eq!(desired_at(&mut world, at(7, 0)), Some(2));
    assert_eq!(desired_at(&mut world, at(9, 0)), Some(4));
    let decision = world.service("shop").decision.as_ref().unwrap().decision();
    let limit = decision.limits.last().expect("the limit of the schedule");
    assert_eq!(limit.name, "Scheduled");
    assert!(limit.note.contains("4 to 12 replicas until 2026-11-27 18:00 UTC"), "{}", limit.note);
}

#[test]
fn a_scheduled_maximum_applies_at_once() {
    let mut world = World::with([on_schedule(autoscaled("shop", 4, 10), office_hours(None, Some(1)))]);
    assert_eq!(desired_at(&mut world, at(7, 0)), Some(4));
    assert_eq!(desired_at(&mut world, at(9, 0)), Some(1));
    world.carry_out();
    assert_eq!(world.places("shop").len(), 1);
    assert_eq!(desired_at(&mut world, at(19, 0)), Some(4));
}

#[test]
fn a_service_at_zero_by_schedule_starts_again_by_itself() {
    for declared in [autoscaled("shop", 2, 10), fixed("shop", 1, 2)] {
        let mut world = World::with([on_schedule(declared, office_hours(None, Some(0)))]);
        assert_eq!(desired_at(&mut world, at(7, 0)), Some(2));
        assert_eq!(desired_at(&mut world, at(9, 0)), Some(0));
        world.carry_out();
        assert_eq!(world.places("shop"), Vec::<u32>::new());
        assert_eq!(desired_at(&mut world, at(19, 0)), Some(2));
    }
}

#[test]
fn after_a_step_of_the_clock_the_bounds_are_those_of_the_shown_time() {
    let mut world = World::with([on_schedule(fixed("shop", 1, 2), office_hours(Some(6), None))]);
    assert_eq!(desired_at(&mut world, at(9, 0)), Some(6));
    assert_eq!(desired_at(&mut world, at(7, 0)), Some(2));
    assert_eq!(desired_at(&mut world, at(9, 0)), Some(6));
}

#[test]
fn a_hold_by_hand_takes_precedence_over_a_schedule() {
    let mut world = World::with([on_schedule(fixed("shop", 1, 2), office_hours(Some(6), None))]);
    world.hold("shop", 3, None);
    assert_eq!(desired_at(&mut world, at(9, 0)), Some(3));
    world.release("shop");
    assert_eq!(desired_at(&mut world, at(9, 0)), Some(6));
}

#[test]
fn a_scheduled_minimum_keeps_a_service_without_requests_running() {
    let mut declared = on_schedule(fixed("shop", 1, 2), office_hours(Some(1), None));
    declared.spec.scale.to_zero = Some(ToZero { after: Span::from_secs(60), wait: Span::from_secs(60) });
    let listen = ListenAddress::parse("127.0.0.1:8080").unwrap();
    declared.spec.expose = Some(Expose::new(listen, PortName::parse("http").unwrap()));
    let mut world = World::with([declared]);
    let mut idle_at = |wall| {
        world.wall = wall;
        for _ in 0..150 {
            let demand = Demand { service: name("shop"), requests: 10, waiting: 0, in_flight: 0 };
            world.put(&Input::Report(Report::Demand(vec![demand])));
            world.run_for(ms(500));
        }
        world.carry_out();
        world.service("shop").desired
    };
    assert_eq!(idle_at(at(9, 0)), Some(2));
    assert_eq!(idle_at(at(19, 0)), Some(0));
    assert_eq!(idle_at(at(24 * 3 + 9, 0)), Some(2), "a Monday");
}

#[test]
fn a_service_at_zero_by_schedule_is_not_started_by_requests() {
    let mut declared = on_schedule(fixed("shop", 1, 2), office_hours(None, Some(0)));
    declared.spec.scale.to_zero = Some(ToZero { after: Span::from_secs(60), wait: Span::from_secs(60) });
    let mut world = World::with([declared]);
    assert_eq!(desired_at(&mut world, at(9, 0)), Some(0));
    let demand = Demand { service: name("shop"), requests: 10, waiting: 3, in_flight: 0 };
    world.put(&Input::Report(Report::Demand(vec![demand])));
    assert_eq!(desired_at(&mut world, at(9, 1)), Some(0));
}
