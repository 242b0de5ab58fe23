use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn sample(milli: i64) -> Sample {
    Sample { value: Milli(milli), at: Time::from_millis(5000), window: Duration::from_secs(2) }
}

#[test]
fn a_load_is_shared_by_as_many_as_there_would_be() {
    let samples = [Ok(sample(600)), Ok(sample(400)), Err(Gap::Absent)];
    assert_eq!(shared(&samples, &[0, 1], 4), vec![Ok(sample(250)); 4]);
    assert_eq!(shared(&samples, &[0, 1], 1), [Ok(sample(1000))]);
    assert!(shared(&samples, &[0, 1], 0).is_empty());
}

#[test]
fn what_cannot_be_measured_stays_so() {
    let samples = [Ok(sample(600)), Err(Gap::Stale)];
    assert_eq!(shared(&samples, &[0, 1], 3), [Ok(sample(400)), Ok(sample(400)), Err(Gap::Stale)]);
    assert_eq!(shared(&samples, &[1], 2), vec![Err(Gap::Stale); 2]);
    assert_eq!(shared(&samples, &[], 2), vec![Err(Gap::Absent); 2]);
}

proptest! {
    /// Nothing is lost or made but what a whole thousandth for each cuts off.
    #[test]
    fn the_load_in_all_stays_as_it_is(loads in prop::collection::vec(0..5000_i64, 1..9), count in 1..50_u32) {
        let samples: Vec<_> = loads.iter().map(|load| Ok(sample(*load))).collect();
        let serving: Vec<usize> = (0..loads.len()).collect();
        let sum = |samples: &[Result<Sample, Gap>]| samples.iter().flatten().map(|sample| sample.value.0).sum::<i64>();
        let (before, after) = (sum(&samples), sum(&shared(&samples, &serving, count)));
        prop_assert!(after <= before && before - after < i64::from(count), "{before} {after}");
    }
}
