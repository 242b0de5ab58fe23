//! Homeostat's own cases: each a property of the algorithm that can be checked by hand.

use model::resource::{Quantity, ScalingRules, SelectPolicy};
use model::time::Time;
use plan::scale::combine::DecidedBy;
use plan::scale::explain::RescaleResult;
use plan::scale::hpa::Outcome;
use plan::scale::proposal::{Arithmetic, MetricFault};
use plan::scale::reading::{Gap, Phase, Unavailable};

use crate::fixture::{Fixture, free, percent, pods, rules, within};

// ---- One metric of each replica.

#[test]
fn twice_the_target_doubles_the_replicas() {
    assert_eq!(Fixture::of(2).cpu(50, &[1000, 1000]).decide().desired, 4);
}

#[test]
fn a_fraction_of_a_replica_is_rounded_up() {
    // 70 % of 50 % is 1.4; times 3 is 4.2.
    assert_eq!(Fixture::of(3).cpu(50, &[700, 700, 700]).decide().desired, 5);
}

#[test]
fn the_tolerance_includes_its_ends() {
    assert_eq!(Fixture::of(10).cpu(100, &[1100; 10]).decide().desired, 10);
    assert_eq!(Fixture::of(10).cpu(100, &[1110; 10]).decide().desired, 12);
    assert_eq!(Fixture::of(10).cpu(100, &[900; 10]).settled().decide().desired, 10);
    assert_eq!(Fixture::of(10).cpu(100, &[890; 10]).settled().decide().desired, 9);
}

#[test]
fn utilization_is_truncated_to_a_whole_percent_before_the_ratio() {
    // 55.9 % would be 1.118 of 50 %; as 55 % it is 1.1 and changes nothing.
    assert_eq!(Fixture::of(10).cpu(50, &[559; 10]).decide().desired, 10);
    assert_eq!(Fixture::of(10).cpu(50, &[560; 10]).decide().desired, 12);
}

#[test]
fn each_direction_may_have_its_own_tolerance() {
    let tolerant = |part| ScalingRules { tolerance: Quantity::parse(part).ok(), ..free() };
    let at = |used: i64| {
        Fixture::of(10).cpu(100, &[used; 10]).with_behavior(tolerant("0.5"), tolerant("0.01")).settled()
    };
    assert_eq!(at(1400).decide().desired, 10);
    assert_eq!(at(1600).decide().desired, 16);
    assert_eq!(at(950).decide().desired, 10, "0.95 × 10 rounded up");
    assert_eq!(at(890).decide().desired, 9);
}

#[test]
fn memory_is_an_amount_and_counts_from_the_first_sample() {
    let mut fixture = Fixture::of(2).memory(100, &[150, 250]).ready_for_s(1, 5);
    let verdict = fixture.decide();
    assert_eq!(verdict.desired, 4);
    assert_eq!(verdict.metrics[0].as_ref().map(|proposal| proposal.census.unready), Ok(0));
}

#[test]
fn requests_per_second_of_each_replica_are_averaged() {
    assert_eq!(Fixture::of(3).requests(15, &[20_000, 10_000, 30_000]).decide().desired, 4);
}

// ---- Replicas that are starting, missing or failed.

#[test]
fn the_cpu_usage_of_a_start_is_not_counted_as_load() {
    // The new replica uses two cores to start; the other two are on target.
    let mut fixture = Fixture::of(3).cpu(50, &[500, 500, 2000]).ready_for_s(2, 10);
    assert_eq!(fixture.decide().desired, 3);
}

#[test]
fn a_replica_that_is_ready_for_a_whole_window_counts() {
    let mut fixture = Fixture::of(3).cpu(50, &[500, 500, 2000]).ready_for_s(2, 31);
    assert_eq!(fixture.decide().desired, 6);
}

