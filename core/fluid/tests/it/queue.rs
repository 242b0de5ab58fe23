//! The queue, starts and stops, tick by tick.

use fluid::policy::constant::Constant;
use fluid::world::World;
use fluid::{Outcome, Policy, PolicyInput, Run, Service, TickResult};
use model::time::Wall;

use crate::policies::{service, upon};

/// What a policy was shown.
type Seen = std::rc::Rc<std::cell::RefCell<Vec<(u32, u32, Option<TickResult>)>>>;

fn watched(
    service: &Service,
    loads: &[f64],
    wanted: &'static [u32],
) -> (Outcome, Vec<(u32, u32, Option<TickResult>)>) {
    let seen = Seen::default();
    let seeing = std::rc::Rc::clone(&seen);
    let policy = move |input: &PolicyInput<'_>| {
        assert!(input.ahead.is_empty(), "a policy without foresight is shown nothing of what comes");
        seeing.borrow_mut().push((input.fleet.ready(), input.fleet.total(), input.last.copied()));
        wanted[input.tick as usize]
    };
    let outcome = upon(service, policy, loads);
    let seen = seen.borrow().clone();
    (outcome, seen)
}

#[test]
fn work_that_does_not_fit_waits_and_what_waits_too_long_is_dropped() {
    // One replica carries 10 a second, 150 a tick; more than 5 waiting breaks the promise, more than 100 is dropped.
    let (outcome, seen) = watched(&service(10.0), &[5.0, 12.0, 20.0, 0.0, 0.0], &[1; 5]);
    let past = |tick: usize| seen[tick + 1].2.expect("a tick has passed");

    assert_eq!((past(0).served, past(0).queue), (5.0, 0.0));
    assert_eq!((past(1).served, past(1).queue, past(1).dropped, past(1).utilization), (10.0, 30.0, 0.0, 1.0));
    assert_eq!((past(2).queue, past(2).dropped), (100.0, 80.0));
    assert_eq!((past(3).load, past(3).queue), (0.0, 0.0));
    assert!((past(3).utilization - 100.0 / 150.0).abs() < 1e-12);

    let score = outcome.score;
    assert_eq!(
        (score.ticks, score.violated_ticks, score.violated_ticks_longest, score.hot_ticks),
        (5, 2, 2, 2)
    );
    assert_eq!((score.requests, score.requests_violated, score.requests_dropped), (555.0, 480.0, 80.0));
    assert_eq!(score.violation_minutes(), 0.5);
}

#[test]
fn a_small_queue_at_the_end_of_a_tick_is_no_violation() {
    // 155 of 150: 5 wait, which is just half a second of work.
    let (outcome, _) = watched(&service(10.0), &[155.0 / 15.0, 0.0], &[1; 2]);
    assert_eq!(outcome.score.violated_ticks, 0);
}

#[test]
fn a_replica_is_paid_from_its_start_and_serves_four_ticks_later() {
    let (outcome, seen) = watched(&service(10.0), &[5.0; 7], &[1, 3, 3, 3, 3, 3, 3]);
    let fleets: Vec<_> = seen.iter().map(|(ready, total, _)| (*ready, *total)).collect();
    assert_eq!(fleets, [(1, 1), (1, 1), (1, 3), (1, 3), (1, 3), (3, 3), (3, 3)]);
    assert_eq!((outcome.score.replica_ticks, outcome.score.starts, outcome.score.actions), (1 + 6 * 3, 2, 1));
}

#[test]
fn shrinking_takes_starting_replicas_first_and_ready_ones_at_once() {
    let (_, seen) = watched(&service(10.0), &[12.0; 5], &[2, 5, 3, 1, 1]);
    let fleets: Vec<_> = seen.iter().map(|(ready, total, _)| (*ready, *total)).collect();
    assert_eq!(fleets, [(2, 2), (2, 2), (2, 5), (2, 3), (1, 1)]);
}

#[test]
fn it_begins_with_the_demand_of_the_first_tick_and_keeps_the_bounds() {
    // 70 a second at 7 a replica are ten.
    let (_, seen) = watched(&service(10.0), &[70.0, 70.0], &[9999, 0]);
    assert_eq!((seen[0].0, seen[1].1), (10, 200));
    let constant = upon(&service(10.0), Constant(0), &[70.0, 70.0]);
    assert_eq!(constant.score.replica_ticks, 2, "no constant goes below the bounds either");
}

#[test]
fn the_first_day_is_left_out_of_what_is_longer_than_two() {
    const DAY: usize = 24 * 240;
    let with_a_bad_first_hour = |ticks: usize| {
        let mut loads = vec![1.0; ticks];
        loads[..240].fill(1e4);
        upon(&service(10.0), Constant(1), &loads).score
    };
    assert_eq!(with_a_bad_first_hour(2 * DAY).violated_ticks, 240);
    let long = with_a_bad_first_hour(2 * DAY + 1);
    assert_eq!((long.violated_ticks, long.ticks), (0, DAY as u64 + 1));
}

#[test]
fn a_service_without_a_replica_drops_what_comes() {
    let mut service = service(10.0);
    service.bounds.min = 0;
    let outcome = upon(&service, Constant(0), &[3.0, 0.0]);
    assert_eq!((outcome.score.violated_ticks, outcome.score.requests_dropped), (1, 45.0));
    assert_eq!(outcome.score.replica_hours(), 0.0);
}

#[test]
fn a_run_of_nothing_has_a_score_of_nothing() {
    let run = Run::new(&service(10.0), Constant(1), World::calm(), Wall::default());
    let outcome = run.finish();
    assert_eq!((outcome.score.ticks, outcome.score.violated_requests_percent()), (0, 0.0));
    assert!(outcome.timeline.points().is_empty());
}

#[test]
fn a_trail_of_any_length_is_bounded_and_forgets_no_tick() {
    let outcome = upon(&service(10.0), Constant(1), &vec![5.0; 10_000]);
    let timeline = outcome.timeline;
    assert!(
        timeline.points().len() <= fluid::timeline::POINTS_MAX
            && timeline.points().len() > fluid::timeline::POINTS_MAX / 2
    );
    assert_eq!(timeline.points().iter().map(|point| point.ticks).sum::<u64>(), 10_000);
    assert!(timeline.points().iter().all(|point| point.load() == 5.0 && point.ready() == 1.0));
}

/// A policy may be boxed and still is one.
#[test]
fn a_boxed_policy_keeps_its_foresight() {
    let oracle: Box<dyn Policy> = Box::new(fluid::policy::oracle::Oracle::exact(&service(10.0)));
    assert_eq!(oracle.foresight(), 5);
}
