//! The autoscaler of production, told what the model would report.
//!
//! Nothing of its arithmetic is here: [`reconcile`](plan::scale::hpa::reconcile) decides as it does in the loop, from the same views of replicas
//! and the same samples.

use std::time::Duration;

use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::quantity::Milli;
use model::resource::{
    AutoscalerSpec, Behavior, Bounds, MeteredResource, MetricIdentifier, MetricSpec, Percent, PolicyChange,
    Quantity, REQUEST_RATE_METRIC, ResourceTarget, SCALE_IN_STABILIZATION_DEFAULT, ScalePolicy,
    ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
};
use model::settings::HpaSettings;
use model::time::Time;
use plan::scale::hpa;
use plan::scale::reading::{
    Gap, Members, MetricReading, Phase, Readiness, ReplicaView, Requests, Sample, Samples, ScaleView,
    Unavailable,
};

use super::{Past, Policy, Sight};
use crate::fleet::Replica;
use crate::service::{Service, Share};

/// One usual replica at full use, in the unit of the baselines' metrics: fine enough that no target is rounded by more than a millionth.
const WHOLE: i64 = 1_000_000;

/// A horizontal pod autoscaler.
#[derive(Clone, Debug)]
pub struct Hpa {
    spec: AutoscalerSpec,
    meters: Vec<Meter>,
    request: Option<Milli>,
    window: Duration,
    settings: HpaSettings,
    memory: ScalingMemory,
    views: Vec<ReplicaView>,
    samples: Vec<Vec<Result<Sample, Gap>>>,
}

/// What the model reports for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Of each replica: its share of what it has requested of the processor.
    Cpu,
    /// Of each replica: requests a second that it served.
    Served,
    /// Of the whole: requests a second that came.
    Arrived,
    /// Of the whole: what came, as so many replicas' capacity.
    ArrivedInCapacities,
    /// Nothing: the model does not have it.
    Nothing,
}

impl Hpa {
    /// An autoscaler by its manifest.
    ///
    /// `cpu_request` is what a replica requests of the processor: at full capacity it uses just that. Metrics of type Object and External are
    /// taken to be the load of the trace, and metrics that replicas tell of themselves their part of it; memory is not in the model.
    pub fn of(
        spec: AutoscalerSpec,
        cpu_request: Option<Quantity>,
        settings: HpaSettings,
        tick: Duration,
    ) -> Self {
        let meters = spec.metrics.iter().map(Meter::of).collect();
        let request = cpu_request.map(|request| Milli(request.milli()));
        Self::new(spec, meters, request, settings, tick)
    }

    /// The baseline by processor time: `target` of each replica, rules of change as `autoscaling/v2` has them when a manifest says nothing.
    ///
    /// Its target is an amount, not a share: production cuts shares off to whole per cents, as Kubernetes does, and the published rule
    /// does not. A sample counts as soon as its replica is ready.
    pub fn by_cpu(service: &Service) -> Self {
        let target = ResourceTarget::Average(part_of_whole(service.target));
        let metric = MetricSpec::Resource { resource: MeteredResource::Cpu, target };
        Self::new(
            baseline(service, metric),
            vec![Meter::Cpu],
            Some(Milli(WHOLE)),
            HpaSettings::default(),
            Duration::ZERO,
        )
    }

    /// The baseline by the rate of requests: so many that `target` of each replica is used.
    pub fn by_requests(service: &Service) -> Self {
        let metric = MetricIdentifier { name: REQUEST_RATE_METRIC.to_owned(), selector: None };
        let metric =
            MetricSpec::External { metric, target: TotalTarget::Average(part_of_whole(service.target)) };
        let meters = vec![Meter::ArrivedInCapacities];
        Self::new(baseline(service, metric), meters, None, HpaSettings::default(), Duration::ZERO)
    }

    fn new(
        spec: AutoscalerSpec,
        meters: Vec<Meter>,
        request: Option<Milli>,
        settings: HpaSettings,
        window: Duration,
    ) -> Self {
        let samples = vec![Vec::new(); meters.len()];
        let memory = ScalingMemory::default();
        Self { spec, meters, request, window, settings, memory, views: Vec::new(), samples }
    }

    /// What the model reports for each metric, in the order of the declaration.
    pub fn meters(&self) -> &[Meter] {
        &self.meters
    }

