//! Worlds that are not calm.

use std::time::Duration;

use fluid::policy::constant::Constant;
use fluid::policy::hpa;
use fluid::world::{Arrivals, Disturbance, Loss, Lost, Noise, World};
use fluid::{Outcome, Policy, PolicyInput, Run, Service, Share};
use model::time::Wall;

use crate::policies::service;

const TICK: Duration = Duration::from_secs(15);

fn disturbed(
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
fn the_same_seed_gives_the_same_world_and_another_another() {
    let service = service(10.0);
    let disturbance = Disturbance {
        start_up_spread: 0.5,
        failed_starts: Share::of(0.1).ok(),
        speed_spread: 0.2,
        ..Disturbance::default()
    };
    let of = |seed| disturbed(&service, hpa::by_cpu(&service), disturbance.clone(), seed);
    assert_eq!(of(7), of(7));
    assert_ne!(of(7).score, of(8).score);
    let calm = disturbed(&service, hpa::by_cpu(&service), Disturbance::default(), 7);
    assert!(of(7).score.violated_ticks > calm.score.violated_ticks, "disturbance costs something");
}

#[test]
fn lost_replicas_are_replaced_and_missed_until_the_new_ones_are_ready() {
    let losses = vec![
        Loss { after: TICK * 10, lost: Lost::Part(Share::of(0.5).unwrap()) },
        Loss { after: TICK * 100, lost: Lost::Count(999) },
    ];
    let (numbers, kept) = watched();
    let disturbance = Disturbance { losses, ..Disturbance::default() };
    disturbed(&service(10.0), move |input: &PolicyInput<'_>| kept(input, 10), disturbance, 0);
    let numbers = numbers.borrow();
    assert_eq!(numbers[9..16], [10, 5, 5, 5, 5, 10, 10]);
    assert_eq!(numbers[99..105], [10, 0, 0, 0, 0, 10]);
}

#[test]
fn a_start_that_fails_is_made_again() {
    let disturbance = Disturbance { failed_starts: Some(Share::WHOLE), ..Disturbance::default() };
    let (numbers, kept) = watched();
    // It begins with five, which are there; five more never come.
    let outcome = disturbed(&service(10.0), move |input: &PolicyInput<'_>| kept(input, 10), disturbance, 0);
    assert!(numbers.borrow().iter().all(|ready| *ready == 5));
    assert_eq!(outcome.score.starts, 5 * 500, "five each four ticks");
}

#[test]
fn starts_take_as_long_as_some_were_seen_to_take_and_a_warm_up_after_it() {
    // Two ticks or six, and one more.
    let disturbance =
        Disturbance { starts: vec![TICK * 2, TICK * 6], warmups: vec![TICK], ..Disturbance::default() };
    let losses = (1..=50).map(|round| Loss { after: TICK * (20 * round), lost: Lost::Count(1) }).collect();
    let disturbance = Disturbance { losses, ..disturbance };
    let (numbers, kept) = watched();
    disturbed(&service(10.0), move |input: &PolicyInput<'_>| kept(input, 5), disturbance, 3);
    let numbers = numbers.borrow();
    let mut missed = [0; 10];
    for round in 1..=50 {
        let at = 20 * round - 1;
        missed[(at..at + 10).filter(|tick| numbers[*tick] < 5).count()] += 1;
    }
    assert_eq!(missed[3] + missed[7], 50, "{missed:?}");
    assert!(missed[3] > 10 && missed[7] > 10, "both happen: {missed:?}");
}

#[test]
fn replicas_that_carry_less_than_is_believed_break_the_promise_of_a_policy_that_believes_it() {
    let service = service(10.0);
    let of = |carries| {
        let disturbance = Disturbance { carries, ..Disturbance::default() };
        disturbed(&service, Constant(14), disturbance, 0).score.violated_ticks
    };
    assert_eq!(of(None), 0);
    assert!(of(Share::of(0.9).ok()) > 900, "140 a second are more than 14 of them carry");
}

#[test]
fn slow_starts_and_unequal_replicas_are_around_what_is_declared() {
    let service = service(10.0);
    let spread = Disturbance { start_up_spread: 0.8, speed_spread: 0.3, ..Disturbance::default() };
    let mut speeds = Vec::new();
    for seed in 0..400 {
        let outcome = disturbed(&service, Constant(5), spread.clone(), seed);
        speeds.push(outcome.timeline.points()[0].capacity() / 50.0);
    }
    let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    let deviation =
        (speeds.iter().map(|speed| (speed - mean).powi(2)).sum::<f64>() / speeds.len() as f64).sqrt();
    assert!((deviation - 0.3 / 5_f64.sqrt()).abs() < 0.03, "{deviation}");
}

#[test]
fn noise_keeps_the_mean_and_has_the_variance_that_it_says() {
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
        let found = loads.iter().map(|load| (load - mean).powi(2)).sum::<f64>() / loads.len() as f64;
        assert!((mean - load).abs() <= 0.02 * load, "{noise:?} around {load}: {mean}");
        assert!(
            (found - variance).abs() <= 0.06 * variance,
            "{noise:?} around {load}: {found}, not {variance}"
        );
        assert!(loads.iter().all(|load| *load >= 0.0));
    }
}

type Numbers = std::rc::Rc<std::cell::RefCell<Vec<u32>>>;

/// A policy's body that writes down how many are ready after what has struck them, one tick late, and wants a number.
fn watched() -> (Numbers, impl Fn(&PolicyInput<'_>, u32) -> u32) {
    let numbers = Numbers::default();
    let kept = std::rc::Rc::clone(&numbers);
    let keep = move |input: &PolicyInput<'_>, wanted: u32| {
        kept.borrow_mut().push(input.fleet.ready());
        wanted
    };
    (numbers, keep)
}