#[test]
fn on_scale_out_an_unready_replica_is_assumed_idle() {
    // 1.6 of the target on two replicas is 1.07 on three.
    let mut fixture = Fixture::of(3).cpu(50, &[800, 800, 0]).ready_for_s(2, 10);
    let verdict = fixture.decide();
    assert_eq!(verdict.desired, 3);
    let arithmetic = verdict.metrics[0].as_ref().map(|proposal| proposal.arithmetic);
    assert!(matches!(arithmetic, Ok(Arithmetic::WithinTolerance { assumed: true, .. })), "{arithmetic:?}");
}

#[test]
fn on_scale_in_a_missing_replica_is_assumed_busy() {
    // Two at a tenth of their request and two at all of it: 55 % against 50 %.
    let quiet = || Fixture::of(4).cpu(50, &[100; 4]).settled();
    assert_eq!(quiet().decide().desired, 1);
    let mut fixture = quiet().without_sample_of(2, Gap::Stale).without_sample_of(3, Gap::Absent);
    let verdict = fixture.decide();
    assert_eq!(verdict.desired, 4);
    let census = verdict.metrics[0].as_ref().map(|proposal| proposal.census).expect("a proposal");
    assert_eq!((census.ready, census.missing(), census.stale), (2, 2, 1));
}

#[test]
fn on_scale_out_a_missing_replica_is_assumed_idle() {
    // 2.0 of the target on three replicas is 1.5 on four: six, not eight.
    let mut fixture = Fixture::of(4).cpu(50, &[1000; 4]).without_sample_of(3, Gap::Failed);
    assert_eq!(fixture.decide().desired, 6);
}

#[test]
fn assumptions_never_reverse_the_direction() {
    // 0.8 by the measurements; with the missing replica assumed at 100 % it would be 1.4.
    let mut fixture = Fixture::of(2).cpu(50, &[400, 400]).without_sample_of(1, Gap::Absent).settled();
    let verdict = fixture.decide();
    assert_eq!(verdict.desired, 2);
    let arithmetic = verdict.metrics[0].as_ref().map(|proposal| proposal.arithmetic);
    assert!(matches!(arithmetic, Ok(Arithmetic::DirectionTurned { .. })), "{arithmetic:?}");
}

#[test]
fn terminating_and_failed_replicas_do_not_count() {
    let mut fixture = Fixture::of(4).cpu(50, &[1000, 1000, 0, 0]).leaving(2);
    fixture.replicas[3].phase = Phase::Failed;
    fixture.current = 2;
    assert_eq!(fixture.decide().desired, 4);
}

#[test]
fn without_any_sample_the_number_stays() {
    let mut fixture = Fixture::of(3).cpu(50, &[0; 3]);
    for index in 0..3 {
        fixture = fixture.without_sample_of(index, Gap::Stale);
    }
    let verdict = fixture.decide();
    assert_eq!(verdict.outcome, Outcome::Held { invalid: 0, proposal: None });
    assert_eq!(verdict.desired, 3);
}

#[test]
fn zero_is_a_measurement_and_a_missing_value_is_not() {
    assert_eq!(Fixture::of(3).requests(10, &[0; 3]).settled().decide().desired, 1);
    let stale = Unavailable::Stale { since: Time::ZERO };
    for why in [Unavailable::Absent, stale, Unavailable::Failed("refused".into()), Unavailable::NoSource] {
        assert_eq!(Fixture::of(3).requests(10, &[0; 3]).unavailable(why).settled().decide().desired, 3);
    }
}

#[test]
fn utilization_without_a_request_is_a_fault_that_says_what_to_do() {
    let mut fixture = Fixture::of(2).cpu(50, &[900, 900]);
    fixture.request = None;
    let verdict = fixture.decide();
    assert_eq!(verdict.metrics, [Err(MetricFault::NoRequest)]);
    assert_eq!(
        verdict.summary(&fixture.spec),
        "stays at 2: cpu gives no number, because the service requests none of it, so there is no utilization to \
         compute; declare it under resources"
    );
}

// ---- Totals.

