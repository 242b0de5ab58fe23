//! Disturbances: slow and failed starts, unequal replicas, losses, noise.

use std::time::Duration;

use fluid::policy::constant::Constant;
use fluid::policy::hpa;
use fluid::world::{Arrivals, Disturbance, Loss, Lost, Noise, World};
use fluid::{Outcome, Policy, PolicyInput, Run, Service, Share};
use model::time::Wall;

use crate::policies::service;

const TICK: Duration = Duration::from_secs(15);

fn run_disturbed(
    service: &Service,
    policy: impl Policy + 'static,
    disturbance: Disturbance,
    seed: u64,
) -> Outcome {
    let mut run = Run::new(service, policy, World::new(disturbance, seed), Wall::default());
    (0..2000).for_each(|tick| run.offer(if tick % 100 < 50 { 35.0 } else { 140.0 }));
    run.finish()
}

#[test]
fn a_world_is_determined_by_its_seed() {
    let service = service(10.0);
    let disturbance = Disturbance {
        start_up_spread: 0.5,
        failed_starts: Share::of(0.1).ok(),
        speed_spread: 0.2,
        ..Disturbance::default()
    };
    let outcome = |seed| run_disturbed(&service, hpa::by_cpu(&service), disturbance.clone(), seed);
    assert_eq!(outcome(7), outcome(7));
    assert_ne!(outcome(7).score, outcome(8).score);
    let calm = run_disturbed(&service, hpa::by_cpu(&service), Disturbance::default(), 7);
    assert!(outcome(7).score.violated_ticks > calm.score.violated_ticks, "the disturbance causes violations");
}

#[test]
fn lost_replicas_are_missing_until_their_replacements_are_ready() {
    let losses = vec![
        Loss { after: TICK * 10, lost: Lost::Part(Share::of(0.5).unwrap()) },
        Loss { after: TICK * 100, lost: Lost::Count(999) },
    ];
    let (ready, record) = recorder();
    let disturbance = Disturbance { losses, ..Disturbance::default() };
    run_disturbed(&service(10.0), move |input: &PolicyInput<'_>| record(input, 10), disturbance, 0);
    let ready = ready.borrow();
    assert_eq!(ready[9..16], [10, 5, 5, 5, 5, 10, 10]);
    assert_eq!(ready[99..105], [10, 0, 0, 0, 0, 10]);
}

#[test]
fn a_failed_start_is_repeated() {
    let disturbance = Disturbance { failed_starts: Some(Share::WHOLE), ..Disturbance::default() };
    let (ready, record) = recorder();
    // The run begins with five ready replicas; five more never become ready.
    let outcome =
        run_disturbed(&service(10.0), move |input: &PolicyInput<'_>| record(input, 10), disturbance, 0);
    assert!(ready.borrow().iter().all(|ready| *ready == 5));
    assert_eq!(outcome.score.starts, 5 * 500, "five every four ticks");
}

#[test]
fn a_start_takes_an_observed_time_and_an_observed_warm_up() {
    // Two or six ticks of start-up, and one of warm-up.
    let disturbance =
        Disturbance { starts: vec![TICK * 2, TICK * 6], warmups: vec![TICK], ..Disturbance::default() };
    let losses = (1..=50).map(|round| Loss { after: TICK * (20 * round), lost: Lost::Count(1) }).collect();
    let disturbance = Disturbance { losses, ..disturbance };
    let (ready, record) = recorder();
    run_disturbed(&service(10.0), move |input: &PolicyInput<'_>| record(input, 5), disturbance, 3);
    let ready = ready.borrow();
    // How many losses were followed by so many ticks with a replica missing.
    let mut losses_by_ticks = [0; 10];
    for round in 1..=50 {
        let at = 20 * round - 1;
        losses_by_ticks[(at..at + 10).filter(|tick| ready[*tick] < 5).count()] += 1;
    }
    assert_eq!(losses_by_ticks[3] + losses_by_ticks[7], 50, "{losses_by_ticks:?}");
    assert!(losses_by_ticks[3] > 10 && losses_by_ticks[7] > 10, "both times occur: {losses_by_ticks:?}");
}

#[test]
fn a_lower_capacity_than_assumed_violates_the_slo() {
    let service = service(10.0);
    let violated_ticks = |capacity_factor| {
        let disturbance = Disturbance { capacity_factor, ..Disturbance::default() };
        run_disturbed(&service, Constant(14), disturbance, 0).score.violated_ticks
    };
    assert_eq!(violated_ticks(None), 0);
    assert!(violated_ticks(Share::of(0.9).ok()) > 900, "140 a second exceed the capacity of 14 replicas");
}

#[test]
fn unequal_replicas_have_the_declared_mean_and_spread() {
    let service = service(10.0);
    let spread = Disturbance { start_up_spread: 0.8, speed_spread: 0.3, ..Disturbance::default() };
    let mut speeds = Vec::new();
    for seed in 0..400 {
        let outcome = run_disturbed(&service, Constant(5), spread.clone(), seed);
        speeds.push(outcome.timeline.points()[0].capacity() / 50.0);
    }
    let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    let deviation =
        (speeds.iter().map(|speed| (speed - mean).powi(2)).sum::<f64>() / speeds.len() as f64).sqrt();
    assert!((deviation - 0.3 / 5_f64.sqrt()).abs() < 0.03, "{deviation}");
}

#[test]
fn noise_keeps_the_mean_and_has_the_declared_variance() {
    for (load, noise, variance) in [
        (2.0, Noise::Poisson, 2.0 / 15.0),
        (40.0, Noise::Poisson, 40.0 / 15.0),
        (40.0, Noise::Spread(0.25), 100.0),
        (0.0, Noise::Poisson, 0.0),
        (0.0, Noise::Spread(0.5), 0.0),
    ] {
        let mut arrivals = Arrivals::new(noise, 3);
        let loads: Vec<f64> = (0..20_000).map(|_| arrivals.scatter(load, TICK)).collect();
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        let measured = loads.iter().map(|load| (load - mean).powi(2)).sum::<f64>() / loads.len() as f64;
        assert!((mean - load).abs() <= 0.02 * load, "{noise:?} around {load}: {mean}");
        assert!(
            (measured - variance).abs() <= 0.06 * variance,
            "{noise:?} around {load}: {measured}, not {variance}"
        );
        assert!(loads.iter().all(|load| *load >= 0.0));
    }
}

type ReadyCounts = std::rc::Rc<std::cell::RefCell<Vec<u32>>>;

/// The body of a policy that records the number of ready replicas at each decision, and returns a given number.
fn recorder() -> (ReadyCounts, impl Fn(&PolicyInput<'_>, u32) -> u32) {
    let counts = ReadyCounts::default();
    let recorded = std::rc::Rc::clone(&counts);
    let record = move |input: &PolicyInput<'_>, wanted: u32| {
        recorded.borrow_mut().push(input.fleet.ready());
        wanted
    };
    (counts, record)
}
