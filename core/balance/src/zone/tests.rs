use proptest::prelude::*;

use super::*;

fn near(near: (u32, u32), far: (u32, u32)) -> u16 {
    let health = |(well, all)| Health { well, all };
    split(health(near), health(far)).near.hundredths_of_percent()
}

/// The table in Envoy's documentation of priority levels, as far as it has two levels: P=0 healthy, P=1 healthy, and what goes to P=0.
#[test]
fn shares_are_those_of_envoys_table() {
    for (here, there, share) in [
        (100, 100, 10_000),
        (72, 72, 10_000),
        (71, 71, 9_940),
        (50, 50, 7_000),
        (25, 100, 3_500),
        (25, 25, 5_000),
        (0, 100, 0),
        (5, 0, 10_000),
    ] {
        assert_eq!(near((here, 100), (there, 100)), share, "{here} % and {there} % are well");
    }
}

#[test]
fn without_anybody_well_the_numbers_decide() {
    assert_eq!(near((0, 1), (0, 3)), 2_500);
    assert_eq!(near((0, 0), (0, 3)), 0);
    assert_eq!(near((0, 3), (0, 0)), 10_000);
    assert_eq!(near((0, 0), (0, 0)), 10_000);
}

#[test]
fn the_only_healthy_endpoint_of_many_still_gets_requests() {
    assert_eq!(near((1, 20_000), (20_000, 20_000)), 1);
    assert_eq!(near((1, 20_000), (1, 20_000)), 5_000);
    assert_eq!(near((7_000, 20_000), (1, 20_000)), 9_997, "the other side has its part, too");
}

#[test]
fn who_can_just_carry_everything_is_not_short() {
    let health = |well, all| Health { well, all };
    assert!(!split(health(1, 3), health(8, 21)).is_short, "7 of 15 and 8 of 15 are the whole");
    assert!(split(health(1, 3), health(7, 21)).is_short);
    assert!(!split(health(0, 0), health(5, 7)).is_short && split(health(0, 0), health(4, 7)).is_short);
    assert!(split(health(0, 0), health(0, 0)).is_short);
}

fn health() -> impl Strategy<Value = Health> {
    (0u32..50).prop_flat_map(|all| (0..=all).prop_map(move |well| Health { well, all }))
}

proptest! {
    #[test]
    fn one_more_that_is_well_never_takes_requests_away_from_its_side(near in health(), far in health()) {
        let now = split(near, far).near;
        if near.well < near.all {
            let more = Health { well: near.well + 1, ..near };
            prop_assert!(split(more, far).near >= now);
        }
        if far.well < far.all {
            let more = Health { well: far.well + 1, ..far };
            prop_assert!(split(near, more).near <= now);
        }
    }

    #[test]
    fn nothing_leaves_while_five_of_seven_are_well_and_nothing_stays_with_nobody(near in health(), far in health()) {
        let now = split(near, far).near;
        if near.well > 0 && near.well * 7 >= near.all * 5 {
            prop_assert_eq!(now, Share::WHOLE);
        }
        if near.well == 0 && far.well > 0 {
            prop_assert_eq!(now, Share::NONE);
        }
        if near.well > 0 {
            prop_assert!(now > Share::NONE);
        }
    }

    #[test]
    fn the_share_is_the_documented_one_where_others_can_carry_the_rest(near in health(), far in health()) {
        let rule = |it: Health| if it.all == 0 { 0.0 } else { (1.4 * f64::from(it.well) / f64::from(it.all)).min(1.0) };
        let found = split(near, far);
        prop_assert_eq!(found.is_short, rule(near) + rule(far) < 0.99995);
        if !found.is_short {
            let share = f64::from(found.near.hundredths_of_percent()) / 10_000.0;
            prop_assert!((share - rule(near)).abs() < 0.0002, "{} and not {}", share, rule(near));
        }
    }
}