#[test]
fn a_total_is_divided_by_the_ready_replicas() {
    let mut fixture = Fixture::of(3).queue(50, &[60, 40]);
    fixture.replicas[0].readiness = None;
    assert_eq!(fixture.decide().desired, 4, "100 of 50, with two ready");
}

#[test]
fn a_target_of_messages_per_replica_needs_no_ready_replica() {
    // 130 messages, 30 for each: 4.33.
    let mut fixture = Fixture::of(2).queue_each(30, &[130]);
    fixture.replicas.iter_mut().for_each(|replica| replica.readiness = None);
    assert_eq!(fixture.decide().desired, 4, "held to twice the number, at least four, in one decision");
    assert_eq!(fixture.decide().metrics[0].as_ref().map(|proposal| proposal.replicas), Ok(5));
}

#[test]
fn zero_replicas_scale_out_on_the_first_message_without_tolerance() {
    assert_eq!(Fixture::of(0).between(0, 10).queue(100, &[1]).decide().desired, 1);
    assert_eq!(Fixture::of(0).between(0, 10).queue_each(10, &[25]).decide().desired, 3);
    assert_eq!(Fixture::of(0).between(0, 10).queue(100, &[0]).decide().desired, 0);
    assert_eq!(Fixture::of(0).between(0, 10).queue_each(100, &[0]).decide().desired, 0);
}

#[test]
fn zero_replicas_set_manually_disable_the_autoscaler() {
    let verdict = Fixture::of(0).between(1, 10).queue(1, &[1000]).decide();
    assert_eq!((verdict.outcome, verdict.desired), (Outcome::Off, 0));
}

#[test]
fn a_service_scaled_to_zero_starts_when_zero_is_no_longer_allowed() {
    let mut fixture = Fixture::of(1).between(0, 10).queue(100, &[0]).settled();
    assert_eq!(fixture.decide_and_apply(), 0);
    fixture.spec.min = 2;
    assert_eq!(fixture.decide_and_apply(), 2);
    assert!(!fixture.memory.scaled_to_zero);
}

#[test]
fn extreme_totals_stay_within_the_bounds() {
    assert_eq!(Fixture::of(3).queue(1, &[i64::MAX, i64::MAX]).decide().desired, 6);
    assert_eq!(Fixture::of(3).queue(1, &[-5]).settled().decide().desired, 1);
}

// ---- Several metrics.

#[test]
fn the_metric_with_the_largest_proposal_decides() {
    let mut fixture = Fixture::of(2).cpu(50, &[600, 600]).queue(10, &[15]).ingress(10, 18);
    let verdict = fixture.decide();
    assert_eq!(verdict.desired, 4);
    assert!(
        matches!(verdict.outcome, Outcome::Scaled { decided_by: DecidedBy::Largest { metric: 2 }, .. }),
        "{:?}",
        verdict.outcome
    );
}

#[test]
fn partial_data_may_scale_out() {
    let mut fixture = Fixture::of(2).cpu(50, &[1000, 1000]).queue(10, &[]).unavailable(Unavailable::Absent);
    assert_eq!(fixture.decide().desired, 4);
}

#[test]
fn partial_data_never_scales_in() {
    let mut fixture =
        Fixture::of(4).cpu(50, &[10; 4]).queue(10, &[]).unavailable(Unavailable::Absent).settled();
    let verdict = fixture.decide();
    assert_eq!(verdict.desired, 4);
    assert_eq!(
        verdict.summary(&fixture.spec),
        "stays at 4: queue gives no number, because its source has no value for it, which does not count as zero; the \
         other metrics ask for 1, but a service never scales in on partial data"
    );
}

// ---- Fallbacks.

