//! Policies with a memory: steps, watermarks, target tracking, bursts, SLOs.

mod bursts;
mod closed_loop;
mod learning;
mod slo_first;
mod steps;
mod targets;
mod watermarks;

use std::time::Duration;

use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::resource::{
    AutoscalerSpec, Behavior, MetricIdentifier, MetricSpec, Percent, PolicyChange, Quantity, ScalePolicy,
    ScalingPolicy, ScalingRules, SelectPolicy,
};
use model::settings::HpaSettings;
use model::time::Time;

use super::hpa::{Verdict, confirm, reconcile, reconcile_above};
use super::policy_input::ForecastFloor;
use super::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Replicas, Requests, Sample, Samples,
    ScaleView,
};

/// A service whose replicas are measured each second, and whose decisions are carried out at once.
struct Bench {
    spec: AutoscalerSpec,
    now: Time,
    memory: ScalingMemory,
    forecast: ForecastFloor,
    current: u32,
    replicas: Vec<ReplicaView>,
}

impl Bench {
    /// `current` replicas, of at most 100, that have been ready for an hour; the target is 50 requests a second each.
    fn new(policy: &str, current: u32) -> Self {
        let policy: ScalePolicy = serde_json::from_str(policy).expect("a policy in the code is a policy");
        let metric = MetricIdentifier { name: "rate".to_owned(), selector: None };
        let spec = AutoscalerSpec {
            service: ServiceName::parse("shop").expect("a valid name"),
            min: 1,
            max: 100,
            metrics: vec![MetricSpec::Pods { metric, average: Quantity::from_milli(50_000) }],
            policy,
            behavior: Some(Behavior { scale_up: at_once(), scale_down: at_once() }),
        };
        let now = Time::from_millis(100_000_000);
        let replicas = vec![ready(now - Duration::from_hours(1)); current as usize];
        Self {
            spec,
            now,
            memory: ScalingMemory::default(),
            forecast: ForecastFloor::default(),
            current,
            replicas,
        }
    }

    /// A second passes; then each ready replica has so many requests a second.
    fn after_a_second(&mut self, each: u32) -> Verdict {
        self.measured(|replica| {
            let is_ready = replica.readiness.is_some_and(|readiness| readiness.ready);
            if is_ready { Ok(Milli(i64::from(each) * 1000)) } else { Err(Gap::Absent) }
        })
    }

    /// So many seconds pass; returns the last verdict.
    fn after_seconds(&mut self, seconds: u32, each: u32) -> Verdict {
        (0..seconds).map(|_| self.after_a_second(each)).last().expect("a second at least")
    }

    /// A second passes, in which nothing is measured.
    fn after_an_unmeasured_second(&mut self) -> Verdict {
        self.measured(|_| Err(Gap::Absent))
    }

    fn measured(&mut self, measure: impl Fn(&ReplicaView) -> Result<Milli, Gap>) -> Verdict {
        self.now = self.now + Duration::from_secs(1);
        let sample = |value| Sample { value, at: self.now, window: Duration::from_secs(2) };
        let samples: Vec<_> = self.replicas.iter().map(|replica| measure(replica).map(sample)).collect();
        let reading = Samples { by_replica: &samples, unmatched: 0, requests: Requests::Unset };
        let view = ScaleView {
            warmup: None,
            learned_target: None,
            spec_replicas: self.current,
            status_replicas: self.current,
            members: Members::Known(&Replicas::of(&self.replicas)),
        };
        let readings = [MetricReading::Each(reading)];
        let (settings, target) = (HpaSettings::default(), (&self.spec, &view));
        let verdict =
            reconcile_above(self.forecast, self.now, target, &readings, &mut self.memory, &settings);
        confirm(self.now, &self.spec, &verdict, &mut self.memory);
        self.current = verdict.desired;
        self.replicas.resize(self.current as usize, ready(self.now));
        verdict
    }

    fn summary(&self, verdict: &Verdict) -> String {
        verdict.summary(&self.spec)
    }
}

fn ready(since: Time) -> ReplicaView {
    let readiness = Some(Readiness { ready: true, since });
    ReplicaView { phase: Phase::Running, leaving: false, started: Some(since), readiness }
}

/// Rules without stabilisation or limits, so that only the policy decides.
fn at_once() -> ScalingRules {
    let change = PolicyChange::Percent(Percent(1000));
    ScalingRules {
        stabilization: Duration::ZERO,
        select: SelectPolicy::Max,
        policies: vec![ScalingPolicy { change, period: Duration::from_secs(1) }],
        tolerance: None,
    }
}