    /// Other bounds from now on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        (self.spec.min, self.spec.max) = (bounds.min, bounds.max);
    }

    fn look(&mut self, sight: &Sight<'_>, past: &Past) {
        let at = |tick: u64| {
            sight.now.time
                - sight.service.tick * u32::try_from(sight.tick.saturating_sub(tick)).unwrap_or(u32::MAX)
        };
        self.views.clear();
        self.views.extend(sight.fleet.replicas().map(|replica| view(replica, sight.tick, at)));
        for (meter, samples) in self.meters.iter().zip(&mut self.samples) {
            samples.clear();
            let value = match meter {
                Meter::Cpu => self.request.map(|request| used_of(request, past.utilization)),
                Meter::Served => Some(milli(past.served / f64::from(sight.fleet.ready().max(1)))),
                Meter::Arrived | Meter::ArrivedInCapacities | Meter::Nothing => None,
            };
            let Some(value) = value else { continue };
            let sample = |value| Ok(Sample { value, at: sight.now.time, window: self.window });
            samples.extend(sight.fleet.replicas().map(|replica| match meter {
                _ if replica.ready <= sight.tick => sample(value),
                Meter::Cpu => sample(Milli(0)),
                Meter::Served | Meter::Arrived | Meter::ArrivedInCapacities | Meter::Nothing => {
                    Err(Gap::Absent)
                }
            }));
        }
    }
}

impl Policy for Hpa {
    fn wanted(&mut self, sight: &Sight<'_>) -> u32 {
        let Some(past) = sight.last else { return sight.wanted };
        self.look(sight, past);
        let arrived = [milli(past.load)];
        let in_capacities = [of_part(past.load / sight.service.capacity.rate(), WHOLE)];
        let requests = self.request.map_or(Requests::Unset, Requests::Same);
        let readings: Vec<MetricReading<'_>> = self
            .meters
            .iter()
            .zip(&self.samples)
            .map(|(meter, samples)| match meter {
                Meter::Cpu | Meter::Served => {
                    MetricReading::Each(Samples { by_replica: samples, strangers: 0, requests })
                }
                Meter::Arrived => MetricReading::Series(&arrived),
                Meter::ArrivedInCapacities => MetricReading::Series(&in_capacities),
                Meter::Nothing => MetricReading::Unavailable(Unavailable::NoSource),
            })
            .collect();
        let view = ScaleView {
            spec_replicas: sight.wanted,
            status_replicas: sight.fleet.total(),
            members: Members::Known(&self.views),
        };
        let now = sight.now.time;
        let verdict = hpa::reconcile(now, &self.spec, &view, &readings, &mut self.memory, &self.settings);
        hpa::confirm(now, &self.spec, &verdict, &mut self.memory);
        verdict.desired
    }
}

impl Meter {
    fn of(metric: &MetricSpec) -> Self {
        match metric {
            MetricSpec::Resource { resource: MeteredResource::Cpu, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Cpu, .. } => Self::Cpu,
            MetricSpec::Resource { resource: MeteredResource::Memory, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Memory, .. } => Self::Nothing,
            MetricSpec::Pods { .. } => Self::Served,
            MetricSpec::Object { .. } | MetricSpec::External { .. } => Self::Arrived,
        }
    }
}

fn view(replica: &Replica, tick: u64, at: impl Fn(u64) -> Time) -> ReplicaView {
    let ready = replica.ready <= tick;
    let since = if ready { replica.ready } else { replica.started };
    ReplicaView {
        phase: Phase::Running,
        leaving: false,
        started: Some(at(replica.started)),
        readiness: Some(Readiness { ready, since: at(since) }),
    }
}

/// One metric and the bounds of the service, with the rules of change that `autoscaling/v2` has by default.
fn baseline(service: &Service, metric: MetricSpec) -> AutoscalerSpec {
    let rules = |stabilization, changes: &[PolicyChange]| ScalingRules {
        stabilization,
        select: SelectPolicy::Max,
        policies: changes
            .iter()
            .map(|change| ScalingPolicy { change: *change, period: Duration::from_secs(15) })
            .collect(),
        tolerance: None,
    };
    let double = PolicyChange::Percent(Percent(100));
    let Bounds { min, max } = service.bounds;
    AutoscalerSpec {
        service: ServiceName::parse("baseline").expect("it is a name"),
        min,
        max,
        metrics: vec![metric],
        policy: ScalePolicy::Hpa,
        behavior: Some(Behavior {
            scale_up: rules(Duration::ZERO, &[PolicyChange::Pods(4), double]),
            // Production asks recommendations younger than the window, the published rule those that are not older.
            scale_down: rules(SCALE_IN_STABILIZATION_DEFAULT + service.tick, &[double]),
        }),
    }
}

fn part_of_whole(share: Share) -> Quantity {
    Quantity::from_milli(of_part(share.part(), WHOLE).0)
}

/// What a replica uses of its request. Cut off to a whole thousandth, as the meters of production do.
fn used_of(request: Milli, utilization: f64) -> Milli {
    Milli((request.0 as f64 * utilization) as i64)
}

fn of_part(part: f64, whole: i64) -> Milli {
    milli(part * whole as f64 / 1000.0)
}

/// To the nearest thousandth; the largest amount for what does not fit.
fn milli(amount: f64) -> Milli {
    Milli::nearest(amount).unwrap_or(Milli(i64::MAX))
}
