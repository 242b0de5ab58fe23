//! A service with replicas, metrics and a memory, for short tests.

use std::time::Duration;

use model::decision::Decision;
use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::resource::hpa::shapes::CrossVersionObjectReference;
use model::resource::{
    AutoscalerSpec, Behavior, Fallback, MeteredResource, MetricIdentifier, MetricSpec, Percent, PolicyChange,
    Quantity, ResourceTarget, ScalePolicy, ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
};
use model::settings::HpaSettings;
use model::time::{Now, Time, Wall};
use plan::scale::hpa::{Verdict, confirm, reconcile};
use plan::scale::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Replicas, Requests, Sample, Samples,
    ScaleView, Unavailable,
};

/// A service at one time. Its replicas have long been ready, each requests one core, and its memory is empty.
pub(crate) struct Fixture {
    pub(crate) now: Time,
    pub(crate) spec: AutoscalerSpec,
    pub(crate) replicas: Vec<ReplicaView>,
    pub(crate) current: u32,
    pub(crate) request: Option<i64>,
    pub(crate) memory: ScalingMemory,
    pub(crate) settings: HpaSettings,
    sources: Vec<Source>,
}

/// The reading of a source.
pub(crate) enum Source {
    Each(Vec<Result<Milli, Gap>>),
    Series(Vec<Milli>),
    Unavailable(Unavailable),
}

/// The window of every sample.
const WINDOW: Duration = Duration::from_secs(30);

impl Fixture {
    /// A service with this many replicas and bounds of 1 to 100.
    pub(crate) fn of(current: u32) -> Self {
        let now = Time::from_millis(1_000_000_000);
        let spec = AutoscalerSpec {
            service: ServiceName::parse("shop").expect("a valid name"),
            min: 1,
            max: 100,
            metrics: Vec::new(),
            policy: ScalePolicy::Hpa,
            behavior: None,
        };
        let mut fixture = Self {
            now,
            spec,
            replicas: Vec::new(),
            current,
            request: Some(1000),
            memory: ScalingMemory::default(),
            settings: HpaSettings::default(),
            sources: Vec::new(),
        };
        fixture.replicas = vec![fixture.ready_for(36_000); current as usize];
        fixture
    }

    pub(crate) fn between(mut self, min: u32, max: u32) -> Self {
        (self.spec.min, self.spec.max) = (min, max);
        self
    }

    /// Adds a target of `percent` of the requested CPU; `used` are the millicores that each replica uses.
    pub(crate) fn cpu(self, percent: u32, used: &[i64]) -> Self {
        let target = ResourceTarget::Utilization(Percent(percent));
        self.metric(MetricSpec::Resource { resource: MeteredResource::Cpu, target }, each(used))
    }

    /// Adds a target of `average` bytes for each replica; `used` are the bytes that each uses.
    pub(crate) fn memory(self, average: i64, used: &[i64]) -> Self {
        let target = ResourceTarget::Average(Quantity::from_units(average).expect("a small number"));
        let used: Vec<_> = used.iter().map(|bytes| bytes * 1000).collect();
        self.metric(MetricSpec::Resource { resource: MeteredResource::Memory, target }, each(&used))
    }

    /// Adds a target of `average` requests per second for each replica; `served_milli` are the thousandths that each serves.
    pub(crate) fn requests(self, average: i64, served_milli: &[i64]) -> Self {
        let average = Quantity::from_units(average).expect("a small number");
        self.metric(MetricSpec::Pods { metric: named("requests"), average }, each(served_milli))
    }

    /// Adds a target of `value` messages in total.
    pub(crate) fn queue(self, value: i64, series: &[i64]) -> Self {
        let target = TotalTarget::Value(Quantity::from_units(value).expect("a small number"));
        self.metric(MetricSpec::External { metric: named("queue"), target, fallback: None }, total(series))
    }

    /// Adds a target of `average` messages for each replica.
    pub(crate) fn queue_each(self, average: i64, series: &[i64]) -> Self {
        let target = TotalTarget::Average(Quantity::from_units(average).expect("a small number"));
        self.metric(MetricSpec::External { metric: named("queue"), target, fallback: None }, total(series))
    }

    /// Adds a target of `value` for a metric of an object.
    pub(crate) fn ingress(self, value: i64, measured: i64) -> Self {
        let target = TotalTarget::Value(Quantity::from_units(value).expect("a small number"));
        let object =
            CrossVersionObjectReference { kind: "Ingress".into(), name: "door".into(), api_version: None };
        self.metric(MetricSpec::Object { object, metric: named("hits"), target }, total(&[measured]))
    }

    pub(crate) fn metric(mut self, metric: MetricSpec, source: Source) -> Self {
        self.spec.metrics.push(metric);
        self.sources.push(source);
        self
    }

    /// Adds a fallback to the last metric, an external one: `replicas` once it has been missing for `after_s`.
    pub(crate) fn with_fallback(mut self, after_s: u64, replicas: u32) -> Self {
        match self.spec.metrics.last_mut() {
            Some(MetricSpec::External { fallback, .. }) => {
                *fallback = Some(Fallback { after: Duration::from_secs(after_s), replicas });
            }
            other => panic!("only an external metric has a fallback, not {other:?}"),
        }
        self
    }

    /// Sets the series of the last metric.
    pub(crate) fn with_series(mut self, series: &[i64]) -> Self {
        *self.sources.last_mut().expect("a metric") = total(series);
        self
    }

    /// Makes the source of the last metric unavailable.
    pub(crate) fn unavailable(mut self, why: Unavailable) -> Self {
        *self.sources.last_mut().expect("a metric") = Source::Unavailable(why);
        self
    }

