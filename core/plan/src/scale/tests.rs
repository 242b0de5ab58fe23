//! Properties of the algorithm that hold for all measurements.

use std::time::Duration;

use model::decision::ConditionKind;
use model::memory::{
    ConditionState, ConditionsMemory, Evaluations, LoadMemory, LoadPart, Panic, PendingChange, PolicyHistory,
    PolicyMemory, RECOMMENDATIONS_MAX, Recommendation, SCALE_EVENTS_MAX, ScaleEvent, ScalingMemory,
};
use model::name::ServiceName;
use model::resource::{
    AutoscalerSpec, Behavior, MeteredResource, MetricIdentifier, MetricSpec, Percent, PolicyChange, Quantity,
    ResourceTarget, ScalePolicy, ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
};
use model::settings::HpaSettings;
use model::time::{Time, Wall};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::explain::RescaleResult;
use super::hpa::{Outcome, Verdict, confirm, reconcile};
use super::log::{change_within, record_change, record_recommendation};
use super::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Replicas, Requests, Sample, Samples,
    ScaleView, Unavailable,
};
use super::stabilize;

const NOW: Time = Time::from_millis(100_000_000);
const DAY: Duration = Duration::from_hours(24);

/// A service with a cpu metric of each replica and the length of a queue.
#[derive(Clone, Debug)]
struct World {
    spec: AutoscalerSpec,
    current: u32,
    replicas: Vec<ReplicaView>,
    request: i64,
    used: Vec<Result<Milli, Gap>>,
    /// `None` when the source of the queue has no value.
    queue: Option<i64>,
    memory: ScalingMemory,
}

impl World {
    fn decide(&self, memory: &mut ScalingMemory) -> Verdict {
        let sample = |value: Milli| Sample { value, at: NOW, window: Duration::from_secs(30) };
        let samples: Vec<_> = self.used.iter().map(|used| used.map(sample)).collect();
        let series: Vec<_> = self.queue.iter().map(|length| Milli(*length)).collect();
        let cpu = MetricReading::Each(Samples {
            by_replica: &samples,
            unmatched: 0,
            requests: Requests::Same(Milli(self.request)),
        });
        let queue = match self.queue {
            Some(_) => MetricReading::Series(&series),
            None => MetricReading::Unavailable(Unavailable::Absent),
        };
        let view = ScaleView {
            warmup: None,
            learned_target: None,
            spec_replicas: self.current,
            status_replicas: self.current,
            members: Members::Known(&Replicas::of(&self.replicas)),
        };
        reconcile(NOW, &self.spec, &view, &[cpu, queue], memory, &HpaSettings::default())
    }
}

