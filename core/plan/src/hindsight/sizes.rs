//! The declared size of replicas, compared with their measured usage.

use knowledge::{Range, ServiceState};
use model::quantity::Bytes;
use model::resource::Quantity;
use model::time::Time;

use super::{Advice, Benefit, History, Kind, Remedy};
use crate::vertical;

/// Days of samples before advice is given on a declared amount: by then Kubernetes' recommender allows twice the usage.
const CONFIDENCE_MIN: f64 = 1.0;

/// The recommendation, in hundredths of the declared amount, when nine of ten minutes used 95 % of it: the margin is 15 %.
const PINNED_PERCENT: u128 = 109;

impl History<'_> {
    /// Advises other sizes of replicas where their usage does not fit the declared ones.
    pub(super) fn sizes(&self, now: Time, service: &ServiceState) -> Vec<Advice> {
        let throttled = self.throttled(service);
        let learned =
            vertical::recommendation(now, service, None).filter(|found| found.confidence >= CONFIDENCE_MIN);
        let Some(learned) = learned else { return throttled.into_iter().collect() };
        let replicas = self.replicas(service);
        let resources = &self.spec.resources;
        // A throttled replica uses less than it would, and its means over minutes hide that it needs more at times.
        let cpu = learned.cpu.filter(|_| !learned.cpu_is_horizontal && throttled.is_none());
        let cpu = cpu.zip(resources.cpu);
        let memory = learned.memory.filter(|_| !learned.memory_is_horizontal).zip(resources.memory);
        let cpu = cpu.and_then(|(range, declared)| {
            let range = Range { lower: range.lower.0, target: range.target.0, upper: range.upper.0 };
            cpu_advice(range, declared, replicas)
        });
        let memory = memory.and_then(|(range, declared)| {
            let range = Range { lower: range.lower.0, target: range.target.0, upper: range.upper.0 };
            memory_advice(range, declared, replicas)
        });
        throttled.into_iter().chain(cpu).chain(memory).collect()
    }
}

/// Advice where too much or too little is declared; `range` is in thousandths of a core.
fn cpu_advice(range: Range<u64>, declared: Quantity, replicas: f64) -> Option<Advice> {
    let remedy = Remedy::Cpu(Quantity::from_milli(i64::try_from(range.target).ok()?));
    let declared = u64::try_from(declared.milli()).ok()?;
    if u128::from(range.target) * 100 >= u128::from(declared) * PINNED_PERCENT {
        return Some(Advice {
            kind: Kind::CpuTight,
            note: format!(
                "in one minute of ten each replica used its declared {declared}m of the processor or more; with --cpu quota it is throttled then, \
                 without it depends on what others leave"
            ),
            benefit: Benefit::LackedCores((range.target - declared) as f64 * replicas / 1000.0),
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
        benefit: Benefit::SparedCores(spared),
        remedy,
    })
}

/// Advice where too much or too little is declared; `range` is in bytes.
fn memory_advice(range: Range<u64>, declared: Quantity, replicas: f64) -> Option<Advice> {
    const MIB: u64 = 1 << 20;
    let declared = u64::try_from(declared.units_ceil()).ok()?;
    let target = range.target.div_ceil(MIB);
    let remedy = Remedy::Memory(Quantity::parse(&format!("{target}Mi")).ok()?);
    let in_all = |bytes: u64| Bytes((bytes as f64 * replicas) as u64);
    let may_use = format!("each replica may use {} MiB of memory", declared / MIB);
    if declared > range.upper {
        let note = format!("{may_use}, but {target} MiB would cover its usage");
        let benefit = Benefit::SparedMemory(in_all(declared - range.target));
        return Some(Advice { kind: Kind::MemoryOverAsked, note, benefit, remedy });
    }
    (declared < range.target).then(|| Advice {
        kind: Kind::MemoryTight,
        note: format!("{may_use}, but it needs {target} MiB by its usage and the times that it ran out"),
        benefit: Benefit::LackedMemory(in_all(range.target - declared)),
        remedy,
    })
}
