use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::*;
use crate::endpoint::{Candidate, Status, Weight};
use crate::slow_start::SlowStart;

const POLICIES: [Balance; 5] =
    [Balance::RoundRobin, Balance::Random, Balance::Weighted, Balance::LeastLoaded, Balance::ConsistentHash];

fn id(ordinal: u32) -> EndpointId {
    EndpointId { ordinal, incarnation: 1 }
}

fn candidate(ordinal: u32, weight: u16, status: Status) -> Candidate {
    Candidate { status, ..Candidate::new(id(ordinal), Weight::new(weight).unwrap()) }
}

fn serving(weights: &[u16]) -> EndpointSet {
    let candidates: Vec<_> = (0..).zip(weights).map(|(i, &w)| candidate(i, w, Status::Serving)).collect();
    EndpointSet::new(&candidates)
}

fn counts(balance: Balance, endpoints: &EndpointSet, picks: usize) -> Vec<usize> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut balancer = Balancer::new(balance, endpoints);
    let mut counts = vec![0; endpoints.candidates().len()];
    for _ in 0..picks {
        let chosen = balancer.pick(endpoints, &Tried::NONE, &mut rng, || 7, |_| Load::IDLE);
        counts[chosen.unwrap()] += 1;
    }
    counts
}

#[test]
fn candidates_outside_the_selection_are_never_picked() {
    let endpoints = serving(&[1; 100]);
    for policy in POLICIES {
        let mut balancer = Balancer::new(policy, &endpoints);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut pick = |tried: &Tried, selected: &[usize]| {
            balancer.pick_among(
                &endpoints,
                tried,
                &mut rng,
                || 7,
                |_| Load::IDLE,
                |candidate| selected.contains(&candidate),
            )
        };
        assert!((0..200).all(|_| [Ok(20), Ok(97)].contains(&pick(&Tried::NONE, &[20, 97]))), "{policy:?}");
        let mut tried = Tried::NONE;
        tried.add(id(20));
        assert_eq!(pick(&tried, &[20, 97]), Ok(97), "{policy:?}");
        assert_eq!(pick(&tried, &[20]), Err(PickError::Exhausted), "{policy:?}");
    }
}

#[test]
fn weighted_interleaves_as_nginx_does() {
    let endpoints = serving(&[5, 1, 1]);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut balancer = Balancer::new(Balance::Weighted, &endpoints);
    let order: Vec<_> = (0..7)
        .map(|_| balancer.pick(&endpoints, &Tried::NONE, &mut rng, || 7, |_| Load::IDLE).unwrap())
        .collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn random_follows_the_weights() {
    let counts = counts(Balance::Random, &serving(&[3, 1]), 40_000);
    assert!((29_400..30_600).contains(&counts[0]), "{counts:?}");
}

#[test]
fn least_loaded_avoids_the_slow_endpoint() {
    let endpoints = serving(&[1, 1, 1, 1]);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let mut balancer = Balancer::new(Balance::LeastLoaded, &endpoints);
    let load = |candidate: usize| Load {
        in_flight: 2,
        latency_us: if candidate == 2 { 80_000.0 } else { 20_000.0 },
    };
    for _ in 0..1_000 {
        let chosen = balancer.pick(&endpoints, &Tried::NONE, &mut rng, || 7, load);
        assert_ne!(chosen, Ok(2), "it loses every comparison");
    }
}

#[test]
fn least_loaded_spreads_evenly_over_equal_endpoints() {
    let counts = counts(Balance::LeastLoaded, &serving(&[1; 4]), 40_000);
    assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
}

#[test]
fn weighted_stays_fair_while_endpoints_are_added_and_removed() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (small, large) = (serving(&[2, 1]), serving(&[2, 1, 3]));
    let mut balancer = Balancer::new(Balance::Weighted, &small);
    let mut counts = [0; 3];
    for round in 0..600 {
        let endpoints = if round % 2 == 0 { &small } else { &large };
        balancer.adopt(Balance::Weighted, endpoints);
        let chosen = balancer.pick(endpoints, &Tried::NONE, &mut rng, || 7, |_| Load::IDLE);
        counts[chosen.unwrap()] += 1;
        assert_eq!(balancer.near.credits.iter().map(|c| c.amount).sum::<i64>(), 0);
    }
    assert!(counts.iter().all(|&c| c > 50), "{counts:?}");
}

