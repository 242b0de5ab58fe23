//! `scaling`: the cost of decisions on the number of replicas.

use std::time::Duration;

use anyhow::ensure;
use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::resource::{
    AutoscalerSpec, Behavior, MeteredResource, MetricIdentifier, MetricSpec, Percent, PolicyChange, Quantity,
    REQUEST_RATE_METRIC, ResourceTarget, ScalePolicy, ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
};
use model::settings::HpaSettings;
use model::time::Time;
use plan::scale::hpa::{confirm, reconcile};
use plan::scale::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Replicas, Requests, Sample, Samples,
    ScaleView,
};

use crate::figure::{Findings, Target, Unit};
use crate::spans::{Costs, Stopwatch};

/// The number of autoscalers, four metrics each.
const AUTOSCALERS: usize = 10_000;
/// The target for a round, in which each autoscaler decides once.
const ROUND: Target = Target::AtMost(0.1);
/// Rounds, a second apart: twice the longest window, so that histories reach their full size.
const ROUNDS: u64 = 660;
/// The number of rounds, the last ones, whose cost is measured.
const TAKEN: u64 = 60;
/// The replicas of each at the beginning.
const EACH: u32 = 10;
/// When it begins: all replicas have been ready for a day.
const BEGIN: Time = Time::from_millis(1_790_000_000_000);

/// Has 10,000 autoscalers decide each second, for eleven minutes.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("scaling");
    findings.describe(format!(
        "{AUTOSCALERS} autoscalers with four metrics (cpu, memory, requests, a queue), {EACH} replicas and a behavior each; load rises and falls \
         in 20 minutes, and no two of them are at the same point of it; {ROUNDS} rounds a second apart, of which the last {TAKEN} are taken; one thread"
    ));
    let settings = HpaSettings::default();
    let mut all: Vec<Scaled> = (0..AUTOSCALERS).map(Scaled::new).collect();
    let mut input = PolicyInput::default();
    let mut costs = Costs::new();
    let (mut changes, mut cpu) = (0_u64, Duration::ZERO);
    for round in 0..ROUNDS {
        let now = BEGIN + Duration::from_secs(round);
        let watch = Stopwatch::start();
        let changed =
            all.iter_mut().map(|scaled| u64::from(scaled.decide(now, &mut input, &settings))).sum::<u64>();
        let cost = watch.stop();
        if round >= ROUNDS - TAKEN {
            costs.add(cost);
            changes += changed;
            cpu += cost.cpu;
        }
    }
    ensure!(changes > 0, "no autoscaler changed anything, so this measured nothing");
    costs.note("a round of all autoscalers", ROUND, &mut findings);
    let decisions = TAKEN as f64 * AUTOSCALERS as f64;
    findings.note("decisions in a second of processor time", decisions / cpu.as_secs_f64(), Unit::PerSecond);
    findings.note(
        "changes of size in a thousand decisions",
        changes as f64 * 1000.0 / decisions,
        Unit::Count,
    );
    Ok(findings)
}

/// One autoscaler, and its state.
struct Scaled {
    spec: AutoscalerSpec,
    memory: ScalingMemory,
    current: u32,
    /// How far its load is ahead of the first one's.
    phase: u64,
}

/// The inputs of an autoscaler, created right before each decision, as the loop does from its knowledge.
#[derive(Default)]
struct PolicyInput {
    replicas: Replicas,
    samples: Vec<Result<Sample, Gap>>,
}

impl Scaled {
    fn new(number: usize) -> Self {
        Self { spec: spec(), memory: ScalingMemory::default(), current: EACH, phase: number as u64 * 7 }
    }

    /// Makes one decision and carries it out at once; returns whether it changed the size.
    fn decide(&mut self, now: Time, input: &mut PolicyInput, settings: &HpaSettings) -> bool {
        // A triangle between a third of the target load of ten replicas and twice that.
        let at = (now.since(BEGIN).as_secs() + self.phase) % 1200;
        let load = 330 + at.min(1200 - at) * 1670 / 600;
        let each = Milli(i64::try_from(load * 10 / u64::from(self.current)).expect("small"));
        let readiness = Some(Readiness { ready: true, since: Time::from_millis(0) });
        let view = ReplicaView {
            phase: Phase::Running,
            leaving: false,
            started: Some(Time::from_millis(0)),
            readiness,
        };
        input.replicas = std::iter::repeat_n(view, self.current as usize).collect();
        input.samples.clear();
        let sample = Sample { value: each, at: now, window: Duration::from_secs(2) };
        input.samples.resize(self.current as usize, Ok(sample));
        let queue = [Milli(i64::try_from(load * 10).expect("small"))];
        let of =
            |requests| MetricReading::Each(Samples { by_replica: &input.samples, unmatched: 0, requests });
        let readings = [
            of(Requests::Same(Milli(1000))),
            of(Requests::Same(Milli(1000))),
            of(Requests::Unset),
            MetricReading::Series(&queue),
        ];
        let view = ScaleView {
            warmup: None,
            learned_target: None,
            spec_replicas: self.current,
            status_replicas: self.current,
            members: Members::Known(&input.replicas),
        };
        let verdict = reconcile(now, &self.spec, &view, &readings, &mut self.memory, settings);
        confirm(now, &self.spec, &verdict, &mut self.memory);
        self.current = verdict.desired;
        verdict.is_rescale()
    }
}

fn spec() -> AutoscalerSpec {
    let half = ResourceTarget::Utilization(Percent(50));
    let named = |name: &str| MetricIdentifier { name: name.to_owned(), selector: None };
    let rules = |stabilization, pods| ScalingRules {
        stabilization: Duration::from_secs(stabilization),
        select: SelectPolicy::Max,
        policies: vec![
            ScalingPolicy { change: PolicyChange::Pods(pods), period: Duration::from_secs(15) },
            ScalingPolicy { change: PolicyChange::Percent(Percent(100)), period: Duration::from_secs(60) },
        ],
        tolerance: None,
    };
    AutoscalerSpec {
        service: ServiceName::parse("shop").expect("a valid name"),
        min: 1,
        max: 100,
        metrics: vec![
            MetricSpec::Resource { resource: MeteredResource::Cpu, target: half },
            MetricSpec::Resource { resource: MeteredResource::Memory, target: half },
            MetricSpec::Pods { metric: named(REQUEST_RATE_METRIC), average: Quantity::from_milli(600) },
            MetricSpec::External {
                metric: named("queue_length"),
                target: TotalTarget::Average(Quantity::from_milli(700)),
                fallback: None,
            },
        ],
        policy: ScalePolicy::Hpa,
        behavior: Some(Behavior { scale_up: rules(0, 4), scale_down: rules(300, 4) }),
    }
}
