use proptest::prelude::*;

use super::*;

fn near_share(near: (u32, u32), far: (u32, u32)) -> u16 {
    let health = |(healthy, all)| Health { healthy, all };
    split(health(near), health(far)).near.hundredths_of_percent()
}

/// The rows with two levels of the table in Envoy's documentation of priority levels: healthy at P=0, healthy at P=1, traffic to P=0.
#[test]
fn shares_match_envoys_table() {
    for (near_healthy, far_healthy, share) in [
        (100, 100, 10_000),
        (72, 72, 10_000),
        (71, 71, 9_940),
        (50, 50, 7_000),
        (25, 100, 3_500),
        (25, 25, 5_000),
        (0, 100, 0),
        (5, 0, 10_000),
    ] {
        let found = near_share((near_healthy, 100), (far_healthy, 100));
        assert_eq!(found, share, "{near_healthy} % and {far_healthy} % are healthy");
    }
}

#[test]
fn without_healthy_endpoints_shares_follow_their_numbers() {
    assert_eq!(near_share((0, 1), (0, 3)), 2_500);
    assert_eq!(near_share((0, 0), (0, 3)), 0);
    assert_eq!(near_share((0, 3), (0, 0)), 10_000);
    assert_eq!(near_share((0, 0), (0, 0)), 10_000);
}

#[test]
fn the_only_healthy_endpoint_of_many_still_gets_requests() {
    assert_eq!(near_share((1, 20_000), (20_000, 20_000)), 1);
    assert_eq!(near_share((1, 20_000), (1, 20_000)), 5_000);
    assert_eq!(near_share((7_000, 20_000), (1, 20_000)), 9_997, "the other side has its part as well");
}

#[test]
fn an_exactly_sufficient_capacity_is_not_insufficient() {
    let health = |healthy, all| Health { healthy, all };
    assert!(!split(health(1, 3), health(8, 21)).is_insufficient, "7 of 15 and 8 of 15 are the whole");
    assert!(split(health(1, 3), health(7, 21)).is_insufficient);
    assert!(
        !split(health(0, 0), health(5, 7)).is_insufficient
            && split(health(0, 0), health(4, 7)).is_insufficient
    );
    assert!(split(health(0, 0), health(0, 0)).is_insufficient);
}

fn health() -> impl Strategy<Value = Health> {
    (0u32..50).prop_flat_map(|all| (0..=all).prop_map(move |healthy| Health { healthy, all }))
}

proptest! {
    #[test]
    fn one_more_healthy_endpoint_never_lowers_the_share_of_its_side(near in health(), far in health()) {
        let now = split(near, far).near;
        if near.healthy < near.all {
            let more = Health { healthy: near.healthy + 1, ..near };
            prop_assert!(split(more, far).near >= now);
        }
        if far.healthy < far.all {
            let more = Health { healthy: far.healthy + 1, ..far };
            prop_assert!(split(near, more).near <= now);
        }
    }

    #[test]
    fn all_requests_stay_near_while_five_of_seven_are_healthy_and_none_without_healthy_ones(near in health(), far in health()) {
        let now = split(near, far).near;
        if near.healthy > 0 && near.healthy * 7 >= near.all * 5 {
            prop_assert_eq!(now, Share::WHOLE);
        }
        if near.healthy == 0 && far.healthy > 0 {
            prop_assert_eq!(now, Share::NONE);
        }
        if near.healthy > 0 {
            prop_assert!(now > Share::NONE);
        }
    }

    #[test]
    fn the_share_follows_the_formula_where_capacity_is_sufficient(near in health(), far in health()) {
        let capacity = |side: Health| if side.all == 0 { 0.0 } else { (1.4 * f64::from(side.healthy) / f64::from(side.all)).min(1.0) };
        let found = split(near, far);
        prop_assert_eq!(found.is_insufficient, capacity(near) + capacity(far) < 0.99995);
        if !found.is_insufficient {
            let share = f64::from(found.near.hundredths_of_percent()) / 10_000.0;
            prop_assert!((share - capacity(near)).abs() < 0.0002, "{} and not {}", share, capacity(near));
        }
    }
}
