//! The policies, on loads with hand-computed results and on random ones.

use std::sync::Arc;
use std::time::Duration;

use fluid::policy::calendar::Calendar;
use fluid::policy::constant::{Constant, Demands};
use fluid::policy::declaration::Declaration;
use fluid::policy::hpa;
use fluid::policy::oracle::Oracle;
use fluid::policy::other_autoscalers;
use fluid::policy::surge::Surge;
use fluid::policy::trend::Trend;
use fluid::world::World;
use fluid::{Capacity, Outcome, Policy, Run, Service, Share, capacity_for, quantile};
use model::identity::Generation;
use model::input::Declared;
use model::resource::Resource;
use model::settings::Settings;
use model::time::Wall;
use proptest::prelude::*;

pub(crate) fn service(capacity: f64) -> Service {
    Service::with_capacity(Capacity::per_second(capacity).expect("above 0"))
}

/// The policy of a service that declares only an SLO of 99.9 %, decided each `tick`.
fn slo_policy(tick: Duration) -> Declaration {
    let resource = serde_json::json!({
        "apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": "shop"},
        "spec": {
            "run": {"command": ["shop"]}, "ports": [{"name": "http"}], "expose": {"listen": "127.0.0.1:80", "port": "http"},
            "scale": {"min": 1, "max": 200, "slo": {"latency": {"quantile": 0.95, "below": "500ms"}, "objective": 0.999}},
        },
    });
    let Ok(Resource::Service(service)) = serde_json::from_value(resource) else { panic!("not a service") };
    let autoscaler = service.autoscaler().expect("the scale section is valid");
    let declared = Declared {
        name: service.name().clone(),
        revision: Generation::default(),
        generation: Generation::default(),
        spec: service.spec,
        autoscaler,
    };
    Declaration::of(Arc::new(declared), Settings::default(), tick)
}

pub(crate) fn run(service: &Service, policy: impl Policy + 'static, loads: &[f64]) -> Outcome {
    let mut run = Run::new(service, policy, World::calm(), Wall::default());
    loads.iter().for_each(|load| run.offer(*load));
    run.finish()
}

/// The desired replicas of each tick.
fn wanted(service: &Service, mut policy: impl Policy + 'static, loads: &[f64]) -> Vec<u32> {
    let numbers = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let recorded = std::rc::Rc::clone(&numbers);
    run(
        service,
        move |input: &fluid::PolicyInput<'_>| {
            let wanted = policy.wanted(input);
            recorded.borrow_mut().push(wanted);
            wanted
        },
        loads,
    );
    numbers.borrow().clone()
}

/// The load of 2 replicas, then of 20, then of 2 again.
fn rectangle() -> Vec<f64> {
    [vec![14.0; 8], vec![140.0; 24], vec![14.0; 40]].concat()
}

#[test]
fn hpa_by_requests_doubles_each_tick_and_stabilizes_for_five_minutes() {
    let service = service(10.0);
    let numbers = wanted(&service, hpa::by_requests(&service), &rectangle());
    assert_eq!(numbers[..8], [2; 8]);
    // It sees the rise a tick late, and adds at most four or 100 %.
    assert_eq!(numbers[8..13], [2, 6, 12, 20, 20]);
    let fall = 32;
    assert_eq!(numbers[fall + 20], 20, "a recommendation of 300 s ago still holds");
    assert_eq!(numbers[fall + 21], 2);
}

#[test]
fn hpa_by_cpu_counts_starting_replicas_as_idle_when_it_scales_out() {
    let service = service(10.0);
    let numbers = wanted(&service, hpa::by_cpu(&service), &rectangle());
    // Saturated replicas propose 1/0.7 times as many, rounded up: 3, 5, 8, 12. With starting ones the mean is within the tolerance.
    assert_eq!(numbers[8..21], [2, 3, 3, 3, 3, 5, 5, 5, 5, 8, 8, 8, 8]);
}

#[test]
fn steps_follow_the_utilization_of_the_last_minute_and_scale_in_after_five_minutes() {
    let service = service(10.0);
    // The load of two replicas, then ten minutes of ten, then twenty of two.
    let loads = [vec![14.0; 8], vec![70.0; 40], vec![14.0; 80]].concat();
    let numbers = wanted(&service, other_autoscalers::step(&service), &loads);
    // Saturated: half more each minute, from 2, 3 and 5; while replicas start, utilization stays high and steps repeat.
    assert!(numbers[8..12] == [2; 4] && numbers[13] == 3, "{numbers:?}");
    let increases = numbers[8..48].windows(2).filter(|pair| pair[1] > pair[0]).map(|pair| (pair[0], pair[1]));
    for (before, after) in increases {
        assert!(after <= before + before.div_ceil(2) && after > before, "{before} to {after}");
    }
    assert!(numbers[47] >= 10, "{numbers:?}");
    assert_eq!(numbers[48..67], [numbers[47]; 19], "five minutes are not over");
    assert!(numbers[127] < numbers[47], "a fifth of the load needs fewer replicas");
}