proptest! {
    #[test]
    fn the_number_is_never_outside_the_bounds(world in world()) {
        let verdict = world.decide(&mut world.memory.clone());
        let is_within = (world.spec.min..=world.spec.max).contains(&verdict.desired);
        prop_assert!(is_within || verdict.outcome == Outcome::Off, "{verdict:?}");
    }

    #[test]
    fn absurd_measurements_stay_within_the_bounds(
        world in world(), request in any::<i64>(), used in vec(any::<i64>().prop_map(Milli), 12), queue in any::<i64>(),
    ) {
        let used = used.into_iter().map(Ok).collect();
        let world = World { request, used, queue: Some(queue), ..world };
        let verdict = world.decide(&mut world.memory.clone());
        let is_within = (world.spec.min..=world.spec.max).contains(&verdict.desired);
        prop_assert!(is_within || verdict.outcome == Outcome::Off, "{verdict:?}");
        prop_assert!(!verdict.summary(&world.spec).is_empty());
    }

    #[test]
    fn more_load_never_leads_to_fewer_replicas(world in world(), more in vec(0..5000_i64, 12), longer in 0..500_i64) {
        let mut busier = world.clone();
        for (used, more) in busier.used.iter_mut().zip(more) {
            *used = used.map(|milli| Milli(milli.0 + more));
        }
        busier.queue = busier.queue.map(|length| length + longer);
        let (calm, busy) = (world.decide(&mut world.memory.clone()), busier.decide(&mut world.memory.clone()));
        prop_assert!(calm.desired <= busy.desired, "{calm:?}\n{busy:?}");
    }

    #[test]
    fn a_metric_without_a_value_never_scales_in(mut world in world(), gap in gap()) {
        // The metric that loses its value must be used: the only one of the policy, otherwise the queue.
        match world.spec.policy.only_metric(&world.spec.metrics) {
            Some(0) => world.used.fill(Err(gap)),
            Some(_) | None => world.queue = None,
        }
        let verdict = world.decide(&mut world.memory.clone());
        let is_clamp = matches!(verdict.outcome, Outcome::AboveMax(_));
        prop_assert!(verdict.desired >= world.current || is_clamp, "{verdict:?}");
    }

    #[test]
    fn a_repeated_decision_is_the_same_and_changes_no_memory(world in world()) {
        let mut memory = world.memory.clone();
        let first = world.decide(&mut memory);
        let remembered = memory.clone();
        // Compared as text: a ratio of 0 to 0 is NaN, which does not equal itself.
        prop_assert_eq!(format!("{:?}", world.decide(&mut memory)), format!("{first:?}"));
        prop_assert_eq!(memory, remembered);
    }

    #[test]
    fn conditions_have_the_status_of_the_condition_states(world in world()) {
        let verdict = world.decide(&mut world.memory.clone());
        let is_shown_while_it_holds = |kind| {
            matches!(kind, ConditionKind::ExternalMetricFallbackActive | ConditionKind::ScaledToZero)
        };
        let states: Vec<_> =
            verdict.condition_states().filter(|(kind, holds)| *holds || !is_shown_while_it_holds(*kind)).collect();
        let conditions = verdict.conditions(&world.spec, &RescaleResult::Done);
        let shown: Vec<_> = conditions.iter().map(|condition| (condition.kind, condition.holds)).collect();
        prop_assert_eq!(shown, states);
    }

    #[test]
    fn a_stabilised_number_lies_between_its_inputs(
        log in recommendations(), current in 0..40_u32, proposal in 0..40_u32, behavior in behavior(),
    ) {
        let inputs: Vec<_> = log.iter().map(|slot| slot.replicas).chain([current, proposal]).collect();
        let range = *inputs.iter().min().expect("two at least")..=*inputs.iter().max().expect("two at least");
        let with = stabilize::with_behavior(&mut log.clone(), NOW, current, proposal, &behavior);
        prop_assert!(range.contains(&with.replicas), "{with:?}");
        prop_assert_eq!(with.held.is_some(), with.replicas != proposal);
        let without = stabilize::without_behavior(&mut log.clone(), NOW, proposal, Duration::from_secs(300));
        prop_assert!(range.contains(&without.replicas) && without.replicas >= proposal, "{without:?}");
    }

    #[test]
    fn slots_by_number_answer_every_window_like_a_complete_log(
        numbers in vec((0..30_u32, 1..20_u64), 1..300), windows in vec(0..600_u64, 3),
    ) {
        let keep = Duration::from_secs(600);
        let (mut slots, mut everything, mut now) = (Vec::new(), Vec::new(), NOW);
        for (replicas, later) in numbers {
            now = now + Duration::from_secs(later);
            record_recommendation(&mut slots, now, replicas, keep);
            everything.push(Recommendation { at: now, replicas });
            for window in &windows {
                let within = |log: &[Recommendation]| {
                    let young = |slot: &&Recommendation| now.since(slot.at) <= Duration::from_secs(*window);
                    let found: Vec<_> = log.iter().filter(young).map(|slot| slot.replicas).collect();
                    (found.iter().min().copied(), found.iter().max().copied())
                };
                prop_assert_eq!(within(&slots), within(&everything));
            }
        }
        prop_assert!(slots.len() <= 30);
    }
}

