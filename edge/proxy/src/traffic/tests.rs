use proptest::prelude::*;

use super::histogram::{bucket_of, lower_us};
use super::*;

fn of(latencies_us: &[u64]) -> Histogram {
    let shard = Shard::default();
    latencies_us.iter().for_each(|&us| shard.answered(200, Duration::from_micros(us)));
    sum(&[shard]).latency
}

#[test]
fn an_empty_histogram_has_no_quantile() {
    assert_eq!(Histogram::default().quantile(0.5), None);
}

#[test]
fn values_above_the_range_are_counted_in_the_last_bucket() {
    let h = of(&[u64::MAX / 2, 3_600_000_000]);
    assert_eq!(h.count(), 2);
    assert_eq!(h.quantile(0.5), Some(Histogram::TOP));
}

#[test]
fn since_gives_the_requests_between_two_readings() {
    let (before, after) = (of(&[5, 7_000]), of(&[5, 7_000, 90_000]));
    let between = after.since(&before);
    assert_eq!(between.count(), 1);
    assert!(between.quantile(0.99).unwrap() >= Duration::from_millis(90));
}

#[test]
fn a_status_without_a_class_of_its_own_counts_as_the_nearest() {
    let shard = Shard::default();
    shard.answered(200, Duration::ZERO);
    shard.answered(799, Duration::ZERO);
    assert_eq!(sum(&[shard]).status, [0, 1, 0, 0, 1]);
}

proptest! {
    #[test]
    fn each_latency_lies_in_its_bucket(us in 0u64..134_000_000) {
        let bucket = bucket_of(us);
        prop_assert!(lower_us(bucket) <= us && us < lower_us(bucket + 1));
    }

    #[test]
    fn a_quantile_is_never_low_and_at_most_a_sixteenth_high(
        mut all in prop::collection::vec(1u64..100_000_000, 1..200), q in 0.0f64..1.0,
    ) {
        let read = of(&all).quantile(q).unwrap().as_micros() as f64;
        all.sort_unstable();
        let rank = ((q * all.len() as f64).ceil() as usize).max(1);
        let exact = all[rank - 1] as f64;
        prop_assert!(read >= exact && read <= exact * 1.0626 + 1.0, "{read} for {exact}");
    }
}
