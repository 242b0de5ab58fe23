//! Random worlds: the production code and the oracle make the same decisions, over days of simulated time.

use std::time::Duration;

use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::resource::hpa::shapes::CrossVersionObjectReference;
use model::resource::{
    AutoscalerSpec, Behavior, Fallback, MeteredResource, MetricIdentifier, MetricSpec, Percent, PolicyChange,
    Quantity, ResourceTarget, ScalePolicy, ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
};
use model::settings::HpaSettings;
use model::time::{Now, Time, Wall};
use plan::scale::hpa::{confirm, reconcile};
use plan::scale::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Replicas, Requests, Sample, Samples,
    ScaleView, Unavailable,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::oracle::{Oracle, Question};

/// 1,000 worlds of 50 decisions each, with a behavior and without: 100,000 in all.
const WORLDS: u32 = 1000;
const DECISIONS: usize = 50;

/// The maximum numbers of metrics and replicas of a world: few are enough to find any difference.
const METRICS_MAX: usize = 2;
const REPLICAS_MAX: usize = 5;

/// The input of one decision.
#[derive(Clone, Debug)]
struct DecisionInput {
    secs_later: u64,
    replicas: Vec<Ages>,
    sources: Vec<Source>,
    /// The number that is set manually before it.
    by_hand: Option<u32>,
}

/// A replica, in seconds before now.
#[derive(Clone, Debug)]
struct Ages {
    phase: Phase,
    leaving: bool,
    started: Option<u64>,
    readiness: Option<(bool, u64)>,
}

/// The values of a source, of which each metric uses those for its type.
#[derive(Clone, Debug)]
struct Source {
    state: SourceState,
    samples: Vec<Option<(i64, u64, u64)>>,
    requests: RequestsKind,
    series: Vec<Milli>,
}

#[derive(Clone, Debug)]
enum SourceState {
    Fine,
    Silent,
    OfAnotherShape,
}

#[derive(Clone, Debug)]
enum RequestsKind {
    Unset,
    Same(i64),
    Each(Vec<Milli>),
}

