//! Resampling of rows to ticks.

use std::time::Duration;

use fluid::ticks::{GAP_MAX, GridRepairs, LOAD_MAX, RowError, Ticks};
use proptest::prelude::*;

/// Resamples rows `(second, rate)` to ticks of 15 s.
fn ticks(interval_s: u64, rows: &[(i64, f64)]) -> (Vec<f64>, GridRepairs) {
    let mut ticks = Ticks::new(Duration::from_secs(interval_s), Duration::from_secs(15));
    let mut loads = Vec::new();
    for (second, rate) in rows {
        ticks.push(second * 1000, *rate, &mut |load| loads.push(load)).expect("the rows are in order");
    }
    let repairs = ticks.finish(&mut |load| loads.push(load));
    (loads, repairs)
}

#[test]
fn a_row_of_a_minute_is_constant_over_its_four_ticks() {
    assert_eq!(ticks(60, &[(0, 1.0), (60, 3.0)]).0, [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0]);
}

#[test]
fn rows_of_a_second_are_averaged_over_a_tick() {
    let rows: Vec<_> =
        (0..30).map(|second| (second, if second < 15 { second as f64 } else { 2.0 })).collect();
    assert_eq!(ticks(1, &rows).0, [7.0, 2.0]);
}

#[test]
fn rows_of_ten_seconds_are_split_between_ticks() {
    assert_eq!(ticks(10, &[(0, 3.0), (10, 6.0), (20, 9.0)]).0, [4.0, 8.0]);
}

#[test]
fn rows_of_five_minutes_are_interpolated_between_their_middles() {
    let (loads, _) = ticks(300, &[(0, 0.0), (300, 300.0)]);
    assert_eq!(loads.len(), 40);
    assert_eq!(loads[..10], [0.0; 10], "constant before the first middle, at 150 s");
    // The middles of ticks are at 7.5 s, 22.5 s and so on: 157.5 s is 7.5 s of 300 s after the first middle.
    assert!((loads[10] - 7.5).abs() < 1e-9 && (loads[29] - 292.5).abs() < 1e-9, "{loads:?}");
    assert_eq!(loads[30..], [300.0; 10]);
}

#[test]
fn a_single_row_covers_its_interval() {
    assert_eq!(ticks(60, &[(7, 2.0)]).0, [2.0; 4]);
    assert_eq!(ticks(1, &[(7, 2.0)]).0, [2.0], "even if it is shorter than a tick");
    assert_eq!(ticks(1800, &[(7, 2.0)]).0, [2.0; 120]);
    assert!(ticks(60, &[]).0.is_empty());
}

#[test]
fn missing_rows_are_interpolated_and_counted() {
    let (loads, repairs) = ticks(60, &[(0, 1.0), (240, 5.0), (300, 5.0), (420, 5.0)]);
    let minutes: Vec<f64> = loads.chunks(4).map(|minute| minute[0]).collect();
    assert_eq!(minutes, [1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0, 5.0]);
    assert_eq!(repairs, GridRepairs { rows: 4, gaps: 2, filled: 4, merged: 0 });
}

#[test]
fn rows_off_the_grid_are_moved_to_it() {
    let (loads, repairs) = ticks(60, &[(0, 1.0), (61, 2.0), (119, 3.0), (121, 5.0), (180, 1.0)]);
    let minutes: Vec<f64> = loads.chunks(4).map(|minute| minute[0]).collect();
    assert_eq!(minutes, [1.0, 2.0, 4.0, 1.0]);
    assert_eq!((repairs.gaps, repairs.merged), (0, 1));
}

#[test]
fn invalid_rows_are_refused() {
    let mut ticks = Ticks::new(Duration::from_secs(60), Duration::from_secs(15));
    let mut push = |second: i64, rate| ticks.push(second * 1000, rate, &mut |_| {});
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(push(0, value), Err(RowError::Value));
    }
    assert_eq!((push(0, 2.0 * LOAD_MAX), push(0, 1e308)), (Err(RowError::Large), Err(RowError::Large)));
    assert_eq!(push(600, 1.0), Ok(()));
    assert_eq!(push(0, 1.0), Err(RowError::Order));
    let far = 700 + GAP_MAX.as_secs() as i64;
    assert!(
        matches!(push(far, 1.0), Err(RowError::Gap { gap }) if gap > GAP_MAX),
        "a typing error in a date is refused"
    );
    assert_eq!(push(660, 1.0), Ok(()), "a refused row changes nothing");
}

proptest! {
    #[test]
    fn ticks_keep_the_mean_and_the_length_of_the_rows(
        rates in prop::collection::vec(0.0..1e6_f64, 1..80),
        interval in prop::sample::select(vec![5_u64, 15, 30, 60]),
    ) {
        let rows: Vec<_> = rates.iter().enumerate().map(|(n, rate)| (n as i64 * interval as i64, *rate)).collect();
        let (loads, repairs) = ticks(interval, &rows);
        let whole = rates.len() as u64 * interval / 15;
        prop_assert_eq!(loads.len() as u64, whole.max(1));
        prop_assert_eq!(repairs.rows, rates.len() as u64);
        if whole * 15 == rates.len() as u64 * interval {
            let sum: f64 = rates.iter().map(|rate| rate * interval as f64).sum();
            let served: f64 = loads.iter().map(|load| load * 15.0).sum();
            prop_assert!((sum - served).abs() <= 1e-6 * sum.max(1.0));
        }
    }

    #[test]
    fn arbitrary_rows_do_not_panic(
        rows in prop::collection::vec((any::<i64>(), any::<f64>()), 0..40),
        interval in 1_u64..100_000, tick in 1_u64..4_000_000,
    ) {
        let mut ticks = Ticks::new(Duration::from_secs(interval), Duration::from_millis(tick.max(1000)));
        for (at, rate) in rows {
            ticks.push(at, rate, &mut |load| assert!((0.0..=LOAD_MAX).contains(&load))).ok();
        }
        ticks.finish(&mut |_| {});
    }
}