/// Three endpoints at full weight, and one that became ready `age` seconds ago with a slow start of ten seconds.
fn with_ramping_endpoint(age: u64) -> EndpointSet {
    let ramp = SlowStart::over(Duration::from_secs(10)).ramp(Duration::ZERO, Duration::from_secs(age));
    let mut candidates = [0, 1, 2, 3].map(|i| candidate(i, 1, Status::Serving));
    candidates[3].ramp = ramp;
    EndpointSet::new(&candidates)
}

#[test]
fn a_ramping_endpoint_gets_a_part_of_its_share_under_every_policy() {
    for policy in [Balance::RoundRobin, Balance::Random, Balance::Weighted, Balance::LeastLoaded] {
        for (age, share) in [(0, 0.1), (5, 0.5)] {
            let counts = counts(policy, &with_ramping_endpoint(age), 31_000);
            let (ramping, others) = (counts[3] as f64, counts[..3].iter().sum::<usize>() as f64 / 3.0);
            // A draw of two that rejects the ramping endpoint goes to another one, which makes the part a little smaller.
            let tolerance = if policy == Balance::LeastLoaded { 0.1 } else { 0.035 };
            assert!((ramping / others - share).abs() < tolerance, "{policy:?} after {age} s: {counts:?}");
        }
        let counts = counts(policy, &with_ramping_endpoint(10), 31_000);
        assert!(counts.iter().all(|c| (7_000..8_500).contains(c)), "{policy:?}: {counts:?}");
    }
}

#[test]
fn round_robin_follows_different_weights_evenly_interleaved() {
    let endpoints = serving(&[5, 1, 1]);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut balancer = Balancer::new(Balance::RoundRobin, &endpoints);
    let pick = || balancer.pick(&endpoints, &Tried::NONE, &mut rng, || 7, |_| Load::IDLE).unwrap();
    let order: Vec<_> = std::iter::repeat_with(pick).take(7).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(counts(Balance::RoundRobin, &serving(&[3, 3]), 10), [5, 5]);
}

#[test]
fn a_ramping_endpoint_of_two_gets_only_its_part_under_least_loaded() {
    let mut candidates = [0, 1].map(|i| candidate(i, 1, Status::Serving));
    candidates[1].ramp = Ramp::FLOOR;
    let endpoints = EndpointSet::new(&candidates);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut balancer = Balancer::new(Balance::LeastLoaded, &endpoints);
    // Idle and without a latency, it would win every comparison.
    let load = |candidate: usize| {
        if candidate == 1 { Load::IDLE } else { Load { in_flight: 9, latency_us: 5_000.0 } }
    };
    let picks = (0..10_000)
        .filter(|_| balancer.pick(&endpoints, &Tried::NONE, &mut rng, || 7, load) == Ok(1))
        .count();
    assert!((850..1_150).contains(&picks), "{picks}");
}

#[test]
fn endpoints_with_the_same_ramp_share_equally() {
    let candidates = [0, 1, 2].map(|i| Candidate { ramp: Ramp::FLOOR, ..candidate(i, 1, Status::Serving) });
    for policy in POLICIES.into_iter().take(4) {
        let counts = counts(policy, &EndpointSet::new(&candidates), 9_000);
        assert!(counts.iter().all(|c| (2_800..3_200).contains(c)), "{policy:?}: {counts:?}");
    }
}

#[test]
fn round_robin_is_unweighted_again_after_the_slow_start() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (ramping, full) = (with_ramping_endpoint(0), with_ramping_endpoint(10));
    let mut balancer = Balancer::new(Balance::RoundRobin, &ramping);
    let mut pick = |balancer: &mut Balancer, endpoints: &EndpointSet| {
        balancer.pick(endpoints, &Tried::NONE, &mut rng, || 7, |_| Load::IDLE).unwrap()
    };
    for _ in 0..5 {
        pick(&mut balancer, &ramping);
    }
    balancer.adopt(Balance::RoundRobin, &full);
    let mut round: Vec<_> = (0..4).map(|_| pick(&mut balancer, &full)).collect();
    round.sort_unstable();
    assert_eq!(round, [0, 1, 2, 3]);
}

#[test]
fn ejected_endpoints_get_no_requests_while_healthy_ones_are_full() {
    let candidates = [candidate(0, 1, Status::Serving), candidate(1, 1, Status::Ejected)];
    let endpoints = EndpointSet::new(&candidates).with_in_flight_max(NonZeroU32::new(2));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let load = |candidate: usize| Load { in_flight: if candidate == 0 { 2 } else { 0 }, latency_us: 1.0 };
    for policy in POLICIES {
        let mut balancer = Balancer::new(policy, &endpoints);
        let mut tried = Tried::NONE;
        assert_eq!(
            balancer.pick(&endpoints, &tried, &mut rng, || 7, load),
            Err(PickError::Full),
            "{policy:?}"
        );
        tried.add(id(0));
        assert_eq!(balancer.pick(&endpoints, &tried, &mut rng, || 7, load), Ok(1), "{policy:?}");
        tried.add(id(1));
        assert_eq!(balancer.pick(&endpoints, &tried, &mut rng, || 7, load), Err(PickError::Exhausted));
    }
}

