//! The declared size of replicas, compared with what they were seen to use.

use knowledge::{Range, ServiceState};
use model::quantity::Bytes;
use model::resource::Quantity;
use model::time::Time;

use super::{Advice, Kind, Remedy, View, Worth};
use crate::vertical;

/// Days of samples before a declared amount is called wrong: Kubernetes' recommender allows twice what was seen by then.
const CONFIDENCE_MIN: f64 = 1.0;

/// What is recommended, in hundredths of what is declared, when nine of ten minutes used 95 % of that: there is a margin of 15 % on it.
const PINNED_PERCENT: u128 = 109;

impl View<'_> {
    /// Other sizes of replicas, where what was declared is not what they use.
    pub(super) fn of_sizes(&self, now: Time, service: &ServiceState) -> Vec<Advice> {
        let throttled = self.throttled(service);
        let learned =
            vertical::recommendation(now, service, None).filter(|it| it.confidence >= CONFIDENCE_MIN);
        let Some(learned) = learned else { return throttled.into_iter().collect() };
        let replicas = self.replicas(service);
        let resources = &self.spec.resources;
        // A throttled replica uses less than it would, and at times needs more than its means over minutes show.
        let cpu = learned.cpu.filter(|_| !learned.cpu_is_horizontal && throttled.is_none());
        let cpu = cpu.zip(resources.cpu);
        let memory = learned.memory.filter(|_| !learned.memory_is_horizontal).zip(resources.memory);
        let cpu = cpu.and_then(|(range, declared)| {
            let range = Range { lower: range.lower.0, target: range.target.0, upper: range.upper.0 };
            cpu_off(range, declared, replicas)
        });
        let memory = memory.and_then(|(range, declared)| {
            let range = Range { lower: range.lower.0, target: range.target.0, upper: range.upper.0 };
            memory_off(range, declared, replicas)
        });
        throttled.into_iter().chain(cpu).chain(memory).collect()
    }
}

/// In thousandths of a core: too much declared, or too little.
fn cpu_off(range: Range<u64>, declared: Quantity, replicas: f64) -> Option<Advice> {
    let remedy = Remedy::Cpu(Quantity::from_milli(i64::try_from(range.target).ok()?));
    let declared = u64::try_from(declared.milli()).ok()?;
    if u128::from(range.target) * 100 >= u128::from(declared) * PINNED_PERCENT {
        return Some(Advice {
            kind: Kind::CpuTight,
            note: format!(
                "in one minute of ten each replica used its declared {declared}m of the processor or more; with --cpu quota it is throttled then, \
                 without it depends on what others leave"
            ),
            worth: Worth::LackedCores((range.target - declared) as f64 * replicas / 1000.0),
            remedy,
        });
    }
    if declared <= range.upper {
        return None;
    }
    let spared = (declared - range.target) as f64 * replicas / 1000.0;
    Some(Advice {
        kind: Kind::CpuOverAsked,
        note: format!(
            "each replica may use {declared}m of the processor, but {}m would cover its usage (at most {}m)",
            range.target, range.upper
        ),
        worth: Worth::SparedCores(spared),
        remedy,
    })
}

/// In bytes: too much declared, or too little.
fn memory_off(range: Range<u64>, declared: Quantity, replicas: f64) -> Option<Advice> {
    const MIB: u64 = 1 << 20;
    let declared = u64::try_from(declared.units_ceil()).ok()?;
    let target = range.target.div_ceil(MIB);
    let remedy = Remedy::Memory(Quantity::parse(&format!("{target}Mi")).ok()?);
    let whole = |bytes: u64| Bytes((bytes as f64 * replicas) as u64);
    let has = format!("each replica may use {} MiB of memory", declared / MIB);
    if declared > range.upper {
        let note = format!("{has}, but {target} MiB would cover its usage");
        let worth = Worth::SparedMemory(whole(declared - range.target));
        return Some(Advice { kind: Kind::MemoryOverAsked, note, worth, remedy });
    }
    (declared < range.target).then(|| Advice {
        kind: Kind::MemoryTight,
        note: format!("{has}, but it needs {target} MiB by its usage and the times that it ran out"),
        worth: Worth::LackedMemory(whole(range.target - declared)),
        remedy,
    })
}