#[test]
fn a_full_log_of_recommendations_errs_towards_more_replicas() {
    let (mut log, mut now) = (Vec::new(), NOW);
    let highest = 3 * RECOMMENDATIONS_MAX as u32;
    for replicas in (0..highest).rev() {
        now = now + Duration::from_secs(1);
        record_recommendation(&mut log, now, replicas, DAY);
        assert!(log.len() <= RECOMMENDATIONS_MAX);
    }
    // The exact largest number of the last `window` seconds, and the one by the log.
    for window in [1, 10, 100, 1000, highest] {
        let young = log.iter().filter(|slot| now.since(slot.at) < Duration::from_secs(u64::from(window)));
        let found = young.map(|slot| slot.replicas).max().expect("the last one at least");
        let exact = window - 1;
        assert!((exact..=exact + 4).contains(&found), "{found} instead of {exact}");
    }
}

#[test]
fn a_full_log_of_changes_merges_the_oldest_and_forgets_none() {
    let behavior = Behavior { scale_up: free(1800), scale_down: free(1800) };
    let mut memory = ScalingMemory::default();
    for _ in 0..2 * SCALE_EVENTS_MAX {
        record_change(&mut memory, NOW, 1, 2, Some(&behavior));
    }
    let sum: u32 = memory.scale_out.iter().map(|event| event.change).sum();
    assert_eq!((memory.scale_out.len(), sum), (SCALE_EVENTS_MAX, 2 * SCALE_EVENTS_MAX as u32));
}

/// As in Kubernetes' `storeScaleEvent`: the slot of a change is reused once it is older than the periods of its own direction, though a policy of the
/// other direction may look further back.
#[test]
fn a_change_is_forgotten_after_the_longest_period_of_its_own_direction() {
    let behavior = Behavior { scale_up: free(10), scale_down: free(100) };
    let mut memory = ScalingMemory::default();
    let later = NOW + Duration::from_secs(20);
    record_change(&mut memory, NOW, 1, 3, Some(&behavior));
    record_change(&mut memory, later, 3, 4, Some(&behavior));
    assert_eq!(change_within(&memory.scale_out, later, Duration::from_secs(100)), 1);
}

#[test]
fn a_condition_holds_since_its_status_last_changed() {
    let (mut memory, begin, later) =
        (ConditionsMemory::default(), Wall::from_millis(1000), Wall::from_millis(6000));
    let able = ConditionKind::AbleToScale;
    let changed = |memory: &ConditionsMemory| memory.get(able).map(|condition| condition.since);
    let fine = Verdict { outcome: Outcome::Off, ..Verdict::unreadable(0) };
    fine.record_conditions(begin, &mut memory);
    fine.record_conditions(later, &mut memory);
    assert_eq!(changed(&memory), Some(begin), "its status did not change");
    Verdict::unreadable(0).record_conditions(later, &mut memory);
    assert_eq!(memory.get(able), Some(ConditionState { holds: false, since: later }));
    Verdict::unreadable(0).record_conditions(Wall::from_millis(9000), &mut memory);
    assert_eq!(changed(&memory), Some(later));
    // A pass that does not evaluate a condition leaves it unchanged.
    let active = ConditionState { holds: false, since: begin };
    assert_eq!(memory.get(ConditionKind::ScalingActive), Some(active));
    assert_eq!(memory.get(ConditionKind::ScalingLimited), None);
}

#[test]
fn a_verdict_without_change_leaves_no_event() {
    let spec = spec(1, 10, Some(Behavior { scale_up: free(60), scale_down: free(60) }));
    let mut memory = ScalingMemory::default();
    confirm(NOW, &spec, &Verdict::unreadable(3), &mut memory);
    assert_eq!(memory, ScalingMemory::default());
}

