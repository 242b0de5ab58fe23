use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::endpoint::{Candidate, EndpointId, Tried, Weight};
use crate::slow_start::SlowStart;
use crate::zone::Nearness;

fn endpoints(ordinals: impl IntoIterator<Item = u32>) -> EndpointSet {
    let candidates: Vec<_> = ordinals
        .into_iter()
        .map(|ordinal| Candidate::new(EndpointId { ordinal, incarnation: 1 }, Weight::ONE))
        .collect();
    EndpointSet::new(&candidates)
}

/// The ordinal of the endpoint of each of `keys` keys, while all endpoints are idle.
fn ordinals_of_keys(endpoints: &EndpointSet, keys: u64) -> Vec<u32> {
    let ring = Ring::of(endpoints, endpoints.group(Nearness::Near));
    let ordinal = |key: u64| {
        let at = ring
            .pick(endpoints, endpoints.group(Nearness::Near), |_| true, hash_key(&key.to_le_bytes()), |_| 0)
            .unwrap();
        endpoints.candidate(endpoints.group(Nearness::Near).preferred[at]).id.ordinal
    };
    (0..keys).map(ordinal).collect()
}

#[test]
fn a_new_endpoint_takes_its_share_of_keys_and_moves_no_others() {
    let (before, after) =
        (ordinals_of_keys(&endpoints(0..9), 20_000), ordinals_of_keys(&endpoints(0..10), 20_000));
    let moved: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
    assert!(moved.iter().all(|(_, ordinal)| **ordinal == 9), "keys moved between old endpoints");
    assert!((1_400..2_600).contains(&moved.len()), "{} of 20,000 moved", moved.len());
}

#[test]
fn a_removed_endpoint_gives_up_its_keys_and_moves_no_others() {
    let (before, after) = (
        ordinals_of_keys(&endpoints(0..10), 20_000),
        ordinals_of_keys(&endpoints((0..10).filter(|o| *o != 4)), 20_000),
    );
    assert!(before.iter().zip(&after).all(|(b, a)| b == a || *b == 4));
}

#[test]
fn a_restarted_replica_keeps_its_keys() {
    let candidate = |ordinal, incarnation| Candidate::new(EndpointId { ordinal, incarnation }, Weight::ONE);
    let (old, new) = (
        EndpointSet::new(&[candidate(0, 1), candidate(1, 1)]),
        EndpointSet::new(&[candidate(0, 1), candidate(1, 7)]),
    );
    assert_eq!(ordinals_of_keys(&old, 1_000), ordinals_of_keys(&new, 1_000));
}

#[test]
fn a_request_for_which_no_endpoint_is_open_looks_at_each_once() {
    let endpoints = endpoints(0..100);
    let group = endpoints.group(Nearness::Near);
    let looks = std::cell::Cell::new(0);
    let is_open = |_: &u32| {
        looks.set(looks.get() + 1);
        false
    };
    assert_eq!(Ring::of(&endpoints, group).pick(&endpoints, group, is_open, 7, |_| 1), None);
    assert_eq!(looks.get(), 100);
}

#[test]
fn shares_follow_the_weights() {
    let weights = [1, 3].map(|w| Weight::new(w).unwrap());
    let candidates = [0u32, 1]
        .map(|ordinal| Candidate::new(EndpointId { ordinal, incarnation: 1 }, weights[ordinal as usize]));
    let heavy = ordinals_of_keys(&EndpointSet::new(&candidates), 20_000)
        .into_iter()
        .filter(|&ordinal| ordinal == 1)
        .count();
    assert!((13_500..16_500).contains(&heavy), "{heavy} of 20,000");
}

#[test]
fn keys_move_once_to_an_endpoint_as_it_ramps_up() {
    let slow = SlowStart::over(Duration::from_secs(10));
    let at = |second| {
        let ramp = slow.ramp(Duration::ZERO, Duration::from_secs(second));
        let candidate = |ordinal| Candidate::new(EndpointId { ordinal, incarnation: 1 }, Weight::ONE);
        ordinals_of_keys(
            &EndpointSet::new(&[candidate(0), candidate(1), Candidate { ramp, ..candidate(2) }]),
            10_000,
        )
    };
    let mut before = at(0);
    for second in 1..=10 {
        let after = at(second);
        assert!(before.iter().zip(&after).all(|(b, a)| b == a || *a == 2), "a key moved elsewhere");
        before = after;
    }
    let share = |ordinals: &[u32]| ordinals.iter().filter(|&&ordinal| ordinal == 2).count();
    assert!((200..800).contains(&share(&at(0))), "{}", share(&at(0)));
    assert!(share(&before) > 2_700, "{}", share(&before));
}

proptest! {
    /// Many requests with one key: no endpoint exceeds the bound, and all requests are placed.
    #[test]
    fn a_hot_key_overloads_no_endpoint(count in 1u32..20, requests in 1u64..400, key: u64) {
        let endpoints = endpoints(0..count);
        let ring = Ring::of(&endpoints, endpoints.group(Nearness::Near));
        let mut in_flight = vec![0u32; count as usize];
        for placed in 0..requests {
            let at = ring.pick(&endpoints, endpoints.group(Nearness::Near), |_| true, key, |candidate| in_flight[candidate]).unwrap();
            in_flight[at] += 1;
            let bound = ((placed + 1) * LOAD_PERCENT_MAX).div_ceil(u64::from(count) * 100);
            prop_assert!(u64::from(in_flight[at]) <= bound, "{in_flight:?} after {} requests", placed + 1);
        }
    }

    #[test]
    fn an_endpoint_that_was_tried_is_not_chosen_again(count in 1u32..4, key: u64) {
        let endpoints = endpoints(0..count);
        let ring = Ring::of(&endpoints, endpoints.group(Nearness::Near));
        let mut tried = Tried::NONE;
        for _ in 0..count {
            let at = ring.pick(&endpoints, endpoints.group(Nearness::Near), |&i| !tried.contains(endpoints.candidate(i).id), key, |_| 0).unwrap();
            let id = endpoints.candidate(endpoints.group(Nearness::Near).preferred[at]).id;
            prop_assert!(!tried.contains(id));
            tried.add(id);
        }
        prop_assert_eq!(ring.pick(&endpoints, endpoints.group(Nearness::Near), |&i| !tried.contains(endpoints.candidate(i).id), key, |_| 0), None);
    }
}