#[test]
fn a_fallback_is_used_once_a_metric_has_been_missing_for_the_declared_time() {
    let mut fixture = Fixture::of(3).queue(10, &[10]).with_fallback(180, 5).unavailable(Unavailable::Absent);
    fixture.memory.recommendations = vec![];
    assert_eq!(fixture.decide_and_apply(), 3);
    fixture.advance(179);
    assert_eq!(fixture.decide_and_apply(), 3);
    fixture.advance(1);
    let verdict = fixture.decide();
    assert_eq!(verdict.desired, 5);
    let since = fixture.now - std::time::Duration::from_secs(180);
    assert_eq!(
        verdict.summary(&fixture.spec),
        format!(
            "from 3 to 5: queue gives no number, because its source has no value for it, which does not count as zero; \
             it has had no value since {since}, so its fallback of 5 replicas is used"
        )
    );
    let active = fixture.explained().conditions;
    let kinds: Vec<_> = active.iter().filter(|it| it.holds).map(|it| (it.kind.name(), it.reason)).collect();
    assert!(kinds.contains(&("ScalingActive", "ValidMetricFound")), "{kinds:?}");
    assert!(kinds.contains(&("ExternalMetricFallbackActive", "FallbackActive")), "{kinds:?}");
    assert_eq!(fixture.explained().metrics[0].proposal, Some(5));
}

#[test]
fn a_measurement_in_between_restarts_the_wait_for_the_fallback() {
    let mut fixture = Fixture::of(3).queue(10, &[10]).with_fallback(180, 5);
    let silent = |fixture: Fixture| fixture.unavailable(Unavailable::Failed("it does not answer".into()));
    fixture = silent(fixture);
    fixture.decide_and_apply();
    fixture.advance(179);
    fixture.decide_and_apply();
    fixture = fixture.with_series(&[10]);
    assert_eq!(fixture.decide_and_apply(), 3);
    fixture = silent(fixture);
    fixture.advance(1);
    assert_eq!(fixture.decide_and_apply(), 3);
    fixture.advance(179);
    assert_eq!(fixture.decide_and_apply(), 3);
    fixture.advance(1);
    assert_eq!(fixture.decide_and_apply(), 5);
}

#[test]
fn a_fallback_counts_as_valid_so_that_the_others_may_scale_in_to_it() {
    let mut fixture = Fixture::of(6)
        .cpu(50, &[10; 6])
        .queue(10, &[])
        .with_fallback(180, 2)
        .unavailable(Unavailable::Absent)
        .settled();
    assert_eq!(fixture.decide_and_apply(), 6, "partial data");
    fixture.advance(400);
    assert_eq!(fixture.decide_and_apply(), 2, "the queue proposes 2, and cpu 1");
}

// ---- Bounds, and the rules without a behavior.

#[test]
fn a_number_outside_the_bounds_is_corrected_at_once() {
    assert_eq!(Fixture::of(12).between(2, 10).cpu(50, &[5000; 12]).decide().desired, 10);
    assert_eq!(Fixture::of(1).between(3, 10).cpu(50, &[0]).decide().desired, 3);
}

#[test]
fn one_decision_scales_to_at_most_double_or_four() {
    assert_eq!(Fixture::of(1).cpu(10, &[5000]).decide().desired, 4);
    assert_eq!(Fixture::of(3).cpu(10, &[5000; 3]).decide().desired, 6);
}

#[test]
fn scale_in_waits_for_the_stabilization_window() {
    let mut fixture = Fixture::of(4).cpu(50, &[500; 4]).settled();
    assert_eq!(fixture.decide_and_apply(), 4);
    fixture.set_usage(&[100; 4]);
    for _ in 0..300 {
        fixture.advance(1);
        assert_eq!(fixture.decide_and_apply(), 4, "at {}", fixture.now);
    }
    fixture.advance(1);
    assert_eq!(fixture.decide_and_apply(), 1);
}

#[test]
fn a_service_without_history_keeps_its_replicas_for_a_window() {
    let mut fixture = Fixture::of(4).cpu(50, &[100; 4]);
    assert_eq!(fixture.decide_and_apply(), 4);
    fixture.advance(301);
    assert_eq!(fixture.decide_and_apply(), 1);
}