/// The same worlds in every run; `PROPTEST_RNG_SEED` selects others.
fn config() -> ProptestConfig {
    ProptestConfig { cases: WORLDS, rng_seed: RngSeed::Fixed(20_261_121), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn with_a_behavior_the_production_code_and_the_oracle_agree(
        spec in spec(),
        behavior in (rules(), rules()),
        first in 0..12_u32,
        inputs in vec(input(), DECISIONS),
    ) {
        let behavior = Some(Behavior { scale_up: behavior.0, scale_down: behavior.1 });
        decide_alike(&AutoscalerSpec { behavior, ..spec }, first, &inputs)?;
    }

    #[test]
    fn without_a_behavior_the_production_code_and_the_oracle_agree(
        spec in spec(),
        first in 0..12_u32,
        inputs in vec(input(), DECISIONS),
    ) {
        decide_alike(&spec, first, &inputs)?;
    }
}

fn decide_alike(spec: &AutoscalerSpec, first: u32, inputs: &[DecisionInput]) -> Result<(), TestCaseError> {
    let settings = HpaSettings::default();
    let (mut memory, mut oracle) = (ScalingMemory::default(), Oracle::default());
    let (mut now, mut current) = (Time::from_millis(1_000_000_000), first);
    for input in inputs {
        now = now + Duration::from_secs(input.secs_later);
        current = input.by_hand.unwrap_or(current);
        let replicas: Vec<_> = input.replicas.iter().map(|ages| ages.at(now)).collect();
        let samples: Vec<Vec<_>> = input.sources.iter().map(|source| source.samples(now)).collect();
        let sources = input.sources.iter().zip(&samples);
        let readings: Vec<_> = spec
            .metrics
            .iter()
            .zip(sources)
            .map(|(metric, (source, samples))| source.reading(metric, samples))
            .collect();
        let status = u32::try_from(replicas.len()).expect("few");
        let members = Members::Known(&Replicas::of(&replicas));
        let view = ScaleView {
            spec_replicas: current,
            status_replicas: status,
            members,
            warmup: None,
            learned_target: None,
        };
        let verdict = reconcile(now, spec, &view, &readings, &mut memory, &settings);
        let question = Question {
            now,
            spec,
            current,
            status,
            replicas: &replicas,
            readings: &readings,
            settings: &settings,
        };
        prop_assert_eq!(
            verdict.desired,
            oracle.decide(&question),
            "at {} from {}: {:?}",
            now,
            current,
            verdict
        );

        let at = Now { time: now, wall: Wall::from_millis(0) };
        let decision = verdict.decision(spec.service.clone(), at, spec);
        prop_assert!(!decision.summary.is_empty() && !decision.conditions.is_empty());
        confirm(now, spec, &verdict, &mut memory);
        if verdict.is_rescale() {
            oracle.rescaled(now, current, verdict.desired, spec);
        }
        current = verdict.desired;
    }
    Ok(())
}

impl Ages {
    fn at(&self, now: Time) -> ReplicaView {
        let ago = |secs| now - Duration::from_secs(secs);
        ReplicaView {
            phase: self.phase,
            leaving: self.leaving,
            started: self.started.map(ago),
            readiness: self.readiness.map(|(ready, age)| Readiness { ready, since: ago(age) }),
        }
    }
}

impl Source {
    fn samples(&self, now: Time) -> Vec<Result<Sample, Gap>> {
        let sample = |value: &Option<(i64, u64, u64)>| {
            let (milli, age, window) = value.ok_or(Gap::Absent)?;
            let at = now - Duration::from_secs(age);
            Ok(Sample { value: Milli(milli), at, window: Duration::from_secs(window) })
        };
        self.samples.iter().map(sample).collect()
    }

    fn reading<'a>(&'a self, metric: &MetricSpec, samples: &'a [Result<Sample, Gap>]) -> MetricReading<'a> {
        let is_of_each = match metric {
            MetricSpec::Resource { .. } | MetricSpec::ContainerResource { .. } | MetricSpec::Pods { .. } => {
                true
            }
            MetricSpec::Object { .. } | MetricSpec::External { .. } => false,
        };
        let wants_each = match self.state {
            SourceState::Silent => return MetricReading::Unavailable(Unavailable::Absent),
            SourceState::Fine => is_of_each,
            SourceState::OfAnotherShape => !is_of_each,
        };
        if !wants_each {
            return MetricReading::Series(&self.series);
        }
        let requests = match &self.requests {
            RequestsKind::Unset => Requests::Unset,
            RequestsKind::Same(milli) => Requests::Same(Milli(*milli)),
            RequestsKind::Each(each) => Requests::Each(each),
        };
        MetricReading::Each(Samples { by_replica: samples, unmatched: 0, requests })
    }
}

fn spec() -> impl Strategy<Value = AutoscalerSpec> {
    let bounds = (0..4_u32, 1..30_u32);
    (bounds, vec(metric(), 1..=METRICS_MAX)).prop_map(|((min, above), metrics)| AutoscalerSpec {
        service: ServiceName::parse("shop").expect("a valid name"),
        min,
        max: min + above,
        metrics,
        policy: ScalePolicy::Hpa,
        behavior: None,
    })
}

fn metric() -> impl Strategy<Value = MetricSpec> {
    let resource = prop_oneof![Just(MeteredResource::Cpu), Just(MeteredResource::Memory)];
    let amount = (1..2000_i64).prop_map(Quantity::from_milli);
    let share = (1..200_u32).prop_map(|percent| ResourceTarget::Utilization(Percent(percent)));
    let target = prop_oneof![share, amount.clone().prop_map(ResourceTarget::Average)];
    let total = prop_oneof![
        amount.clone().prop_map(TotalTarget::Value),
        amount.clone().prop_map(TotalTarget::Average)
    ];
    let named = || MetricIdentifier { name: "m".to_owned(), selector: None };
    let object =
        CrossVersionObjectReference { kind: "K".to_owned(), name: "n".to_owned(), api_version: None };
    prop_oneof![
        3 => (resource, target).prop_map(|(resource, target)| MetricSpec::Resource { resource, target }),
        1 => amount.prop_map(move |average| MetricSpec::Pods { metric: named(), average }),
        1 => (total.clone(), option::of(fallback()))
            .prop_map(move |(target, fallback)| MetricSpec::External { metric: named(), target, fallback }),
        1 => total.prop_map(move |target| MetricSpec::Object { object: object.clone(), metric: named(), target }),
    ]
}

fn fallback() -> impl Strategy<Value = Fallback> {
    (180..400_u64, 1..12_u32)
        .prop_map(|(secs, replicas)| Fallback { after: Duration::from_secs(secs), replicas })
}

fn rules() -> impl Strategy<Value = ScalingRules> {
    let change = prop_oneof![
        (1..10_u32).prop_map(PolicyChange::Pods),
        (1..300_u32).prop_map(|percent| PolicyChange::Percent(Percent(percent))),
    ];
    let policy = (change, 1..300_u64)
        .prop_map(|(change, secs)| ScalingPolicy { change, period: Duration::from_secs(secs) });
    let select = prop_oneof![
        4 => Just(SelectPolicy::Max),
        2 => Just(SelectPolicy::Min),
        1 => Just(SelectPolicy::Disabled),
    ];
    (0..400_u64, select, vec(policy, 1..4), option::of(0..300_i64)).prop_map(
        |(window, select, policies, tolerance)| ScalingRules {
            stabilization: Duration::from_secs(window),
            select,
            policies,
            tolerance: tolerance.map(Quantity::from_milli),
        },
    )
}

fn input() -> impl Strategy<Value = DecisionInput> {
    let later = prop_oneof![3 => Just(1_u64), 3 => Just(15), 1 => 0..400_u64];
    let by_hand = option::weighted(0.05, 0..12_u32);
    (later, vec(ages(), 0..=REPLICAS_MAX), vec(source(), METRICS_MAX), by_hand).prop_map(
        |(secs_later, replicas, sources, by_hand)| DecisionInput { secs_later, replicas, sources, by_hand },
    )
}

fn ages() -> impl Strategy<Value = Ages> {
    let phase = prop_oneof![
        12 => Just(Phase::Running),
        1 => Just(Phase::Pending),
        1 => Just(Phase::Failed),
        1 => Just(Phase::Succeeded),
    ];
    let age = || prop_oneof![Just(0_u64), 0..60_u64, 250..350_u64, Just(36_000)];
    let readiness = option::weighted(0.95, (proptest::bool::weighted(0.9), age()));
    (phase, proptest::bool::weighted(0.05), option::weighted(0.95, age()), readiness)
        .prop_map(|(phase, leaving, started, readiness)| Ages { phase, leaving, started, readiness })
}

fn source() -> impl Strategy<Value = Source> {
    let state = prop_oneof![20 => Just(SourceState::Fine), 2 => Just(SourceState::Silent), 1 => Just(SourceState::OfAnotherShape)];
    let sample = option::weighted(0.9, (0..3000_i64, 0..90_u64, 0..60_u64));
    let requests = prop_oneof![
        1 => Just(RequestsKind::Unset),
        8 => (1..2000_i64).prop_map(RequestsKind::Same),
        4 => vec((0..2000_i64).prop_map(Milli), REPLICAS_MAX).prop_map(RequestsKind::Each),
    ];
    let series = vec((0..30_000_i64).prop_map(Milli), 0..3);
    (state, vec(sample, 0..=REPLICAS_MAX), requests, series)
        .prop_map(|(state, samples, requests, series)| Source { state, samples, requests, series })
}
