use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn sample(milli: i64) -> Sample {
    Sample { value: Milli(milli), at: Time::from_millis(5000), window: Duration::from_secs(2) }
}

#[test]
fn the_load_is_shared_by_the_replicas_of_the_shadow() {
    let samples = [Ok(sample(600)), Ok(sample(400)), Err(Gap::Absent)];
    assert_eq!(shared(&samples, &[0, 1], 4), vec![Ok(sample(250)); 4]);
    assert_eq!(shared(&samples, &[0, 1], 1), [Ok(sample(1000))]);
    assert!(shared(&samples, &[0, 1], 0).is_empty());
}

#[test]
fn missing_samples_stay_missing() {
    let samples = [Ok(sample(600)), Err(Gap::Stale)];
    assert_eq!(shared(&samples, &[0, 1], 3), [Ok(sample(400)), Ok(sample(400)), Err(Gap::Stale)]);
    assert_eq!(shared(&samples, &[1], 2), vec![Err(Gap::Stale); 2]);
    assert_eq!(shared(&samples, &[], 2), vec![Err(Gap::Absent); 2]);
}

proptest! {
    /// Up to the rounding of each sample to a thousandth.
    #[test]
    fn the_total_load_stays_the_same(loads in prop::collection::vec(0..5000_i64, 1..9), count in 1..50_u32) {
        let samples: Vec<_> = loads.iter().map(|load| Ok(sample(*load))).collect();
        let serving: Vec<usize> = (0..loads.len()).collect();
        let sum = |samples: &[Result<Sample, Gap>]| samples.iter().flatten().map(|sample| sample.value.0).sum::<i64>();
        let (before, after) = (sum(&samples), sum(&shared(&samples, &serving, count)));
        prop_assert!(after <= before && before - after < i64::from(count), "{before} {after}");
    }
}
