//! A load that is found is a turn: on one side of it the outcome is met, on the other it is not.

use model::identity::Generation;
use model::input::Declared;
use model::memory::{LevelMemory, Recommendation, ScalingMemory};
use model::name::ServiceName;
use model::resource::{
    AutoscalerSpec, MeteredResource, MetricIdentifier, MetricSpec, Percent, Quantity, ResourceTarget,
    ScalePolicy, ServiceSpec, TotalTarget,
};
use model::settings::Settings;
use model::time::{Now, Time};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::effective_bounds::EffectiveBounds;
use crate::inputs::Observations;
use crate::measured_metric::MeasuredMetric;
use crate::scale::reading::{Gap, Milli, Phase, Readiness, ReplicaView, Replicas, Sample, Unavailable};

const NOW: Time = Time::from_millis(100_000_000);

fn inputs(current: u32, used: &[Option<i64>], queue: Option<i64>, recommended: u32) -> SizeInputs {
    let name = ServiceName::parse("shop").unwrap();
    let written = serde_json::json!({
        "run": {"command": ["./shop"]}, "resources": {"cpu": "1"}, "ports": [{"name": "http"}],
    });
    let spec: ServiceSpec = serde_json::from_value(written).unwrap();
    let target = ResourceTarget::Utilization(Percent(50));
    let metrics = vec![
        MetricSpec::Resource { resource: MeteredResource::Cpu, target },
        MetricSpec::External {
            metric: MetricIdentifier { name: "queue".into(), selector: None },
            target: TotalTarget::Average(Quantity::parse("10").unwrap()),
            fallback: None,
        },
    ];
    let policy = ScalePolicy::Hpa;
    let autoscaler =
        AutoscalerSpec { service: name.clone(), min: 1, max: 40, metrics, policy, behavior: None };
    let (revision, generation) = (Generation(1), Generation(1));
    let declared = Declared { name, revision, generation, spec, autoscaler: Some(autoscaler) };
    let now = Now { time: NOW, wall: Wall::from_millis(NOW.as_millis()) };
    let settled = NOW - Duration::from_hours(1);
    let replica = ReplicaView {
        phase: Phase::Running,
        leaving: false,
        started: Some(settled),
        readiness: Some(Readiness { ready: true, since: settled }),
    };
    let sample = |value| Sample { value: Milli(value), at: NOW, window: Duration::from_secs(2) };
    let settings = Settings::default();
    SizeInputs {
        expected_load: None,
        shadows: Vec::new(),
        replicas_max: 1000,
        now,
        effective_bounds: EffectiveBounds::of(now.wall, &declared, 1000),
        declared: Arc::new(declared),
        desired: Some(current),
        current,
        hold: None,
        to_zero: None,
        pause: None,
        protected: None,
        observed: Observations {
            warmup: None,
            count: current,
            replicas: Replicas::of(&vec![replica; used.len()]),
            measured: vec![
                MeasuredMetric::Each(used.iter().map(|used| used.map(sample).ok_or(Gap::Absent)).collect()),
                queue.map_or(MeasuredMetric::Nothing(Unavailable::Absent), |total| {
                    MeasuredMetric::Whole(vec![Milli(total)])
                }),
            ],
            capacity: None,
            memory: Arc::new(ScalingMemory {
                recommendations: vec![Recommendation {
                    at: NOW - Duration::from_secs(7),
                    replicas: recommended,
                }],
                ..ScalingMemory::default()
            }),
            errors: None,
            incident: None,
        },
        period: settings.period,
        hpa: settings.hpa,
    }
}