fn statuses() -> impl Strategy<Value = Status> {
    let all = [Status::Serving, Status::Ejected, Status::Draining, Status::Unready];
    prop::sample::select(all.to_vec())
}

fn nearness() -> impl Strategy<Value = Nearness> {
    prop::sample::select(vec![Nearness::Near, Nearness::Far])
}

fn preferred(endpoints: &EndpointSet) -> usize {
    endpoints.group(Nearness::Near).preferred.len() + endpoints.group(Nearness::Far).preferred.len()
}

prop_compose! {
    fn endpoint_sets()(candidates in prop::collection::vec((1u16..200, statuses(), nearness()), 0..12)) -> EndpointSet {
        let candidates: Vec<_> = (0..).zip(candidates).map(|(i, (w, s, nearness))| Candidate { nearness, ..candidate(i, w, s) }).collect();
        EndpointSet::new(&candidates)
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
    fn ejected_endpoints_are_a_last_resort_and_draining_or_unready_ones_are_never_chosen(
        endpoints in endpoint_sets(), policy in 0usize..4, seed: u64, tried_mask: u16,
    ) {
        let mut tried = Tried::NONE;
        (0..12).filter(|i| tried_mask & (1 << i) != 0).take(8).for_each(|i| tried.add(id(i)));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut balancer = Balancer::new(POLICIES[policy], &endpoints);
        let open = |status| endpoints.candidates().iter().filter(move |s| s.status == status && !tried.contains(s.id)).count();
        for _ in 0..20 {
            let chosen = balancer.pick(&endpoints, &tried, &mut rng, || 7, |candidate| Load { in_flight: candidate as u32, latency_us: 9.0 });
            match chosen.map(|i| endpoints.candidates()[i]) {
                Err(error) => {
                    prop_assert_eq!(error, PickError::Exhausted);
                    prop_assert_eq!(open(Status::Serving) + open(Status::Ejected), 0);
                }
                Ok(candidate) => {
                    prop_assert!(!tried.contains(candidate.id));
                    match candidate.status {
                        Status::Serving => {}
                        Status::Ejected => prop_assert!(endpoints.group(candidate.nearness).is_panicking || open(Status::Serving) == 0),
                        Status::Draining | Status::Unready => prop_assert!(false, "{:?} was chosen", candidate.status),
                    }
                }
            }
        }
    }

    #[test]
    fn no_endpoint_exceeds_its_limit_and_requests_are_refused_only_when_all_are_full(
        endpoints in endpoint_sets(), policy in 0usize..5, seed: u64, max in 1u32..6,
    ) {
        let endpoints = endpoints.with_in_flight_max(NonZeroU32::new(max));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut balancer = Balancer::new(POLICIES[policy], &endpoints);
        let mut in_flight = vec![0u32; endpoints.candidates().len()];
        let capacity = preferred(&endpoints) * max as usize;
        for request in 0..capacity + 3 {
            let load = |candidate: usize| Load { in_flight: in_flight[candidate], latency_us: 1.0 };
            match balancer.pick(&endpoints, &Tried::NONE, &mut rng, || request as u64, load) {
                Ok(candidate) => in_flight[candidate] += 1,
                Err(PickError::Full) => prop_assert!(request >= capacity, "{request} of {capacity}"),
                Err(PickError::Exhausted) => prop_assert!(endpoints.is_empty()),
            }
        }
        prop_assert!(in_flight.iter().all(|&n| n <= max), "{in_flight:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_picks(endpoints in endpoint_sets(), policy in 0usize..4, seed: u64) {
        let run = || -> Vec<_> {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut balancer = Balancer::new(POLICIES[policy], &endpoints);
            (0..50).map(|_| balancer.pick(&endpoints, &Tried::NONE, &mut rng, || 7, |_| Load::IDLE)).collect()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn every_healthy_endpoint_is_reached(n in 1usize..8, policy in 0usize..4) {
        let counts = counts(POLICIES[policy], &serving(&vec![1; n]), 400 * n);
        prop_assert!(counts.iter().all(|&c| c > 0), "{:?}", counts);
    }
}

/// Four endpoints near and four far, some of which are ejected.
fn two_zones(ejected_near: u32, ejected_far: u32) -> EndpointSet {
    let side = |from: u32, ejected: u32, nearness| {
        (from..from + 4).map(move |i| {
            let status = if i < from + ejected { Status::Ejected } else { Status::Serving };
            Candidate { nearness, ..candidate(i, 1, status) }
        })
    };
    let candidates: Vec<_> =
        side(0, ejected_near, Nearness::Near).chain(side(4, ejected_far, Nearness::Far)).collect();
    EndpointSet::new(&candidates)
}

fn count_near(balance: Balance, endpoints: &EndpointSet, picks: u64) -> u64 {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut balancer = Balancer::new(balance, endpoints);
    let mut is_near = |request: u64| {
        let key = || crate::hash_key(&request.to_le_bytes());
        let chosen = balancer.pick(endpoints, &Tried::NONE, &mut rng, key, |_| Load::IDLE).unwrap();
        endpoints.candidates()[chosen].nearness == Nearness::Near
    };
    (0..picks).filter(|&request| is_near(request)).count() as u64
}

#[test]
fn requests_stay_near_and_spill_over_as_health_falls_under_every_policy() {
    for policy in POLICIES {
        for (ejected, percent) in [(0, 100), (1, 100), (2, 70), (3, 35), (4, 0)] {
            let near = count_near(policy, &two_zones(ejected, 0), 10_000);
            assert!(
                near.abs_diff(percent * 100) < 200,
                "{policy:?}: {near} of 10,000 with {ejected} of 4 ejected"
            );
        }
    }
}

#[test]
fn no_zone_panics_while_the_other_has_capacity() {
    assert!(!two_zones(4, 0).is_panicking());
    assert!(!two_zones(3, 1).is_panicking());
    assert!(two_zones(3, 3).is_panicking(), "a quarter of each side is too few");
    assert!(two_zones(4, 4).is_panicking());
}

#[test]
fn equal_keys_stay_in_their_zone() {
    let (endpoints, mut rng) = (two_zones(2, 0), Xoshiro256PlusPlus::seed_from_u64(5));
    let mut balancer = Balancer::new(Balance::ConsistentHash, &endpoints);
    for key in (0u64..200).map(|key| crate::hash_key(&key.to_le_bytes())) {
        let mut pick = || balancer.pick(&endpoints, &Tried::NONE, &mut rng, || key, |_| Load::IDLE);
        let first = pick();
        assert!((0..20).all(|_| pick() == first));
    }
}

#[test]
fn a_full_zone_spills_over_and_retries_go_to_the_other_zone() {
    let endpoints = two_zones(0, 0).with_in_flight_max(NonZeroU32::new(1));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    for policy in POLICIES {
        let mut balancer = Balancer::new(policy, &endpoints);
        let full = |candidate: usize| Load { in_flight: u32::from(candidate < 4), latency_us: 1.0 };
        let chosen = balancer.pick(&endpoints, &Tried::NONE, &mut rng, || 7, full).unwrap();
        assert!(chosen >= 4, "{policy:?}");
        let mut tried = Tried::NONE;
        (0..4).for_each(|i| tried.add(id(i)));
        assert!(
            balancer.pick(&endpoints, &tried, &mut rng, || 7, |_| Load::IDLE).unwrap() >= 4,
            "{policy:?}"
        );
    }
}

#[test]
fn unready_replicas_count_as_unhealthy_for_their_zone() {
    let unready = |i| candidate(i, 1, Status::Unready);
    let far = Candidate { nearness: Nearness::Far, ..candidate(9, 1, Status::Serving) };
    let endpoints = EndpointSet::new(&[candidate(0, 1, Status::Serving), unready(1), far]);
    assert_eq!(endpoints.near_share().hundredths_of_percent(), 7_000);
    let draining = candidate(1, 1, Status::Draining);
    let endpoints = EndpointSet::new(&[candidate(0, 1, Status::Serving), draining, far]);
    assert_eq!(endpoints.near_share(), Share::WHOLE, "a draining endpoint is not unhealthy");
}

#[test]
fn panic_begins_below_half() {
    let mixed = |healthy: u32, ejected: u32| {
        let candidates: Vec<_> = (0..healthy)
            .map(|i| candidate(i, 1, Status::Serving))
            .chain((0..ejected).map(|i| candidate(100 + i, 1, Status::Ejected)))
            .collect();
        EndpointSet::new(&candidates).is_panicking()
    };
    assert!(!mixed(1, 1), "half is enough");
    assert!(mixed(1, 2));
    assert!(mixed(0, 1));
    assert!(!mixed(0, 0));
}
