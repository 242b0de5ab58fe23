//! How large a replica should be, by what was learned of its use.

use knowledge::{Range, ServiceState};
use model::plan::Allotment;
use model::quantity::{Bytes, MilliCpu};
use model::resource::{AmountRange, MeteredResource, MetricSpec, Quantity, Vertical, VerticalMode};
use model::time::Time;

/// Samples of the processor before replicas are started with what is recommended: an hour of one replica.
///
/// Before, a service that was quiet for its first minutes would be given too little for its first busy one.
pub const INITIAL_SAMPLES: u64 = 60;

/// Fewest thousandths of a core that are recommended, as Kubernetes' recommender has it.
const CPU_MIN: MilliCpu = MilliCpu(25);

/// Least memory that is recommended: a runtime that does nothing needs it. (Kubernetes' 250 MiB are for a pod.)
const MEMORY_MIN: Bytes = Bytes(16 << 20);

/// How large a replica of a service should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recommendation {
    /// Processor, within the bounds declared; `None` before the first sample.
    pub cpu: Option<Range<MilliCpu>>,
    /// Memory, within the bounds declared; `None` before the first sample.
    pub memory: Option<Range<Bytes>>,
    /// Whether the processor is left as declared, because the number of replicas follows it.
    pub cpu_is_horizontal: bool,
    /// Whether memory is left as declared, because the number of replicas follows it.
    pub memory_is_horizontal: bool,
    /// In days of samples.
    pub confidence: f64,
}

/// The recommendation for `service` at `now`; `None` for a service of which nothing is learned.
pub fn recommendation(now: Time, service: &ServiceState) -> Option<Recommendation> {
    let declared = service.declared.as_ref().filter(|_| service.is_measured())?;
    let vertical = declared.spec.scale.vertical.as_ref()?;
    let metrics = declared.autoscaler.as_ref().map_or(&[][..], |spec| &spec.metrics);
    let follows = |meant: MeteredResource| {
        metrics.iter().any(|metric| match metric {
            MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
                *resource == meant
            }
            MetricSpec::Pods { .. } | MetricSpec::Object { .. } | MetricSpec::External { .. } => false,
        })
    };
    let estimate = knowledge::estimate(&service.usage, now);
    let Vertical { cpu, memory, mode: _ } = vertical;
    Some(Recommendation {
        cpu: estimate.cpu.map(|range| within(range, &milli_cores(cpu))),
        memory: estimate.memory.map(|range| within(range, &bytes(memory))),
        cpu_is_horizontal: follows(MeteredResource::Cpu),
        memory_is_horizontal: follows(MeteredResource::Memory),
        confidence: knowledge::confidence(&service.usage, now),
    })
}

/// What replicas that are started now get instead of what is declared.
pub(crate) fn allotment(now: Time, service: &ServiceState) -> Allotment {
    let vertical = service.declared.as_ref().and_then(|declared| declared.spec.scale.vertical.as_ref());
    let is_meant = vertical.is_some_and(|vertical| vertical.mode == VerticalMode::Initial);
    if !is_meant || service.usage.samples < INITIAL_SAMPLES {
        return Allotment::default();
    }
    let Some(recommended) = recommendation(now, service) else { return Allotment::default() };
    Allotment {
        cpu: recommended.cpu.filter(|_| !recommended.cpu_is_horizontal).map(|range| range.target),
        memory: recommended.memory.filter(|_| !recommended.memory_is_horizontal).map(|range| range.target),
    }
}

fn within<T: Ord + Copy>(range: Range<T>, (least, most): &(T, Option<T>)) -> Range<T> {
    let held = |amount: T| {
        let raised = amount.max(*least);
        most.map_or(raised, |most| raised.min(most))
    };
    Range { lower: held(range.lower), target: held(range.target), upper: held(range.upper) }
}

fn milli_cores(bounds: &AmountRange) -> (MilliCpu, Option<MilliCpu>) {
    let of = |amount: Quantity| MilliCpu(u64::try_from(amount.milli()).unwrap_or(0));
    (bounds.min.map_or(CPU_MIN, of), bounds.max.map(of))
}

fn bytes(bounds: &AmountRange) -> (Bytes, Option<Bytes>) {
    let of = |amount: Quantity| Bytes(u64::try_from(amount.units_ceil()).unwrap_or(0));
    (bounds.min.map_or(MEMORY_MIN, of), bounds.max.map(of))
}