fn hypothetical_inputs() -> impl Strategy<Value = SizeInputs> {
    let used = vec(prop::option::weighted(0.9, prop_oneof![Just(0_i64), 0..3000_i64]), 1..6);
    let queue = prop::option::weighted(0.8, prop_oneof![Just(0_i64), 0..300_000_i64]);
    (1..12_u32, used, queue, 1..12_u32)
        .prop_map(|(current, used, queue, recommended)| inputs(current, &used, queue, recommended))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_load_that_is_found_is_where_the_outcome_turns(inputs in hypothetical_inputs(), is_out: bool) {
        let decided = inputs.decide().0.desired;
        let goal = Goal::new(if is_out { AlternativeSize::Larger } else { AlternativeSize::Smaller }, decided);
        let is_met = |varied, ppm| goal.is_met(inputs.at_load(varied, ppm).decide().0.desired);
        for varied in [VariedLoad::One(0), VariedLoad::One(1), VariedLoad::All] {
            match turn(&inputs, varied, goal) {
                None => prop_assert!(!is_met(varied, goal.extreme())),
                Some(0) => prop_assert!(is_met(varied, 0)),
                Some(ppm) => {
                    prop_assert!(is_met(varied, ppm));
                    prop_assert!(!is_met(varied, ppm + 1) || !is_met(varied, ppm - 1));
                }
            }
        }
    }

    #[test]
    fn what_is_said_of_other_outcomes_is_an_outcome_of_the_very_decision(inputs in hypothetical_inputs()) {
        let explainable = ExplainableDecision::of(inputs);
        for prospect in explainable.all_prospects() {
            let is_other = prospect.desired != explainable.sizing.desired;
            prop_assert_eq!(is_other, prospect.requires != RequiredChange::Declaration, "{:?}", prospect);
        }
    }
}

#[test]
fn a_service_that_may_rest_says_what_lets_it_rest() {
    let mut inputs = inputs(1, &[None], None, 1);
    let mut declared = Declared::clone(&inputs.declared);
    declared.autoscaler = None;
    declared.spec.scale =
        serde_json::from_value(serde_json::json!({"replicas": 1, "toZero": {"after": "20s"}})).unwrap();
    inputs.declared = Arc::new(declared);
    inputs.effective_bounds = EffectiveBounds::of(inputs.now.wall, &inputs.declared, inputs.replicas_max);
    let [prospect] = &ExplainableDecision::of(inputs).all_prospects()[..] else { panic!("one prospect") };
    assert!(
        prospect.note.starts_with("after 20s without requests it scales to zero; otherwise only"),
        "{prospect:?}"
    );
}

#[test]
fn a_step_that_is_far_from_nothing_names_the_load_where_it_begins() {
    let policy = serde_json::json!({"step": {
        "metric": "cpu",
        "above": [{"from": "70", "replicas": 1}],
        "evaluation": {"every": "10s", "breaches": 3},
    }});
    let policy: ScalePolicy = serde_json::from_value(policy).unwrap();
    let mut inputs = inputs(2, &[Some(0), Some(0)], Some(0), 2);
    let mut declared = Declared::clone(&inputs.declared);
    declared.autoscaler.as_mut().unwrap().policy = policy;
    inputs.declared = Arc::new(declared);
    let explainable = ExplainableDecision::of(inputs);
    let found = explainable.towards(Goal::new(AlternativeSize::Larger, explainable.sizing.desired));
    assert_eq!((found.requires, found.desired), (RequiredChange::Load, 3), "{found:?}");
    assert_eq!(&*found.levels[0].level, "70 %", "{found:?}");
}

#[test]
fn what_was_measured_is_its_own_load() {
    let inputs = inputs(4, &[Some(700), Some(300), None, Some(0)], Some(12_345), 4);
    for varied in [VariedLoad::One(0), VariedLoad::One(1), VariedLoad::All] {
        assert_eq!(inputs.at_load(varied, AS_MEASURED).decide().0.desired, inputs.decide().0.desired);
    }
}

#[test]
fn the_same_load_on_more_or_fewer_replicas_asks_for_the_same_number() {
    for many in [1, 2, 3, 8, 30] {
        let mut spread = inputs(4, &[Some(900), Some(700), Some(800), Some(800)], Some(1000), 4);
        spread.current = many;
        spread.observed.spread_over(many);
        assert_eq!((spread.observed.count, spread.observed.replicas.len()), (many, many as usize));
        // 3.2 cores at half a core each, but for what is cut off on the way, and what is near enough.
        let asked = match &spread.decide().0.outcome {
            Outcome::Scaled { verdict, .. } => verdict.metrics[0].as_ref().map(|it| it.replicas).unwrap(),
            Outcome::Plain { .. } => panic!("it has an autoscaler"),
        };
        assert!((6..=8).contains(&asked), "{asked} for a load spread over {many}");
    }
}