fn world() -> impl Strategy<Value = World> {
    let bounds = (0..5_u32, 1..30_u32, option::of(behavior()), policy());
    let replicas = vec((replica(), used()), 0..12);
    let memory = (recommendations(), events(), events(), any::<bool>(), policy_memory());
    (bounds, replicas, option::weighted(0.8, 0..50_000_i64), memory).prop_map(
        |(
            (min, above, behavior, policy),
            replicas,
            queue,
            (recommendations, scale_out, scale_in, scaled_to_zero, policy_memory),
        )| {
            let (replicas, used): (Vec<_>, Vec<_>) = replicas.into_iter().unzip();
            World {
                spec: AutoscalerSpec { policy, ..spec(min, min + above, behavior) },
                current: u32::try_from(replicas.len()).expect("few"),
                replicas,
                request: 500,
                used,
                queue,
                memory: ScalingMemory {
                    recommendations,
                    scale_out,
                    scale_in,
                    scaled_to_zero,
                    policy: policy_memory,
                    ..Default::default()
                },
            }
        },
    )
}

fn policy() -> impl Strategy<Value = ScalePolicy> {
    // By the processor utilization (per cent), by the queue (jobs for each replica), and by both.
    select(vec![
        "\"hpa\"",
        "\"unanimous\"",
        r#"{"step": {"metric": "cpu", "above": [{"from": 70, "to": 85, "replicas": 2}, {"from": 85, "percent": 80}],
            "below": [{"to": 20, "percent": 40}, {"from": 20, "to": 40, "replicas": 1}]}}"#,
        r#"{"step": {"metric": "queue", "above": [{"from": 4, "exactly": 9}], "evaluation": {"breaches": 1}}}"#,
        r#"{"step": {"metric": "queue", "below": [{"to": 2, "exactly": 0}], "cooldown": {"in": "5m"}}}"#,
        r#"{"watermarks": {"metric": "cpu", "high": 80, "low": 30}}"#,
        r#"{"watermarks": {"metric": "queue", "high": 5, "low": 2, "outAfter": "10s", "inAfter": "1m"}}"#,
        r#"{"targetTracking": {}}"#,
        r#"{"targetTracking": {"warmup": "5m", "outAfter": "0s", "inAfter": "0s"}}"#,
        r#"{"burst": {"metric": "cpu"}}"#,
        r#"{"burst": {"metric": "queue", "stableWindow": "5m", "panicWindow": "1m", "panicThresholdPercent": 110}}"#,
    ])
    .prop_map(|written| serde_json::from_str(written).expect("a policy in the code is a policy"))
}

fn policy_memory() -> impl Strategy<Value = PolicyMemory> {
    let ago = || (0..400_u64).prop_map(|secs| NOW - Duration::from_secs(secs));
    let asking = prop_oneof![
        Just(PendingChange::None),
        ago().prop_map(|since| PendingChange::More { since }),
        ago().prop_map(|since| PendingChange::Fewer { since }),
    ];
    let mean = || option::weighted(0.9, (0..120_000_i64).prop_map(Milli));
    let evaluations = (ago(), vec(mean(), 0..6)).prop_map(|(since, means)| {
        let count = u32::from(since < NOW);
        Evaluations { noted: NOW - Duration::from_secs(1), since, sum: Milli(50_000), count, means }
    });
    let panic = (0..200_u64, 0..100_u64, 1..30_u32).prop_map(|(earlier, secs, peak)| {
        let over = NOW - Duration::from_secs(secs);
        Panic { since: over - Duration::from_secs(earlier), over, peak }
    });
    let load = (vec(0..900_000_i64, 0..60), option::weighted(0.3, panic)).prop_map(|(loads, panic)| {
        let begin = NOW - Duration::from_secs(loads.len() as u64);
        let at = |second: usize| begin + Duration::from_secs(second as u64);
        let part = |(second, sum)| LoadPart { at: at(second), sum: Milli(sum), count: 1 };
        let parts = loads.into_iter().enumerate().map(part).collect();
        LoadMemory { noted: NOW - Duration::from_secs(1), since: begin, parts, panic }
    });
    let history = prop_oneof![
        Just(PolicyHistory::None),
        asking.prop_map(PolicyHistory::Pending),
        evaluations.prop_map(PolicyHistory::Evaluations),
        load.prop_map(PolicyHistory::Load),
    ];
    (option::of(ago()), option::of(ago()), history).prop_map(|(last_scale_out, last_scale_in, history)| {
        PolicyMemory { last_scale_out, last_scale_in, history }
    })
}

