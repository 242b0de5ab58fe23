//! The elasticity metrics against hand-computed figures.

use fluid::policy::hpa;
use fluid::world::World;
use fluid::{PolicyInput, Run};
use model::time::Wall;

use crate::policies::{run, service};

#[test]
fn the_elasticity_metrics_match_their_formulas() {
    // Demands 2, 4, 4, 2, 1 against supplies 2, 2, 4, 4, 1.
    let mut service = service(10.0);
    service.start_up = std::time::Duration::ZERO;
    let supply = [2, 2, 4, 4, 1];
    let loads = [14.0, 28.0, 28.0, 14.0, 7.0];
    let score = run(&service, move |input: &PolicyInput<'_>| supply[input.tick as usize], &loads).score;
    let e = score.elasticity();
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(e.theta_u, 100.0 / 5.0 * (2.0 / 4.0)), "{e:?}");
    assert!(close(e.theta_o, 100.0 / 5.0 * (2.0 / 2.0)), "{e:?}");
    assert!(close(e.theta_o_of_supply, 100.0 / 5.0 * (2.0 / 4.0)), "{e:?}");
    assert!(close(e.tau_u, 20.0) && close(e.tau_o, 20.0), "{e:?}");
    // Demand: up, same, down, down. Supply: same, up, same, down. They agree once in four.
    assert!(close(e.instability, 75.0), "{e:?}");
    assert_eq!((score.replica_ticks, score.starts, score.actions), (13, 2, 2));
    assert!(close(score.replica_hours(), 13.0 * 15.0 / 3600.0));

    let constant = run(&service, |_: &PolicyInput<'_>| 3, &loads).score.elasticity();
    let ratios = (constant.theta_u / e.theta_u)
        * (constant.theta_o / e.theta_o)
        * (constant.tau_u / e.tau_u)
        * (constant.tau_o / e.tau_o);
    assert!(close(e.speed_up_over(&constant), ratios.powf(0.25)));
    assert_eq!(e.speed_up_over(&e), 1.0);
}

#[test]
fn the_error_budget_is_what_the_objective_leaves() {
    let score = run(&service(10.0), |_: &PolicyInput<'_>| 1, &[5.0, 5.0, 5.0, 25.0]).score;
    assert_eq!(score.violated_requests_percent(), 62.5);
    assert!((score.budget_used(0.9).unwrap() - 6.25).abs() < 1e-9);
    assert_eq!(score.budget_used(1.0), None);
}

#[test]
fn scoring_a_part_keeps_the_history_before_it() {
    let service = service(10.0);
    let loads: Vec<f64> = (0..20_000).map(|tick| if tick % 500 < 60 { 140.0 } else { 14.0 }).collect();
    let score = |from: u64| {
        let mut run =
            Run::new(&service, hpa::by_requests(&service), World::calm(), Wall::default()).scored_from(from);
        loads.iter().for_each(|load| run.offer(*load));
        run.finish().score
    };
    let (half, later) = (score(10_000), score(10_001));
    assert_eq!(
        (half.ticks, later.ticks),
        (10_000, 9_999),
        "the first day is excluded only without a given start"
    );
    assert!(half.requests - later.requests == 140.0 * 15.0, "tick 10,000 is in a burst");
    assert_eq!(score(0).ticks, 20_000 - 5760);
    assert!(half.violated_ticks > 0 && half.violated_ticks * 2 < loads.len() as u64);
    // The part begins with the replicas of the part before, so that nothing is started.
    assert_eq!(score(19_990).starts, 0);
}