#[test]
fn recommendations_survive_a_restart() {
    let mut before = Fixture::of(4).cpu(50, &[500; 4]).settled();
    before.decide_and_apply();
    let mut after = Fixture::of(4).cpu(50, &[100; 4]).with_memory(&before.memory);
    after.advance(299);
    assert_eq!(after.decide_and_apply(), 4);
    after.advance(2);
    assert_eq!(after.decide_and_apply(), 1);
}

#[test]
fn an_hour_of_decisions_takes_one_slot_for_each_number() {
    let mut fixture = Fixture::of(4).cpu(50, &[500; 4]).settled();
    for second in 0..3600 {
        fixture.set_usage(&[400 + 50 * (second % 7); 4]);
        fixture.decide();
        fixture.advance(1);
    }
    assert!(fixture.memory.recommendations.len() <= 7, "{:?}", fixture.memory.recommendations);
}

// ---- Behaviors.

#[test]
fn ten_percent_a_minute_scales_eighty_to_seventy_two_to_sixty_four() {
    let mut fixture = Fixture::of(80)
        .cpu(50, &[10; 80])
        .with_behavior(free(), rules(SelectPolicy::Max, &[(percent(10), 60)]))
        .settled();
    assert_eq!(fixture.decide_and_apply(), 72);
    for _ in 0..59 {
        fixture.advance(1);
        assert_eq!(fixture.decide_and_apply(), 72, "at {}", fixture.now);
    }
    fixture.advance(1);
    assert_eq!(fixture.decide_and_apply(), 64, "64.8, truncated");
}

#[test]
fn the_default_rate_is_four_more_or_double_whichever_is_larger() {
    let kubernetes = || rules(SelectPolicy::Max, &[(pods(4), 15), (percent(100), 15)]);
    let busy = |n: u32| Fixture::of(n).cpu(10, &vec![5000; n as usize]).with_behavior(kubernetes(), free());
    assert_eq!(busy(2).decide().desired, 6);
    assert_eq!(busy(10).decide().desired, 20);
}

#[test]
fn select_policy_min_takes_the_smallest_change() {
    let careful = rules(SelectPolicy::Min, &[(pods(4), 15), (percent(100), 15)]);
    assert_eq!(Fixture::of(2).cpu(10, &[5000; 2]).with_behavior(careful, free()).decide().desired, 4);
}

#[test]
fn select_policy_disabled_prevents_a_direction() {
    let never = || rules(SelectPolicy::Disabled, &[(pods(4), 15)]);
    let mut fixture = Fixture::of(4).cpu(50, &[10; 4]).with_behavior(free(), never()).settled();
    assert_eq!(fixture.decide().desired, 4);
    assert_eq!(fixture.explained().limits[0].name, "ScaleDownLimit");
    let mut fixture = Fixture::of(4).cpu(50, &[5000; 4]).with_behavior(never(), free());
    assert_eq!(fixture.decide().desired, 4);
}

#[test]
fn replicas_removed_within_a_period_may_come_back_beyond_the_rate() {
    // Six minutes ago is outside of the period; two that were removed a minute ago were there at its start: 6 - 4 + 2 = 4, times 4.
    let event = |change: u32, age_s: u64| model::memory::ScaleEvent {
        at: Time::from_millis(1_000_000_000 - age_s * 1000),
        change,
        outdated: false,
    };
    let mut fixture = Fixture::of(6)
        .cpu(10, &[9000; 6])
        .with_behavior(rules(SelectPolicy::Max, &[(percent(300), 300)]), free());
    fixture.memory.scale_out = vec![event(50, 360), event(4, 60)];
    fixture.memory.scale_in = vec![event(2, 60)];
    assert_eq!(fixture.decide().desired, 16);
}

