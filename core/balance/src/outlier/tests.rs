use proptest::prelude::*;

use super::*;

const FAILED: Cause = Cause::Failures { in_a_row: 5 };

fn id(ordinal: u32) -> EndpointId {
    EndpointId { ordinal, incarnation: 0 }
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn outliers(n: u32) -> Outliers {
    let mut outliers = Outliers::new(OutlierPolicy::default());
    outliers.retain_and_add(s(0), (0..n).map(id));
    outliers
}

#[test]
fn each_ejection_lasts_longer_and_good_behaviour_shortens_the_next() {
    let mut o = outliers(3);
    assert_eq!(o.eject(s(0), id(0), FAILED), Verdict::Ejected { until: s(30) });
    assert!(o.is_ejected(s(29), id(0)) && !o.is_ejected(s(30), id(0)));
    assert_eq!(o.eject(s(31), id(0), FAILED), Verdict::Ejected { until: s(31 + 60) });
    assert_eq!(o.eject(s(92), id(0), FAILED), Verdict::Ejected { until: s(92 + 90) });
    assert_eq!(
        o.ejection(s(181), id(0)),
        Some(Ejection { since: s(92), until: s(182), times: 3, cause: FAILED })
    );
    assert_eq!(o.ejection(s(182), id(0)), None);
    // Two periods of `base` without an ejection subtract two from k = 3.
    assert_eq!(o.eject(s(182 + 60), id(0), FAILED), Verdict::Ejected { until: s(242 + 60) });
}

#[test]
fn one_of_few_and_a_tenth_of_many_may_be_ejected() {
    let mut few = outliers(2);
    assert_eq!(few.eject(s(0), id(0), FAILED), Verdict::Ejected { until: s(30) });
    assert_eq!(few.eject(s(0), id(0), FAILED), Verdict::NotEjected(NotEjected::AlreadyEjected));
    assert_eq!(few.eject(s(0), id(1), FAILED), Verdict::NotEjected(NotEjected::TooManyEjected { limit: 1 }));
    assert_eq!(few.eject(s(0), id(9), FAILED), Verdict::NotEjected(NotEjected::Unknown));
    let mut many = outliers(40);
    let ejected =
        (0..40).filter(|&i| matches!(many.eject(s(0), id(i), FAILED), Verdict::Ejected { .. })).count();
    assert_eq!(ejected, 4);
}

#[test]
fn a_restarted_replica_has_a_new_record() {
    let mut o = outliers(2);
    o.eject(s(0), id(0), FAILED);
    let restarted = EndpointId { ordinal: 0, incarnation: 1 };
    o.retain_and_add(s(1), [restarted, id(1)]);
    assert!(!o.is_ejected(s(1), restarted));
    assert_eq!(o.next_deadline(), None);
    assert_eq!(o.eject(s(2), restarted, FAILED), Verdict::Ejected { until: s(32) });
}

#[test]
fn review_ends_ejections_whose_time_is_over() {
    let mut o = outliers(2);
    o.eject(s(0), id(1), FAILED);
    assert_eq!(o.next_deadline(), Some(s(30)));
    assert!(!o.review(s(29)));
    assert!(o.review(s(30)));
    assert!(!o.review(s(30)));
    assert_eq!(o.next_deadline(), None);
}

#[test]
fn slow_endpoints_are_ejected_slowest_first_up_to_the_limit() {
    let slow = SlowPolicy { percent: 300, at_least: Duration::ZERO, window: s(10), answers_min: 1 };
    let mut o = Outliers::new(OutlierPolicy { slow: Some(slow), ..OutlierPolicy::default() });
    o.retain_and_add(s(0), (0..5).map(id));
    let latency =
        |(ordinal, seconds): (u32, u64)| WindowLatency { id: id(ordinal), answers: 1, median: s(seconds) };
    let latencies: Vec<WindowLatency> = (0..).zip([1, 9, 1, 12, 1]).map(latency).collect();
    let verdicts = o.eject_slow(s(10), &latencies);
    assert_eq!(
        verdicts,
        [
            (id(3), Verdict::Ejected { until: s(40) }),
            (id(1), Verdict::NotEjected(NotEjected::TooManyEjected { limit: 1 }))
        ]
    );
    let cause = Cause::Slow { median: s(12), others: s(1) };
    assert_eq!(o.ejection(s(20), id(3)), Some(Ejection { since: s(10), until: s(40), times: 1, cause }));
    assert_eq!(o.eject_slow(s(50), &latencies)[0], (id(3), Verdict::Ejected { until: s(110) }));
    // Without a policy for slow endpoints none is ejected.
    assert_eq!(outliers(5).eject_slow(s(10), &latencies), []);
}

proptest! {
    #[test]
    fn never_are_more_endpoints_ejected_than_allowed(n in 1u32..60, attempts in prop::collection::vec((0u32..60, 0u64..20), 0..200)) {
        let mut o = outliers(n);
        let mut now = s(0);
        for (ordinal, seconds) in attempts {
            now += s(seconds);
            let _ = o.eject(now, id(ordinal), FAILED);
            let ejected = (0..n).filter(|&i| o.is_ejected(now, id(i))).count();
            prop_assert!(ejected <= OutlierPolicy::default().ejected_max(n as usize));
            if let Some(next) = o.next_deadline() {
                prop_assert!(next <= now + OutlierPolicy::default().longest);
            }
        }
    }
}