#[test]
fn target_tracking_acts_after_three_minutes_above_and_fifteen_below_its_target() {
    let service = service(10.0);
    let loads = [vec![14.0; 8], vec![70.0; 80], vec![14.0; 100]].concat();
    let numbers = wanted(&service, other_autoscalers::target_tracking(&service), &loads);
    // The tick after the rise is above the target; twelve ticks later three minutes are over.
    assert_eq!(numbers[8..21], [2; 13]);
    assert!(numbers[21] == 3 && numbers[87] >= 10, "{numbers:?}");
    assert_eq!(numbers[88..149], [numbers[87]; 61]);
    assert_eq!(numbers[149], 2, "fifteen minutes after the first tick below the target");
}

#[test]
fn panic_mode_follows_a_burst_at_once_and_then_the_stable_window() {
    let service = service(10.0);
    let numbers = wanted(&service, other_autoscalers::burst(&service), &rectangle());
    assert_eq!(numbers[..9], [2; 9]);
    // Ten times the load: at most four or 100 % more, although the stable window first has a quarter of it.
    assert_eq!(numbers[9..13], [6, 12, 20, 20]);
    let fall = 32;
    assert_eq!(
        numbers[fall + 1..fall + 6],
        [16, 11, 7, 2, 2],
        "after panic mode the mean of the stable window falls"
    );
}

#[test]
fn an_slo_policy_scales_on_the_offered_load_not_on_the_served_one() {
    let service = service(10.0);
    // Two replicas serve 20 of 140 requests a second, until others are ready after four ticks.
    let loads = [vec![14.0; 4], vec![140.0; 5]].concat();
    assert_eq!(wanted(&service, slo_policy(service.tick), &loads)[3..], [2, 2, 4, 8, 16, 22]);
}

#[test]
fn every_autoscaler_has_a_valid_manifest_for_every_target_and_tick() {
    let autoscalers = [
        hpa::by_cpu,
        hpa::by_requests,
        other_autoscalers::step,
        other_autoscalers::target_tracking,
        other_autoscalers::burst,
    ];
    for (target, tick) in [(0.01, 1), (0.05, 1), (0.5, 60), (0.95, 300), (0.7, 3540), (1.0, 3600)] {
        let service =
            Service { target: Share::of(target).unwrap(), tick: Duration::from_secs(tick), ..service(10.0) };
        for policy in autoscalers {
            let score = run(&service, policy(&service), &rectangle()).score;
            assert!(score.replica_ticks > 0, "{target}, {tick}");
        }
    }
}

#[test]
fn hpa_holds_the_recommendations_of_the_last_five_minutes_at_every_tick() {
    for (tick, held) in [(1, 300), (15, 20), (200, 1), (300, 1), (301, 0), (3600, 0)] {
        let service = Service { tick: Duration::from_secs(tick), start_up: Duration::ZERO, ..service(10.0) };
        let loads = [vec![140.0; 8], vec![14.0; 310]].concat();
        let numbers = wanted(&service, hpa::by_requests(&service), &loads);
        let after_fall = &numbers[9..];
        assert_eq!(
            after_fall.iter().take_while(|wanted| **wanted == 20).count(),
            held,
            "{tick} s: {after_fall:?}"
        );
    }
}