    /// Removes the sample of this replica from the last metric.
    pub(crate) fn without_sample_of(mut self, index: usize, gap: Gap) -> Self {
        match self.sources.last_mut() {
            Some(Source::Each(samples)) => samples[index] = Err(gap),
            Some(Source::Series(_) | Source::Unavailable(_)) | None => panic!("no metric of each replica"),
        }
        self
    }

    /// This replica was started this long ago and has been ready since.
    pub(crate) fn ready_for_s(mut self, index: usize, age_s: u64) -> Self {
        self.replicas[index] = self.ready_for(age_s);
        self
    }

    pub(crate) fn leaving(mut self, index: usize) -> Self {
        self.replicas[index].leaving = true;
        self
    }

    pub(crate) fn with_behavior(mut self, scale_up: ScalingRules, scale_down: ScalingRules) -> Self {
        self.spec.behavior = Some(Behavior { scale_up, scale_down });
        self
    }

    pub(crate) fn with_memory(mut self, memory: &ScalingMemory) -> Self {
        self.memory = memory.clone();
        self
    }

    /// Decides until the initial state has no influence any more.
    pub(crate) fn settled(mut self) -> Self {
        self.memory.recommendations =
            vec![model::memory::Recommendation { at: Time::ZERO, replicas: self.current }];
        self
    }

    /// Sets the values of the last metric of each replica.
    pub(crate) fn set_usage(&mut self, used: &[i64]) {
        *self.sources.last_mut().expect("a metric") = each(used);
    }

    pub(crate) fn advance(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }

    pub(crate) fn decide(&mut self) -> Verdict {
        let samples: Vec<Vec<Result<Sample, Gap>>> =
            self.sources.iter().map(|source| source.samples(self.now)).collect();
        let readings: Vec<_> = self
            .sources
            .iter()
            .zip(&samples)
            .map(|(source, samples)| match source {
                Source::Each(_) => MetricReading::Each(Samples {
                    by_replica: samples,
                    unmatched: 0,
                    requests: self.request.map_or(Requests::Unset, |milli| Requests::Same(Milli(milli))),
                }),
                Source::Series(series) => MetricReading::Series(series),
                Source::Unavailable(why) => MetricReading::Unavailable(why.clone()),
            })
            .collect();
        let view = ScaleView {
            warmup: None,
            learned_target: None,
            spec_replicas: self.current,
            status_replicas: u32::try_from(self.replicas.len()).expect("few"),
            members: Members::Known(&Replicas::of(&self.replicas)),
        };
        reconcile(self.now, &self.spec, &view, &readings, &mut self.memory, &self.settings)
    }

    /// Decides, and applies the decision: new replicas are ready at once, with the same usage as the first one.
    pub(crate) fn decide_and_apply(&mut self) -> u32 {
        let verdict = self.decide();
        confirm(self.now, &self.spec, &verdict, &mut self.memory);
        self.current = verdict.desired;
        self.replicas.resize(self.current as usize, self.ready_for(36_000));
        for source in &mut self.sources {
            if let Source::Each(samples) = source {
                let first = samples.first().copied().unwrap_or(Err(Gap::Absent));
                samples.resize(self.current as usize, first);
            }
        }
        self.current
    }

    pub(crate) fn explained(&mut self) -> Decision {
        let at = Now { time: self.now, wall: Wall::from_millis(0) };
        self.decide().decision(self.spec.service.clone(), at, &self.spec)
    }

    fn ready_for(&self, age_s: u64) -> ReplicaView {
        let since = self.now - Duration::from_secs(age_s);
        ReplicaView {
            phase: Phase::Running,
            leaving: false,
            started: Some(since),
            readiness: Some(Readiness { ready: true, since }),
        }
    }
}

impl Source {
    fn samples(&self, now: Time) -> Vec<Result<Sample, Gap>> {
        let Self::Each(values) = self else { return Vec::new() };
        values.iter().map(|value| value.map(|value| Sample { value, at: now, window: WINDOW })).collect()
    }
}

/// Rules without a window that allow a given change in a given number of seconds.
pub(crate) fn rules(select: SelectPolicy, policies: &[(PolicyChange, u64)]) -> ScalingRules {
    let policy = |(change, secs): &(PolicyChange, u64)| ScalingPolicy {
        change: *change,
        period: Duration::from_secs(*secs),
    };
    ScalingRules {
        stabilization: Duration::ZERO,
        select,
        policies: policies.iter().map(policy).collect(),
        tolerance: None,
    }
}

/// Rules that allow any change at once.
pub(crate) fn free() -> ScalingRules {
    rules(SelectPolicy::Max, &[(PolicyChange::Percent(Percent(100_000)), 15)])
}

pub(crate) fn pods(pods: u32) -> PolicyChange {
    PolicyChange::Pods(pods)
}

pub(crate) fn percent(percent: u32) -> PolicyChange {
    PolicyChange::Percent(Percent(percent))
}

pub(crate) fn within(secs: u64, rules: ScalingRules) -> ScalingRules {
    ScalingRules { stabilization: Duration::from_secs(secs), ..rules }
}

fn each(used: &[i64]) -> Source {
    Source::Each(used.iter().map(|milli| Ok(Milli(*milli))).collect())
}

fn total(series: &[i64]) -> Source {
    Source::Series(series.iter().map(|value| Milli(value.saturating_mul(1000))).collect())
}

fn named(name: &str) -> MetricIdentifier {
    MetricIdentifier { name: name.to_owned(), selector: None }
}
