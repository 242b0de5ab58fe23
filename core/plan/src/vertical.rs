//! Vertical scaling: the size that a replica should have, learned from its usage.

use knowledge::{Range, ServiceState};
use model::decision::UnmetDemand;
use model::input::Declared;
use model::plan::Allotment;
use model::quantity::{Bytes, MilliCpu};
use model::resource::{AmountRange, MeteredResource, MetricSpec, Quantity, Vertical, VerticalMode};
use model::time::Time;

/// CPU samples before replicas are started with the recommended size: an hour of one replica.
///
/// With fewer, a service that was quiet for its first minutes would get too little for its first busy one.
pub const INITIAL_SAMPLES: u64 = 60;

/// The least CPU that is recommended; that of Kubernetes' recommender.
const CPU_MIN: MilliCpu = MilliCpu(25);

/// The least memory that is recommended: an idle runtime needs it. (Kubernetes' 250 MiB are for a pod.)
const MEMORY_MIN: Bytes = Bytes(16 << 20);

/// How many times its size a replica may grow to without a declared bound: as the number of replicas may in one decision of Kubernetes' autoscaler
/// without a behavior.
const GROWTH_MAX: u64 = 2;

/// The size that a replica of a service should have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recommendation {
    /// CPU, within the declared bounds; `None` before the first sample.
    pub cpu: Option<Range<MilliCpu>>,
    /// Memory, within the declared bounds; `None` before the first sample.
    pub memory: Option<Range<Bytes>>,
    /// Whether the CPU stays as declared, because the number of replicas follows it.
    pub cpu_is_horizontal: bool,
    /// Whether the memory stays as declared, because the number of replicas follows it.
    pub memory_is_horizontal: bool,
    /// How much data there is, in days of samples.
    pub confidence: f64,
    /// The larger size in place of replicas that may not run; only where replicas are resized in place.
    pub growth: Option<Growth>,
}

/// The larger size of each replica while the metrics ask for more replicas than may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// How many are wanted, and how many may run.
    pub unmet: UnmetDemand,
    /// CPU; `None` without an amount to grow from.
    pub cpu: Option<MilliCpu>,
    /// Memory; only where the number of replicas follows memory.
    pub memory: Option<Bytes>,
}

/// The recommendation for `service` at `now`, where `unmet` are the replicas that it wants and may not have; `None` for a service without vertical
/// scaling or without measurements.
pub fn recommendation(
    now: Time,
    service: &ServiceState,
    unmet: Option<UnmetDemand>,
) -> Option<Recommendation> {
    let declared = service.declared.as_ref().filter(|_| service.learns_usage())?;
    let vertical = declared.spec.scale.vertical.as_ref()?;
    let estimate = knowledge::estimate(&service.usage, now);
    let Vertical { cpu, memory, mode } = vertical;
    let found = Recommendation {
        cpu: estimate.cpu.map(|range| within(range, &cpu_bounds(cpu))),
        memory: estimate.memory.map(|range| within(range, &memory_bounds(memory))),
        cpu_is_horizontal: follows(declared, MeteredResource::Cpu),
        memory_is_horizontal: follows(declared, MeteredResource::Memory),
        confidence: knowledge::confidence(&service.usage, now),
        growth: None,
    };
    let unmet = unmet.filter(|_| *mode == VerticalMode::Auto);
    let growth = unmet.map(|unmet| grown(unmet, vertical, declared, &found.learned(service)));
    Some(Recommendation { growth, ..found })
}

impl Recommendation {
    /// The learned size, of the resources that were measured enough and that the number of replicas does not follow.
    pub(crate) fn learned(&self, service: &ServiceState) -> LearnedSize {
        let is_enough = service.usage.samples >= INITIAL_SAMPLES;
        LearnedSize {
            cpu: self.cpu.filter(|_| is_enough && !self.cpu_is_horizontal),
            memory: self.memory.filter(|_| is_enough && !self.memory_is_horizontal),
        }
    }
}

/// A learned size that may be applied.
pub(crate) struct LearnedSize {
    pub(crate) cpu: Option<Range<MilliCpu>>,
    pub(crate) memory: Option<Range<Bytes>>,
}

