use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_secs(15);
const DAY: u32 = 5760;

fn policy(price: Option<f64>, limits: Limits) -> SloFirst {
    let price = price.map(|price| Price::of(price).expect("it is above 0"));
    let objective = Objective::of(0.999).expect("it is a share");
    SloFirst::new(objective, price, (60 * SECOND, TICK), limits).expect("a minute can be forecast")
}

fn limits() -> Limits {
    Limits { stabilization: Duration::ZERO, growth: None, bounds: (1, 100) }
}

fn moment(tick: u32, load: f64, wanted: u32) -> Moment {
    Moment { now: TICK * tick, load: Some(load), waiting: 0.0, is_broken: false, wanted }
}

/// Tells the policy the load of each tick of `ticks`, and answers with what it wanted at each.
fn told(policy: &mut SloFirst, ticks: std::ops::Range<u32>, load_at: impl Fn(u32) -> f64) -> Vec<Sizing> {
    let mut wanted = 10;
    ticks
        .map(|tick| {
            let sizing = policy.size(&moment(tick + 1, load_at(tick), wanted), &PerReplica(10.0));
            wanted = sizing.replicas;
            sizing
        })
        .collect()
}

/// Office hours with some noise that is the same in every run.
fn office(tick: u32) -> f64 {
    let minute = tick / 4;
    let noise = f64::from(minute.wrapping_mul(2_654_435_761) >> 20) / 4096.0;
    let level = if (480..1020).contains(&(minute % 1440)) { 400.0 } else { 40.0 };
    level * (0.95 + 0.1 * noise)
}

#[test]
fn a_steady_load_is_carried_nearly_without_slack() {
    let mut policy = policy(None, limits());
    let sizings = told(&mut policy, 0..DAY, |_| 95.0);
    assert_eq!(sizings[0].reactive, 14, "nothing is known yet: 0.7 of the capacity is used");
    let last = sizings.last().expect("there are many");
    assert!((10..=11).contains(&last.replicas), "{last:?}");
}

#[test]
fn it_grows_before_a_rise_that_it_has_seen_before() {
    let mut policy = policy(None, limits());
    told(&mut policy, 0..6 * DAY, office);
    // The load rises with tick 1920 of the day; what is wanted a minute before is ready by then.
    let rise = 6 * DAY + 1920;
    let sizings = told(&mut policy, 6 * DAY..rise, office);
    let ready = sizings[sizings.len() - 4];
    assert!(ready.floor >= 30 && ready.reactive < 10, "{ready:?}");
    assert_eq!(ready.by, Some(Model::Blend));
}

#[test]
fn a_dearer_violation_buys_more_replicas() {
    let at = |price: f64| {
        let mut policy = policy(Some(price), limits());
        told(&mut policy, 0..2 * DAY, |tick| office(tick) * (1.0 + f64::from(tick / 4 % 3)));
        told(&mut policy, 2 * DAY..2 * DAY + 2400, office).last().expect("there are many").floor
    };
    let numbers = [0.3, 30.0, 1000.0].map(at);
    assert!(numbers[0] < numbers[1] && numbers[1] < numbers[2], "{numbers:?}");
}

#[test]
fn spending_the_budget_raises_the_price_up_to_a_bound() {
    let mut policy = policy(None, limits());
    let unspent = policy.size(&moment(1, 100.0, 10), &PerReplica(10.0)).price;
    for tick in 2..200 {
        policy.size(&Moment { is_broken: true, ..moment(tick, 100.0, 10) }, &PerReplica(10.0));
    }
    let spent = policy.size(&moment(200, 100.0, 10), &PerReplica(10.0)).price;
    assert!(
        (unspent.0 - 50.0 / 5.0).abs() < 1e-6 && (spent.0 - 50.0 * 2.0).abs() < 1e-6,
        "{unspent:?}, {spent:?}"
    );
}

#[test]
fn what_waits_is_carried_away_within_a_decision() {
    let mut policy = policy(None, limits());
    told(&mut policy, 0..DAY, |_| 100.0);
    let waiting = Moment { waiting: 300.0, ..moment(DAY + 1, 100.0, 10) };
    assert_eq!(policy.size(&waiting, &PerReplica(10.0)).reactive, 12);
}

#[test]
fn what_was_not_measured_stops_nothing() {
    let mut policy = policy(None, limits());
    told(&mut policy, 0..DAY, |_| 100.0);
    for bad in [None, Some(f64::NAN), Some(-1.0), Some(f64::INFINITY)] {
        let blind = Moment { load: bad, waiting: f64::NAN, ..moment(DAY + 1, 0.0, 17) };
        assert_eq!(policy.size(&blind, &PerReplica(10.0)).reactive, 17, "{bad:?}");
    }
}

#[test]
fn limits_hold_what_was_wanted_and_bound_the_growth() {
    let limits = Limits { stabilization: 60 * SECOND, growth: Some(2), bounds: (1, 100) };
    let mut policy = policy(None, limits);
    told(&mut policy, 0..DAY, |_| 100.0);
    let wanted = |policy: &mut SloFirst, tick: u32, load: f64, wanted: u32| {
        policy.size(&moment(DAY + tick, load, wanted), &PerReplica(10.0)).replicas
    };
    assert_eq!(wanted(&mut policy, 1, 900.0, 12), 24, "the double");
    assert_eq!(wanted(&mut policy, 2, 900.0, 1), 3, "two more");
    let held = wanted(&mut policy, 4, 10.0, 90);
    assert!(held >= 90, "{held} within the stabilisation");
}

#[test]
fn an_objective_and_a_price_are_numbers_of_their_range() {
    assert_eq!(Objective::of(1.0), Err(SloError::Objective(1.0)));
    assert!(Objective::of(f64::NAN).is_err() && Price::of(f64::NAN).is_err());
    assert_eq!(Price::of(0.0), Err(SloError::Price(0.0)));
    // A cent for a violation, ten cents for an hour of a replica that carries 50 requests a second.
    assert_eq!(Price::of_costs(0.01, 0.1, 50.0), Price::of(18_000.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_number_is_within_its_bounds_and_carries_the_present_load(
        loads in prop::collection::vec(prop_oneof![6 => 0.0..2000.0f64, 1 => any::<f64>()], 1..300),
        price in 0.1..1e6f64,
    ) {
        let mut policy = policy(Some(price), limits());
        let mut wanted = 1;
        for (tick, &load) in loads.iter().enumerate() {
            let sizing = policy.size(&moment(tick as u32 + 1, load, wanted), &PerReplica(10.0));
            prop_assert!((1..=100).contains(&sizing.replicas));
            prop_assert!((0.0..=1.0).contains(&sizing.risk));
            if (0.0..1000.0).contains(&load) {
                prop_assert!(f64::from(sizing.replicas) * 10.0 >= load, "{sizing:?} for {load}");
            }
            wanted = sizing.replicas;
        }
    }
}

#[test]
fn a_load_that_stays_and_one_that_nearly_does_are_sized_alike() {
    let run = |wobble: f64| {
        let mut policy = policy(None, limits());
        let load = |tick: u32| office(tick) * (1.0 + wobble * f64::from(tick % 4));
        told(&mut policy, 0..2 * DAY, load).iter().map(|sizing| sizing.replicas).collect::<Vec<_>>()
    };
    let (even, uneven) = (run(0.0), run(1e-12));
    let apart = even.iter().zip(&uneven).filter(|(one, other)| one != other).count();
    assert!(apart * 1000 <= even.len(), "{apart} of {} differ", even.len());
}