#[test]
fn a_limit_that_holds_afterwards_as_well_is_no_reason_to_wait() {
    // All of it is gone since the last look, and a floor of two lies below what would be wanted.
    let mut inputs = inputs(5, &[Some(0); 5], Some(0), 0);
    let mut declared = (*inputs.declared).clone();
    declared.autoscaler.as_mut().unwrap().min = 2;
    inputs.effective_bounds = EffectiveBounds::of(inputs.now.wall, &declared, inputs.replicas_max);
    inputs.declared = Arc::new(declared);
    let before = LevelMemory { at: NOW - Duration::from_secs(1), ratio: 1000, total: 5000, fall: None };
    Arc::make_mut(&mut inputs.observed.memory).levels = vec![before; 2];
    let explainable = ExplainableDecision::of(inputs);
    let limits = explainable.decision().limits;
    assert_eq!(limits.iter().map(|it| it.name).collect::<Vec<_>>(), ["TooFewReplicas", "HeldBySuddenFall"]);
    let note = explainable.by_time(|desired| desired < 5).unwrap().note;
    let (_, until) = note.split_once("; until then: ").unwrap();
    assert!(until.starts_with("a metric fell to 0 % of its value"), "{until}");
}

/// Two replicas with nothing to do, of which no fewer are wanted, with this schedule.
fn idle_under(schedule: serde_json::Value) -> ExplainableDecision {
    let mut inputs = inputs(2, &[Some(0); 2], Some(0), 2);
    let mut declared = (*inputs.declared).clone();
    declared.autoscaler.as_mut().unwrap().min = 2;
    declared.spec.scale.schedule = serde_json::from_value(schedule).unwrap();
    inputs.effective_bounds = EffectiveBounds::of(inputs.now.wall, &declared, inputs.replicas_max);
    inputs.declared = Arc::new(declared);
    ExplainableDecision::of(inputs)
}

#[test]
fn a_schedule_stands_in_the_way_only_of_what_it_bounds() {
    let fewer = |schedule| {
        let explainable = idle_under(schedule);
        explainable.towards(Goal::new(AlternativeSize::Smaller, explainable.sizing.desired)).note.to_string()
    };
    let all_day = |bound: &str, replicas: u32| serde_json::json!([{"cron": "0 0 * * *", "timezone": "UTC", "duration": "2d", bound: replicas}]);
    assert_eq!(
        fewer(all_day("max", 30)),
        "no load within the next day leads to fewer replicas: the minimum is 2"
    );
    let raised = fewer(all_day("min", 2));
    assert!(raised.starts_with("no load within the next day leads to fewer replicas: "), "{raised}");
    assert_eq!(
        fewer(serde_json::json!([])),
        "no load within the next hour leads to fewer replicas: the minimum is 2"
    );
}

#[test]
fn what_holds_is_named_and_not_a_gap_of_what_is_imagined() {
    let policy = serde_json::json!({"step": {
        "metric": "cpu",
        "above": [{"from": "70", "replicas": 1}],
        "below": [{"to": "10", "replicas": 1}],
        "evaluation": {"every": "5s", "breaches": 2},
    }});
    let mut inputs = inputs(2, &[Some(500), Some(500)], Some(0), 2);
    let mut declared = Declared::clone(&inputs.declared);
    declared.autoscaler.as_mut().unwrap().policy = serde_json::from_value(policy).unwrap();
    inputs.declared = Arc::new(declared);
    inputs.observed.errors = Some(crate::scale_in_blocker::Errors { failed: 150, requests: 274 });
    let explainable = ExplainableDecision::of(inputs);
    let found = explainable.towards(Goal::new(AlternativeSize::Smaller, explainable.sizing.desired));
    assert_eq!(
        &*found.note,
        "no load within the next hour leads to fewer replicas: 150 of 274 requests failed, so a fall of the load removes no replica"
    );
}

#[test]
fn a_metric_that_goes_into_a_mean_is_not_said_to_ask_for_nothing() {
    let policy = serde_json::json!({"composite": {"weights": {"cpu": 1, "queue": 1}}});
    let because = |queue| {
        let mut inputs = inputs(2, &[Some(500), Some(500)], queue, 2);
        let mut declared = Declared::clone(&inputs.declared);
        declared.autoscaler.as_mut().unwrap().policy = serde_json::from_value(policy.clone()).unwrap();
        inputs.declared = Arc::new(declared);
        ExplainableDecision::of(inputs).why_not(AlternativeSize::Larger).reasons
    };
    let measured = because(Some(20_000));
    assert!(measured.iter().all(|it| !it.contains("gives no number")), "{measured:?}");
    assert!(measured.iter().any(|it| it.starts_with("composite load asks for 2")), "{measured:?}");
    let silent = because(None);
    assert!(silent.iter().any(|it| it.starts_with("queue gives no number")), "{silent:?}");
}
