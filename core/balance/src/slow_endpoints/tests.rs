use proptest::prelude::*;

use super::*;

const POLICY: SlowPolicy =
    SlowPolicy { percent: 300, at_least: ms(5), window: Duration::from_secs(10), answers_min: 20 };

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn id(ordinal: u32) -> EndpointId {
    EndpointId { ordinal, incarnation: 0 }
}

/// Endpoints with these medians, in milliseconds, of a hundred answers each.
fn latencies(medians: &[u64]) -> Vec<WindowLatency> {
    (0..).zip(medians).map(|(i, &n)| WindowLatency { id: id(i), answers: 100, median: ms(n) }).collect()
}

fn slow(medians: &[u64]) -> Vec<u32> {
    POLICY.slow_endpoints(&latencies(medians)).iter().map(|endpoint| endpoint.id.ordinal).collect()
}

#[test]
fn an_endpoint_many_times_slower_than_the_others_is_too_slow() {
    let found = POLICY.slow_endpoints(&latencies(&[10, 41, 12, 11]));
    assert_eq!(found, [SlowEndpoint { id: id(1), median: ms(41), others: ms(11) }]);
    assert_eq!(slow(&[10, 30, 10]), [0; 0], "three times is not above three times");
    assert_eq!(slow(&[10, 31, 10]), [1]);
}

#[test]
fn several_slow_endpoints_are_returned_slowest_first_and_do_not_hide_each_other() {
    assert_eq!(slow(&[10, 50, 10, 90, 10]), [3, 1]);
    assert_eq!(slow(&[10, 90, 10, 90]), [3, 1]);
    // Of an even number of others the faster of the middle two is used.
    assert_eq!(slow(&[10, 25, 70]), [2]);
    assert_eq!(slow(&[10, 20, 20, 50]), [0; 0]);
}

#[test]
fn a_slowdown_of_all_endpoints_ejects_none() {
    assert_eq!(slow(&[900, 1000, 1100, 950]), [0; 0]);
    // Most are slow: the slow ones are no exception.
    assert_eq!(slow(&[10, 900, 900, 900]), [0; 0]);
}

#[test]
fn a_small_absolute_difference_ejects_no_endpoint() {
    assert_eq!(slow(&[1, 5, 1, 1]), [0; 0]);
    assert_eq!(slow(&[1, 6, 1, 1]), [1]);
}

#[test]
fn two_endpoints_or_few_answers_are_not_compared() {
    assert_eq!(slow(&[10, 500]), [0; 0]);
    let mut few = latencies(&[10, 10, 500, 10]);
    few[2].answers = 19;
    assert_eq!(POLICY.slow_endpoints(&few), []);
    few[2].answers = 20;
    few[0].answers = 0;
    assert_eq!(POLICY.slow_endpoints(&few).len(), 1);
    few[1].answers = 0;
    assert_eq!(POLICY.slow_endpoints(&few), [], "two are left");
}

proptest! {
    #[test]
    fn the_faster_half_is_never_too_slow_and_the_order_has_no_effect(
        medians in proptest::collection::vec(0u64..2000, 0..12),
    ) {
        let slow = POLICY.slow_endpoints(&latencies(&medians));
        let mut sorted = medians.clone();
        sorted.sort_unstable();
        for endpoint in &slow {
            prop_assert!(endpoint.median > endpoint.others);
            prop_assert!(sorted.iter().filter(|&&n| ms(n) < endpoint.median).count() >= medians.len() / 2);
        }
        let mut reversed = latencies(&medians);
        reversed.reverse();
        prop_assert_eq!(POLICY.slow_endpoints(&reversed), slow);
    }
}