/// The wanted replicas that may not run, as a larger size of those that may.
fn grown(unmet: UnmetDemand, vertical: &Vertical, declared: &Declared, learned: &LearnedSize) -> Growth {
    let UnmetDemand { requested: wanted, allowed: most } = unmet;
    let grown = |base: u64, bound: Option<u64>| {
        let needed = u128::from(base) * u128::from(wanted) / u128::from(most.max(1));
        let needed = u64::try_from(needed).unwrap_or(u64::MAX);
        needed.min(bound.unwrap_or(base.saturating_mul(GROWTH_MAX))).max(base)
    };
    let resources = declared.spec.resources;
    let cpu = learned.cpu.map(|range| range.target).or(resources.cpu.map(cpu_of));
    let memory = resources.memory.map(memory_of).filter(|_| learned.memory.is_none());
    let is_by_memory = follows(declared, MeteredResource::Memory);
    Growth {
        unmet,
        cpu: cpu.map(|MilliCpu(base)| MilliCpu(grown(base, vertical.cpu.max.map(|most| cpu_of(most).0)))),
        memory: memory
            .filter(|_| is_by_memory)
            .map(|Bytes(base)| Bytes(grown(base, vertical.memory.max.map(|most| memory_of(most).0)))),
    }
}

/// Whether the number of replicas follows the usage of `resource`.
fn follows(declared: &Declared, wanted: MeteredResource) -> bool {
    let metrics = declared.autoscaler.as_ref().map_or(&[][..], |spec| &spec.metrics);
    metrics.iter().any(|metric| match metric {
        MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
            *resource == wanted
        }
        MetricSpec::Pods { .. } | MetricSpec::Object { .. } | MetricSpec::External { .. } => false,
    })
}

/// The size of replicas that are started now, instead of the declared one.
pub(crate) fn allotment(now: Time, service: &ServiceState, unmet: Option<UnmetDemand>) -> Allotment {
    let is_applied = match mode_of(service) {
        VerticalMode::Initial | VerticalMode::Auto => true,
        VerticalMode::Off | VerticalMode::Recommend => false,
    };
    let Some(recommended) = recommendation(now, service, unmet).filter(|_| is_applied) else {
        return Allotment::default();
    };
    let learned = recommended.learned(service);
    let growth = |of: fn(Growth) -> Option<u64>| recommended.growth.and_then(of);
    Allotment {
        cpu: growth(|growth| Some(growth.cpu?.0)).map(MilliCpu).or(learned.cpu.map(|range| range.target)),
        memory: growth(|growth| Some(growth.memory?.0))
            .map(Bytes)
            .or(learned.memory.map(|range| range.target)),
    }
}

/// The declared mode of vertical scaling.
pub(crate) fn mode_of(service: &ServiceState) -> VerticalMode {
    let vertical = service.declared.as_ref().and_then(|declared| declared.spec.scale.vertical.as_ref());
    vertical.map_or(VerticalMode::Off, |vertical| vertical.mode)
}

fn within<T: Ord + Copy>(range: Range<T>, (least, most): &(T, Option<T>)) -> Range<T> {
    let held = |amount: T| {
        let raised = amount.max(*least);
        most.map_or(raised, |most| raised.min(most))
    };
    Range { lower: held(range.lower), target: held(range.target), upper: held(range.upper) }
}

fn cpu_bounds(bounds: &AmountRange) -> (MilliCpu, Option<MilliCpu>) {
    (bounds.min.map_or(CPU_MIN, cpu_of), bounds.max.map(cpu_of))
}

fn memory_bounds(bounds: &AmountRange) -> (Bytes, Option<Bytes>) {
    (bounds.min.map_or(MEMORY_MIN, memory_of), bounds.max.map(memory_of))
}

/// An amount of CPU, in thousandths of a core; 0 for negative ones.
pub(crate) fn cpu_of(amount: Quantity) -> MilliCpu {
    MilliCpu(u64::try_from(amount.milli()).unwrap_or(0))
}

/// An amount of memory, in bytes, rounded up; 0 for negative ones.
pub(crate) fn memory_of(amount: Quantity) -> Bytes {
    Bytes(u64::try_from(amount.units_ceil()).unwrap_or(0))
}
