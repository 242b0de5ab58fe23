use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::*;
use crate::endpoint::{Seat, Standing, Weight};

const WAYS: [Balance; 4] = [Balance::RoundRobin, Balance::Random, Balance::Weighted, Balance::LeastLoaded];

fn id(ordinal: u32) -> EndpointId {
    EndpointId { ordinal, incarnation: 1 }
}

fn seat(ordinal: u32, weight: u16, standing: Standing) -> Seat {
    Seat { id: id(ordinal), weight: Weight::new(weight).unwrap(), standing }
}

fn serving(weights: &[u16]) -> Roster {
    let seats: Vec<_> = (0..).zip(weights).map(|(i, &w)| seat(i, w, Standing::Serving)).collect();
    Roster::new(&seats)
}

fn counts(balance: Balance, roster: &Roster, picks: usize) -> Vec<usize> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut balancer = Balancer::new(balance, roster);
    let mut counts = vec![0; roster.seats().len()];
    for _ in 0..picks {
        let chosen = balancer.pick(roster, &Tried::NONE, &mut rng, |_| Load::IDLE);
        counts[chosen.unwrap()] += 1;
    }
    counts
}

#[test]
fn weighted_interleaves_as_nginx_does() {
    let roster = serving(&[5, 1, 1]);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut balancer = Balancer::new(Balance::Weighted, &roster);
    let order: Vec<_> =
        (0..7).map(|_| balancer.pick(&roster, &Tried::NONE, &mut rng, |_| Load::IDLE).unwrap()).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn random_follows_the_weights() {
    let counts = counts(Balance::Random, &serving(&[3, 1]), 40_000);
    assert!((29_400..30_600).contains(&counts[0]), "{counts:?}");
}

#[test]
fn least_loaded_avoids_the_slow_endpoint() {
    let roster = serving(&[1, 1, 1, 1]);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let mut balancer = Balancer::new(Balance::LeastLoaded, &roster);
    let load = |seat: usize| Load { in_flight: 2, latency_us: if seat == 2 { 80_000.0 } else { 20_000.0 } };
    for _ in 0..1_000 {
        let chosen = balancer.pick(&roster, &Tried::NONE, &mut rng, load);
        assert_ne!(chosen, Some(2), "it loses against every other");
    }
}

#[test]
fn least_loaded_spreads_over_equals() {
    let counts = counts(Balance::LeastLoaded, &serving(&[1; 4]), 40_000);
    assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
}

#[test]
fn weighted_stays_fair_when_endpoints_come_and_go() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (small, large) = (serving(&[2, 1]), serving(&[2, 1, 3]));
    let mut balancer = Balancer::new(Balance::Weighted, &small);
    let mut counts = [0; 3];
    for round in 0..600 {
        let roster = if round % 2 == 0 { &small } else { &large };
        balancer.adopt(Balance::Weighted, roster);
        let chosen = balancer.pick(roster, &Tried::NONE, &mut rng, |_| Load::IDLE);
        counts[chosen.unwrap()] += 1;
        assert_eq!(balancer.credits.iter().map(|c| c.amount).sum::<i64>(), 0);
    }
    assert!(counts.iter().all(|&c| c > 50), "{counts:?}");
}

fn standings() -> impl Strategy<Value = Standing> {
    prop_oneof![Just(Standing::Serving), Just(Standing::Ejected), Just(Standing::Draining)]
}

prop_compose! {
    fn rosters()(seats in prop::collection::vec((1u16..200, standings()), 0..12)) -> Roster {
        let seats: Vec<_> = (0..).zip(seats).map(|(i, (w, s))| seat(i, w, s)).collect();
        Roster::new(&seats)
    }
}

proptest! {
    #[test]
    fn weighted_is_exact_over_each_full_round(weights in prop::collection::vec(1u16..40, 1..10), rounds in 1usize..4) {
        let total: usize = weights.iter().map(|&w| usize::from(w)).sum();
        let counts = counts(Balance::Weighted, &serving(&weights), total * rounds);
        let expected: Vec<_> = weights.iter().map(|&w| usize::from(w) * rounds).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn weighted_is_never_far_from_its_share(weights in prop::collection::vec(1u16..40, 1..10), picks in 1usize..200) {
        let total: usize = weights.iter().map(|&w| usize::from(w)).sum();
        let counts = counts(Balance::Weighted, &serving(&weights), picks);
        for (count, weight) in counts.iter().zip(&weights) {
            let share = picks as f64 * f64::from(*weight) / total as f64;
            prop_assert!((*count as f64 - share).abs() < weights.len() as f64, "{} of {}", count, share);
        }
    }

    #[test]
    fn round_robin_differs_by_at_most_one(n in 1usize..12, picks in 0usize..200) {
        let counts = counts(Balance::RoundRobin, &serving(&vec![1; n]), picks);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    }

    #[test]
    fn never_a_draining_one_and_an_ejected_one_only_in_need(
        roster in rosters(), way in 0usize..4, seed: u64, tried_mask: u16,
    ) {
        let mut tried = Tried::NONE;
        (0..12).filter(|i| tried_mask & (1 << i) != 0).take(8).for_each(|i| tried.add(id(i)));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut balancer = Balancer::new(WAYS[way], &roster);
        let open = |standing| roster.seats().iter().filter(move |s| s.standing == standing && !tried.contains(s.id)).count();
        for _ in 0..20 {
            let chosen = balancer.pick(&roster, &tried, &mut rng, |seat| Load { in_flight: seat as u32, latency_us: 9.0 });
            match chosen.map(|i| roster.seats()[i]) {
                None => prop_assert_eq!(open(Standing::Serving) + open(Standing::Ejected), 0),
                Some(seat) => {
                    prop_assert!(!tried.contains(seat.id));
                    match seat.standing {
                        Standing::Serving => {}
                        Standing::Ejected => prop_assert!(roster.is_panicking() || open(Standing::Serving) == 0),
                        Standing::Draining => prop_assert!(false, "draining was chosen"),
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_seed_chooses_the_same(roster in rosters(), way in 0usize..4, seed: u64) {
        let run = || -> Vec<_> {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut balancer = Balancer::new(WAYS[way], &roster);
            (0..50).map(|_| balancer.pick(&roster, &Tried::NONE, &mut rng, |_| Load::IDLE)).collect()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn every_healthy_endpoint_is_reached(n in 1usize..8, way in 0usize..4) {
        let counts = counts(WAYS[way], &serving(&vec![1; n]), 400 * n);
        prop_assert!(counts.iter().all(|&c| c > 0), "{:?}", counts);
    }
}

#[test]
fn panic_begins_below_half() {
    let mixed = |healthy: u32, ejected: u32| {
        let seats: Vec<_> = (0..healthy)
            .map(|i| seat(i, 1, Standing::Serving))
            .chain((0..ejected).map(|i| seat(100 + i, 1, Standing::Ejected)))
            .collect();
        Roster::new(&seats).is_panicking()
    };
    assert!(!mixed(1, 1), "half is enough");
    assert!(mixed(1, 2));
    assert!(mixed(0, 1));
    assert!(!mixed(0, 0));
}
