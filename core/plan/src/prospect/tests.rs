//! The load that is found is a turning point: on one side of it the goal is met, on the other it is not.

use model::identity::Generation;
use model::input::Declared;
use model::memory::{LevelMemory, Recommendation, ScalingMemory};
use model::name::ServiceName;
use model::resource::{
    AutoscalerSpec, MeteredResource, MetricIdentifier, MetricSpec, Percent, Quantity, ResourceTarget,
    ScalePolicy, ServiceSpec, TotalTarget,
};
use model::settings::Settings;
use model::time::{Now, Time, Wall};
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
    fn the_load_that_is_found_is_where_the_outcome_changes(inputs in hypothetical_inputs(), is_out: bool) {
        let decided = inputs.decide().0.desired;
        let goal = Goal::new(if is_out { AlternativeSize::Larger } else { AlternativeSize::Smaller }, decided);
        let is_met = |varied, ppm| goal.is_met(inputs.at_load(varied, ppm).decide().0.desired);
        for varied in [VariedLoad::One(0), VariedLoad::One(1), VariedLoad::All] {
            match turning_load(&inputs, varied, goal) {
                None => prop_assert!(!is_met(varied, extreme_load(goal))),
                Some(0) => prop_assert!(is_met(varied, 0)),
                Some(ppm) => {
                    prop_assert!(is_met(varied, ppm));
                    prop_assert!(!is_met(varied, ppm + 1) || !is_met(varied, ppm - 1));
                }
            }
        }
    }

    #[test]
    fn every_prospect_but_another_declaration_leads_to_another_outcome(inputs in hypothetical_inputs()) {
        let explainable = ExplainableDecision::of(inputs);
        for prospect in explainable.all_prospects() {
            let is_other = prospect.desired != explainable.sizing.desired;
            prop_assert_eq!(is_other, prospect.requires != RequiredChange::Declaration, "{:?}", prospect);
        }
    }
}

#[test]
fn the_prospects_of_a_service_with_scale_to_zero_name_its_delay() {
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
fn the_prospect_of_an_idle_service_names_the_load_where_a_step_begins() {
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
    let found = explainable.prospect_for(Goal::new(AlternativeSize::Larger, explainable.sizing.desired));
    assert_eq!((found.requires, found.desired), (RequiredChange::Load, 3), "{found:?}");
    assert_eq!(&*found.levels[0].level, "70 %", "{found:?}");
}

#[test]
fn the_measured_load_is_at_a_factor_of_one() {
    let inputs = inputs(4, &[Some(700), Some(300), None, Some(0)], Some(12_345), 4);
    for varied in [VariedLoad::One(0), VariedLoad::One(1), VariedLoad::All] {
        assert_eq!(inputs.at_load(varied, AS_MEASURED).decide().0.desired, inputs.decide().0.desired);
    }
}

#[test]
fn the_same_load_spread_over_other_replicas_proposes_the_same_number() {
    for many in [1, 2, 3, 8, 30] {
        let mut spread = inputs(4, &[Some(900), Some(700), Some(800), Some(800)], Some(1000), 4);
        spread.current = many;
        spread.observed.spread_over(many);
        assert_eq!((spread.observed.count, spread.observed.replicas.len()), (many, many as usize));
        // 3.2 cores at half a core each, within rounding and tolerance.
        let proposal = match &spread.decide().0.outcome {
            Outcome::Scaled { verdict, .. } => {
                verdict.metrics[0].as_ref().map(|metric| metric.replicas).unwrap()
            }
            Outcome::Plain { .. } => panic!("it has an autoscaler"),
        };
        assert!((6..=8).contains(&proposal), "{proposal} for a load spread over {many}");
    }
}

#[test]
fn a_limit_that_holds_afterwards_as_well_is_not_what_is_waited_for() {
    // The load fell to zero since the last decision, and the minimum of two limits the number as well.
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

/// Two idle replicas, at a minimum of two, with this schedule.
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
fn a_schedule_that_changes_the_size_does_so_when_it_begins_or_ends() {
    let at = |cron: &str, duration: &str, min: u32| {
        let schedule = serde_json::json!([{"cron": cron, "duration": duration, "min": min}]);
        let explainable = idle_under(schedule);
        let desired = explainable.sizing.desired;
        let note = explainable.by_time(|other| other != desired).unwrap().note;
        note.split("; until then").next().unwrap_or_default().to_owned()
    };
    // Now it is 03:46:40 of 1970-01-02.
    let same = "if the load stays as it is: 3 replicas";
    assert_eq!(at("50 3 * * *", "1h", 3), format!("at 03:50:00 UTC {same}"));
    assert_eq!(at("30 4 * * *", "1m", 3), format!("at 04:30:00 UTC {same}"));
    assert_eq!(at("0 9 * * *", "8h", 3), format!("at 09:00:00 UTC {same}"));
    assert_eq!(at("31 9 * * *", "1m", 3), format!("at 09:31:00 UTC {same}"), "shorter than the steps");
    assert_eq!(at("30 2 * * *", "1h", 3), format!("at 1970-01-03 02:30:00 UTC {same}"));
    let ends = at("45 3 * * *", "3h", 4);
    assert!(ends.starts_with("at 06:45:00 UTC if the load stays as it is: "), "{ends}");
}

#[test]
fn a_schedule_is_an_obstacle_only_to_the_side_that_it_bounds() {
    let fewer = |schedule| {
        let explainable = idle_under(schedule);
        explainable
            .prospect_for(Goal::new(AlternativeSize::Smaller, explainable.sizing.desired))
            .note
            .to_string()
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
fn the_real_limit_is_named_and_not_a_gap_of_the_simulation() {
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
    let found = explainable.prospect_for(Goal::new(AlternativeSize::Smaller, explainable.sizing.desired));
    assert_eq!(
        &*found.note,
        "no load within the next hour leads to fewer replicas: 150 of 274 requests failed, so a fall of the load removes no replica"
    );
}

#[test]
fn a_metric_of_a_composite_load_is_not_an_obstacle_while_it_is_measured() {
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