#[test]
fn a_scale_up_window_takes_the_lowest_recommendation_in_it() {
    let mut fixture = Fixture::of(2).cpu(50, &[500; 2]).with_behavior(within(60, free()), free()).settled();
    fixture.decide_and_apply();
    fixture.set_usage(&[1500; 2]);
    fixture.advance(1);
    assert_eq!(fixture.decide_and_apply(), 2, "six are recommended, two were a second ago");
    fixture.advance(58);
    assert_eq!(fixture.decide_and_apply(), 2);
    fixture.advance(1);
    assert_eq!(fixture.decide_and_apply(), 6, "the recommendation of two is a whole window old");
}

#[test]
fn stabilisation_comes_before_the_rate() {
    let mut fixture = Fixture::of(10)
        .cpu(50, &[300; 10])
        .with_behavior(free(), within(300, rules(SelectPolicy::Max, &[(pods(1), 60)])))
        .settled();
    fixture.decide();
    fixture.set_usage(&[50; 10]);
    fixture.advance(10);
    let limits = fixture.explained().limits;
    let found: Vec<_> = limits.iter().map(|limit| (limit.name, limit.from, limit.to)).collect();
    assert_eq!(found, [("ScaleDownStabilized", 1, 6), ("ScaleDownLimit", 6, 9)]);
}

#[test]
fn without_change_a_decision_repeats_itself() {
    let mut fixture = Fixture::of(3).cpu(50, &[700; 3]).between(1, 20);
    let first = fixture.decide();
    let memory = fixture.memory.clone();
    assert_eq!(fixture.decide(), first);
    assert_eq!(fixture.memory, memory);
}

// ---- Explanations.

#[test]
fn a_decision_is_explained_with_its_numbers() {
    let mut fixture = Fixture::of(2).between(2, 10).cpu(50, &[1240, 1240, 0]);
    let decision = fixture.explained();
    assert_eq!(
        &*decision.summary,
        "from 2 to 4: cpu at 124 %, target 50 %: 2.480 × 2 replicas, rounded up, is 5; it may grow to \
         at most 4 at once: 2 times the number, or 4"
    );
    let cpu = &decision.metrics[0];
    assert_eq!((&*cpu.name, &*cpu.current, &*cpu.target, cpu.proposal), ("cpu", "124 %", "50 %", Some(5)));
    assert_eq!(&*cpu.note, "2.480 × 2 replicas, rounded up, is 5 (2 ready); a replica uses 1240m on average");
    let conditions: Vec<_> = decision.conditions.iter().map(|c| (c.kind.name(), c.holds, c.reason)).collect();
    assert_eq!(
        conditions,
        [
            ("AbleToScale", true, "SucceededRescale"),
            ("ScalingActive", true, "ValidMetricFound"),
            ("ScalingLimited", true, "ScaleUpLimit"),
        ]
    );
}

#[test]
fn a_failed_change_is_explained_with_its_cause() {
    let mut fixture = Fixture::of(2).cpu(50, &[1000, 1000]);
    let verdict = fixture.decide();
    let failed = RescaleResult::Failed("the platform is full".into());
    let able = &verdict.conditions(&fixture.spec, &failed)[0];
    assert_eq!((able.holds, able.reason), (false, "FailedUpdateScale"));
    assert_eq!(&*able.message, "setting 4 replicas failed: the platform is full");
}

#[test]
fn a_stabilized_scale_in_is_explained_with_the_age_of_the_recommendation() {
    let mut fixture = Fixture::of(4).cpu(50, &[500; 4]).settled();
    fixture.decide();
    fixture.set_usage(&[100; 4]);
    fixture.advance(42);
    let decision = fixture.explained();
    assert_eq!(
        &*decision.limits[0].note,
        "up to 4 replicas were recommended within the last 300 s, last 42 s ago"
    );
    assert_eq!(
        &*decision.summary,
        "stays at 4: cpu at 10 %, target 50 %: 0.200 × 4 replicas, rounded up, is 1; up to 4 replicas \
         were recommended within the last 300 s"
    );
}