#[test]
fn the_oracle_starts_replicas_exactly_in_time() {
    let service = service(10.0);
    let numbers = wanted(&service, |_: &fluid::PolicyInput<'_>| 0, &rectangle());
    assert_eq!(numbers.len(), rectangle().len());
    let outcome = run(&service, Oracle::exact(&service), &rectangle());
    let elasticity = outcome.score.elasticity();
    assert_eq!((outcome.score.violated_ticks, elasticity.theta_u, elasticity.theta_o), (0, 0.0, 0.0));
    // 18 replicas are billed for the four ticks of their start.
    assert_eq!(outcome.score.replica_ticks, 8 * 2 + 24 * 20 + 40 * 2 + 4 * 18);
    let stable = run(&service, Oracle::stable(&service), &rectangle());
    assert_eq!(stable.score.replica_ticks, outcome.score.replica_ticks + 20 * 18);
    assert!(
        run(&service, Oracle::lean(&service), &rectangle()).score.replica_ticks < outcome.score.replica_ticks
    );
}

#[test]
fn the_best_constants_are_quantiles_and_the_mean_of_the_demand() {
    let mut demands = Demands::of(&service(10.0));
    assert_eq!(
        (demands.peak(), demands.mean(), demands.at_least(0.5)),
        (Constant(1), Constant(1), Constant(1))
    );
    for load in [7.0, 14.0, 21.0, 70.0] {
        demands.count(load);
    }
    assert_eq!((demands.peak(), demands.mean()), (Constant(10), Constant(4)));
    assert_eq!(
        (demands.at_least(0.0), demands.at_least(0.5), demands.at_least(0.95)),
        (Constant(1), Constant(3), Constant(10))
    );
}

#[test]
fn capacity_for_gives_the_capacity_with_which_the_peak_needs_the_given_replicas() {
    let mut loads: Vec<f64> = (0..=100).rev().map(f64::from).collect();
    let p99 = quantile(&mut loads, 0.99).unwrap();
    assert_eq!((p99, quantile(&mut loads, 0.995), quantile(&mut [], 0.5)), (99.0, Some(99.5), None));
    let capacity = capacity_for(p99, 40, Share::of(0.7).unwrap()).unwrap();
    assert_eq!(Service::with_capacity(capacity).demand(p99), 40);
    assert!(
        capacity_for(0.0, 40, Share::WHOLE).is_err() && capacity_for(f64::NAN, 40, Share::WHOLE).is_err()
    );
    assert!(Share::of(0.0).is_err() && Share::of(1.01).is_err() && Share::of(f64::NAN).is_err());
}

#[test]
fn a_demand_of_exactly_n_replicas_is_n() {
    let service = service(0.1);
    for replicas in 1..=200 {
        assert_eq!(service.demand(0.07 * f64::from(replicas)), replicas);
    }
    assert_eq!((service.demand(0.0), service.demand(f64::INFINITY), service.demand(f64::NAN)), (1, 200, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_oracle_never_violates_the_slo_within_the_bounds(
        loads in prop::collection::vec(0.0..1400.0_f64, 1..300), start_up in 0_u64..200,
    ) {
        let mut service = service(10.0);
        service.start_up = std::time::Duration::from_secs(start_up);
        // Nothing can be started before the first tick, so the load must not rise during the first start-up time.
        let constant_first = [vec![loads[0]; service.start_up_ticks() as usize], loads].concat();
        for oracle in [Oracle::exact(&service), Oracle::stable(&service), Oracle::lean(&service)] {
            prop_assert_eq!(run(&service, oracle, &constant_first).score.violated_ticks, 0);
        }
    }

    #[test]
    fn every_policy_stays_within_the_bounds_and_requests_are_conserved(
        loads in prop::collection::vec(0.0..1e5_f64, 1..200), min in 0_u32..4, more in 0_u32..30,
    ) {
        let mut service = service(10.0);
        service.bounds = model::resource::Bounds { min, max: min + more };
        let policies: [Box<dyn Policy>; 3] = [
            Box::new(hpa::by_cpu(&service)), Box::new(hpa::by_requests(&service)), Box::new(Oracle::stable(&service)),
        ];
        for policy in policies {
            let score = run(&service, policy, &loads).score;
            prop_assert!(score.replica_ticks <= loads.len() as u64 * u64::from(min + more));
            prop_assert!(score.replica_ticks >= loads.len() as u64 * u64::from(min));
            prop_assert!(score.requests_violated <= score.requests && score.requests_dropped <= score.requests * 1.000_001);
            let e = score.elasticity();
            for part in [e.theta_u, e.theta_o_of_supply, e.tau_u, e.tau_o, e.instability, e.tau_u + e.tau_o] {
                prop_assert!((0.0..=100.000_001).contains(&part), "{:?}", e);
            }
        }
    }
}

#[test]
fn the_largest_load_gives_finite_figures_with_every_policy() {
    let service = service(10.0);
    let loads = [vec![14.0; 20], vec![fluid::ticks::LOAD_MAX; 40], vec![0.0; 40]].concat();
    let policies: [Box<dyn Policy>; 6] = [
        Box::new(hpa::by_cpu(&service)),
        Box::new(hpa::by_requests(&service)),
        Box::new(Surge::lean(&service)),
        Box::new(Trend::of(&service)),
        Box::new(Calendar::with(&service, hpa::by_requests(&service))),
        Box::new(slo_policy(service.tick)),
    ];
    for policy in policies {
        let score = run(&service, policy, &loads).score;
        let violated = score.violated_requests_percent();
        assert!(violated > 99.9 && violated <= 100.0 && score.requests.is_finite(), "{score:?}");
        assert!(score.elasticity().theta_u.is_finite() && score.replica_ticks > 40 * 50, "{score:?}");
    }
}

/// Three days of 100 quiet ticks and 100 busy ones, 28 times a day, with 160 ticks left at its end.
fn days() -> Vec<f64> {
    let day: Vec<f64> =
        (0..5760).map(|tick| if tick % 200 < 100 || tick >= 5600 { 14.0 } else { 140.0 }).collect();
    [day.clone(), day.clone(), day].concat()
}

#[test]
fn the_calendar_repeats_previous_days_with_ten_minutes_of_tolerance() {
    let service = service(10.0);
    let numbers = wanted(&service, Calendar::alone(&service, Constant(3)), &days());
    assert!(numbers[..5760].iter().all(|number| *number == 3), "the other policy decides on the first day");
    let day = &numbers[5760..2 * 5760];
    // Ten minutes are 40 ticks: busy from tick 60 of 200 to tick 40 of the next.
    assert_eq!((day[39], day[41], day[59], day[60], day[99], day[239], day[240]), (2, 2, 2, 20, 20, 20, 2));
    assert_eq!((day[5600 + 38], day[5600 + 40]), (20, 2));
    let with = wanted(&service, Calendar::with(&service, Constant(3)), &days());
    assert_eq!((with[5760 + 39], with[5760 + 60]), (3, 20), "the larger of both");
}

#[test]
fn the_trend_anticipates_a_steady_rise() {
    let service = service(10.0);
    let loads: Vec<f64> = (0..240).map(|tick| 7.0 * f64::from(tick)).collect();
    let numbers = wanted(&service, Trend::of(&service), &loads);
    // The load rises by one replica each tick. After tick 199 the mean of the last whole minute is 198; in two minutes it is 206 or more.
    assert!((200..=200).contains(&numbers[200]) && numbers[150] > 152, "{}, {}", numbers[150], numbers[200]);
    let level = wanted(&service, Trend::of(&service), &[70.0; 60]);
    assert_eq!(level, [10; 60]);
}

#[test]
fn the_surge_reserves_the_rise_during_a_start() {
    let service = service(10.0);
    // Every 20 ticks the load rises by that of two replicas for one tick, which is in the lead time of seven of twenty ticks.
    let loads: Vec<f64> = (0..1000).map(|tick| if tick % 20 == 0 { 21.0 } else { 7.0 }).collect();
    let numbers = wanted(&service, Surge::at_target(&service), &loads);
    assert_eq!(numbers[10], 3, "the peak of tick 0 is within the scale-in window");
    assert_eq!(numbers[239], 3);
    assert!(numbers[300..].contains(&5), "the reserve is added to every load");
    assert!(numbers[300..].iter().all(|number| *number >= 3));
}

/// Days of office hours with a burst of a quarter of an hour at noon; the load is constant for a minute each.
fn office_hours_with_burst(days: usize) -> Vec<f64> {
    let minute = |minute: usize| match minute % 1440 {
        720..735 => 600.0,
        480..1020 => 200.0,
        _ => 20.0,
    };
    (0..days * 5760).map(|tick| minute(tick / 4) * (1.0 + 0.01 * ((tick / 4 * 37) % 11) as f64)).collect()
}

#[test]
fn slo_first_has_fewer_violations_at_lower_cost_than_hpa_where_days_repeat() {
    let service = service(10.0);
    let loads = office_hours_with_burst(6);
    let policy = || slo_policy(service.tick);
    let (slo, hpa) = (run(&service, policy(), &loads), run(&service, hpa::by_requests(&service), &loads));
    let (slo_score, hpa_score) = (&slo.score, &hpa.score);
    assert!(slo_score.requests_violated < hpa_score.requests_violated, "{slo_score:?}\n{hpa_score:?}");
    assert!(slo_score.replica_hours() < hpa_score.replica_hours(), "{slo_score:?}\n{hpa_score:?}");
    assert_eq!(slo, run(&service, policy(), &loads), "a run is deterministic");
}