fn spec(min: u32, max: u32, behavior: Option<Behavior>) -> AutoscalerSpec {
    let metric = MetricIdentifier { name: "queue".to_owned(), selector: None };
    AutoscalerSpec {
        service: ServiceName::parse("shop").expect("a valid name"),
        min,
        max,
        metrics: vec![
            MetricSpec::Resource {
                resource: MeteredResource::Cpu,
                target: ResourceTarget::Utilization(Percent(60)),
            },
            MetricSpec::External {
                metric,
                target: TotalTarget::Average(Quantity::from_milli(3000)),
                fallback: None,
            },
        ],
        policy: ScalePolicy::Hpa,
        behavior,
    }
}

/// Mostly running and old enough to count, or starting. With replicas that are wanted and do not exist, Kubernetes' algorithm is not monotone, as its
/// own `readyPodCount` shows.
fn replica() -> impl Strategy<Value = ReplicaView> {
    let phase = prop_oneof![9 => Just(Phase::Running), 1 => Just(Phase::Pending)];
    (phase, prop_oneof![8 => Just(36_000_u64), 1 => 0..400_u64]).prop_map(|(phase, age)| {
        let since = NOW - Duration::from_secs(age);
        let readiness = Some(Readiness { ready: true, since });
        ReplicaView { phase, leaving: false, started: Some(since), readiness }
    })
}

fn gap() -> impl Strategy<Value = Gap> {
    prop_oneof![Just(Gap::Absent), Just(Gap::Stale), Just(Gap::Failed)]
}

fn used() -> impl Strategy<Value = Result<Milli, Gap>> {
    prop_oneof![9 => (0..2000_i64).prop_map(|milli| Ok(Milli(milli))), 1 => gap().prop_map(Err)]
}

fn recommendations() -> impl Strategy<Value = Vec<Recommendation>> {
    let slot = (0..700_u64, 0..40_u32)
        .prop_map(|(age, replicas)| Recommendation { at: NOW - Duration::from_secs(age), replicas });
    vec(slot, 1..12)
}

fn events() -> impl Strategy<Value = Vec<ScaleEvent>> {
    let event = (0..400_u64, 1..6_u32).prop_map(|(age, change)| ScaleEvent {
        at: NOW - Duration::from_secs(age),
        change,
        outdated: false,
    });
    vec(event, 0..6)
}

fn behavior() -> impl Strategy<Value = Behavior> {
    (rules(), rules()).prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down })
}

fn rules() -> impl Strategy<Value = ScalingRules> {
    let change = prop_oneof![
        (1..10_u32).prop_map(PolicyChange::Pods),
        (1..300_u32).prop_map(|percent| PolicyChange::Percent(Percent(percent))),
    ];
    let policy = (change, 1..300_u64)
        .prop_map(|(change, secs)| ScalingPolicy { change, period: Duration::from_secs(secs) });
    let select = prop_oneof![Just(SelectPolicy::Max), Just(SelectPolicy::Min), Just(SelectPolicy::Disabled)];
    (0..600_u64, select, vec(policy, 1..4)).prop_map(|(window, select, policies)| ScalingRules {
        stabilization: Duration::from_secs(window),
        select,
        policies,
        tolerance: None,
    })
}

fn free(period_s: u64) -> ScalingRules {
    let policy =
        ScalingPolicy { change: PolicyChange::Percent(Percent(100)), period: Duration::from_secs(period_s) };
    ScalingRules {
        stabilization: Duration::ZERO,
        select: SelectPolicy::Max,
        policies: vec![policy],
        tolerance: None,
    }
}
