//! Queueing, starts and stops, tick by tick.

use fluid::policy::constant::Constant;
use fluid::world::World;
use fluid::{Outcome, Policy, PolicyInput, Run, Service, TickResult};
use model::time::Wall;

use crate::policies::{run, service};

/// The inputs of a policy: ready replicas, all replicas, the result of the previous tick.
type Inputs = Vec<(u32, u32, Option<TickResult>)>;

/// Runs a policy that wants the given numbers, and records its inputs.
fn run_recorded(service: &Service, loads: &[f64], wanted: &'static [u32]) -> (Outcome, Inputs) {
    let inputs = std::rc::Rc::new(std::cell::RefCell::new(Inputs::new()));
    let recorded = std::rc::Rc::clone(&inputs);
    let policy = move |input: &PolicyInput<'_>| {
        assert!(input.upcoming.is_empty(), "a policy without foresight gets no upcoming load");
        recorded.borrow_mut().push((input.fleet.ready(), input.fleet.total(), input.last.copied()));
        wanted[input.tick as usize]
    };
    let outcome = run(service, policy, loads);
    let inputs = inputs.borrow().clone();
    (outcome, inputs)
}

#[test]
fn excess_work_is_queued_and_dropped_beyond_the_queue_limit() {
    // One replica carries 10 a second, 150 a tick; more than 5 queued violate the SLO, more than 100 are dropped.
    let (outcome, inputs) = run_recorded(&service(10.0), &[5.0, 12.0, 20.0, 0.0, 0.0], &[1; 5]);
    let result = |tick: usize| inputs[tick + 1].2.expect("every input but the first has a result");

    assert_eq!((result(0).served, result(0).queue), (5.0, 0.0));
    assert_eq!(
        (result(1).served, result(1).queue, result(1).dropped, result(1).utilization),
        (10.0, 30.0, 0.0, 1.0)
    );
    assert_eq!((result(2).queue, result(2).dropped), (100.0, 80.0));
    assert_eq!((result(3).load, result(3).queue), (0.0, 0.0));
    assert!((result(3).utilization - 100.0 / 150.0).abs() < 1e-12);

    let score = outcome.score;
    assert_eq!(
        (score.ticks, score.violated_ticks, score.violated_ticks_longest, score.hot_ticks),
        (5, 2, 2, 2)
    );
    assert_eq!((score.requests, score.requests_violated, score.requests_dropped), (555.0, 480.0, 80.0));
    assert_eq!(score.violation_minutes(), 0.5);
}

#[test]
fn a_queue_within_the_wait_limit_is_no_violation() {
    // 155 of 150: 5 are queued, which is exactly half a second of work.
    let (outcome, _) = run_recorded(&service(10.0), &[155.0 / 15.0, 0.0], &[1; 2]);
    assert_eq!(outcome.score.violated_ticks, 0);
}

#[test]
fn a_replica_is_billed_from_its_start_and_serves_four_ticks_later() {
    let (outcome, inputs) = run_recorded(&service(10.0), &[5.0; 7], &[1, 3, 3, 3, 3, 3, 3]);
    let fleets: Vec<_> = inputs.iter().map(|(ready, total, _)| (*ready, *total)).collect();
    assert_eq!(fleets, [(1, 1), (1, 1), (1, 3), (1, 3), (1, 3), (3, 3), (3, 3)]);
    assert_eq!((outcome.score.replica_ticks, outcome.score.starts, outcome.score.actions), (1 + 6 * 3, 2, 1));
}

#[test]
fn scale_in_stops_starting_replicas_first_and_ready_ones_at_once() {
    let (_, inputs) = run_recorded(&service(10.0), &[12.0; 5], &[2, 5, 3, 1, 1]);
    let fleets: Vec<_> = inputs.iter().map(|(ready, total, _)| (*ready, *total)).collect();
    assert_eq!(fleets, [(2, 2), (2, 2), (2, 5), (2, 3), (1, 1)]);
}

#[test]
fn a_run_starts_with_the_demand_of_the_first_tick_and_stays_within_the_bounds() {
    // 70 a second at 7 for each replica need ten.
    let (_, inputs) = run_recorded(&service(10.0), &[70.0, 70.0], &[9999, 0]);
    assert_eq!((inputs[0].0, inputs[1].1), (10, 200));
    let constant = run(&service(10.0), Constant(0), &[70.0, 70.0]);
    assert_eq!(constant.score.replica_ticks, 2, "a constant is clamped to the bounds as well");
}

#[test]
fn the_first_day_of_a_trace_longer_than_two_days_is_not_scored() {
    const DAY: usize = 24 * 240;
    let overloaded_in_the_first_hour = |ticks: usize| {
        let mut loads = vec![1.0; ticks];
        loads[..240].fill(1e4);
        run(&service(10.0), Constant(1), &loads).score
    };
    assert_eq!(overloaded_in_the_first_hour(2 * DAY).violated_ticks, 240);
    let long = overloaded_in_the_first_hour(2 * DAY + 1);
    assert_eq!((long.violated_ticks, long.ticks), (0, DAY as u64 + 1));
}

#[test]
fn a_service_without_replicas_drops_every_request() {
    let mut service = service(10.0);
    service.bounds.min = 0;
    let outcome = run(&service, Constant(0), &[3.0, 0.0]);
    assert_eq!((outcome.score.violated_ticks, outcome.score.requests_dropped), (1, 45.0));
    assert_eq!(outcome.score.replica_hours(), 0.0);
}

#[test]
fn a_run_without_ticks_has_an_empty_score() {
    let run = Run::new(&service(10.0), Constant(1), World::calm(), Wall::default());
    let outcome = run.finish();
    assert_eq!((outcome.score.ticks, outcome.score.violated_requests_percent()), (0, 0.0));
    assert!(outcome.timeline.points().is_empty());
}

#[test]
fn a_timeline_is_bounded_and_covers_every_tick() {
    let outcome = run(&service(10.0), Constant(1), &vec![5.0; 10_000]);
    let timeline = outcome.timeline;
    assert!(
        timeline.points().len() <= fluid::timeline::POINTS_MAX
            && timeline.points().len() > fluid::timeline::POINTS_MAX / 2
    );
    assert_eq!(timeline.points().iter().map(|point| point.ticks).sum::<u64>(), 10_000);
    assert!(timeline.points().iter().all(|point| point.load() == 5.0 && point.ready() == 1.0));
}

#[test]
fn a_boxed_policy_keeps_its_foresight() {
    let oracle: Box<dyn Policy> = Box::new(fluid::policy::oracle::Oracle::exact(&service(10.0)));
    assert_eq!(oracle.foresight(), 5);
}
