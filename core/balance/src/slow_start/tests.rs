use proptest::prelude::*;

use super::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_ramp_begins_at_a_tenth_and_grows_linearly() {
    let slow = SlowStart::over(ms(10_000));
    let percents = [0, 999, 1_499, 1_500, 5_000, 9_499, 9_999, 10_000, 60_000]
        .map(|at| slow.ramp(ms(7), ms(7 + at)).percent());
    assert_eq!(percents, [10, 10, 10, 15, 50, 90, 95, 100, 100]);
}

#[test]
fn without_a_window_every_endpoint_has_its_full_weight_at_once() {
    assert_eq!(SlowStart::OFF.ramp(ms(5), ms(5)), Ramp::FULL);
    assert_eq!(SlowStart::OFF.next_step(ms(5), ms(5)), None);
}

proptest! {
    #[test]
    fn the_next_step_is_exactly_when_the_ramp_grows(window in 1u64..100_000_000_000, since: u32, age: u64) {
        let slow = SlowStart::over(Duration::from_nanos(window));
        let since = Duration::from_nanos(u64::from(since));
        let now = since + Duration::from_nanos(age % (window * 2));
        let ramp = slow.ramp(since, now);
        match slow.next_step(since, now) {
            None => prop_assert_eq!(ramp, Ramp::FULL),
            Some(at) => {
                prop_assert!(at > now, "{:?} is not after {:?}", at, now);
                prop_assert!(slow.ramp(since, at) > ramp);
                prop_assert_eq!(slow.ramp(since, at - Duration::from_nanos(1)), ramp);
            }
        }
    }

    #[test]
    fn a_ramp_takes_eighteen_steps(window in 1_000u64..100_000_000_000) {
        let slow = SlowStart::over(Duration::from_nanos(window));
        let (mut now, mut steps) = (Duration::ZERO, 0);
        while let Some(at) = slow.next_step(Duration::ZERO, now) {
            (now, steps) = (at, steps + 1);
        }
        prop_assert_eq!(steps, 18);
        prop_assert_eq!(now, Duration::from_nanos(window));
    }
}
