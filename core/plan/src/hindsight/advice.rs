//! A piece of advice: what was observed, what the change would have saved, and what to declare instead.

use model::quantity::Bytes;

use super::remedy::Remedy;

/// One piece of advice.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Its kind.
    pub kind: Kind,
    /// What was observed, in a sentence.
    pub note: String,
    /// What following it would have saved.
    pub benefit: Benefit,
    /// What to declare instead.
    pub remedy: Remedy,
}

/// The kinds of advice; bottlenecks before waste.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The metrics proposed more replicas than are allowed.
    MaxReached,
    /// Replicas are throttled often, as they use up the processor that is declared for them.
    CpuThrottled,
    /// Replicas use all of the processor that is declared for them.
    CpuTight,
    /// Replicas need more memory than is declared, or ran out of it.
    MemoryTight,
    /// A metric was never measured, so that nothing is ever removed.
    MetricUnmeasured,
    /// The load waited for new replicas, as they take long to start.
    SlowStarts,
    /// Much of a start is spent waiting for the next probe.
    SlowProbe,
    /// The load waited for the replacements of lost replicas, and there was no spare.
    NoSpare,
    /// Replicas were removed and added again.
    Flapping,
    /// Fewer replicas than the minimum would always have been enough.
    MinNeverLeft,
    /// Replicas use less processor than is declared.
    CpuOverAsked,
    /// Replicas use less memory than is declared.
    MemoryOverAsked,
    /// The floor of a schedule is higher than anything that the metrics proposed while it held.
    ScheduleOverAsked,
    /// A metric never decided, as another always proposed more.
    MetricNeverDecided,
    /// The floor of a schedule never decided, as the metrics always proposed at least as many.
    ScheduleNeverDecided,
    /// The outermost step of a policy was never taken.
    StepNeverTaken,
    /// A low watermark is so low that nothing was ever removed.
    LowNeverReached,
    /// More spares were kept than replicas were ever lost at once.
    SpareNeverUsed,
}

impl Kind {
    /// The name that users see; part of the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxReached => "MaxReached",
            Self::CpuThrottled => "CpuThrottled",
            Self::CpuTight => "CpuTight",
            Self::MemoryTight => "MemoryTight",
            Self::MetricUnmeasured => "MetricUnmeasured",
            Self::SlowStarts => "SlowStarts",
            Self::SlowProbe => "SlowProbe",
            Self::NoSpare => "NoSpare",
            Self::Flapping => "Flapping",
            Self::MinNeverLeft => "MinNeverLeft",
            Self::CpuOverAsked => "CpuOverAsked",
            Self::MemoryOverAsked => "MemoryOverAsked",
            Self::ScheduleOverAsked => "ScheduleOverAsked",
            Self::MetricNeverDecided => "MetricNeverDecided",
            Self::ScheduleNeverDecided => "ScheduleNeverDecided",
            Self::StepNeverTaken => "StepNeverTaken",
            Self::LowNeverReached => "LowNeverReached",
            Self::SpareNeverUsed => "SpareNeverUsed",
        }
    }
}

/// What following advice would have saved in the time that it is based on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Benefit {
    /// Replica-hours that were needed and did not run.
    LackedReplicaHours(f64),
    /// Replica-hours that ran and were not needed.
    SparedReplicaHours(f64),
    /// Cores that are reserved for replicas that do not use them.
    SparedCores(f64),
    /// Cores that the replicas lack.
    LackedCores(f64),
    /// Memory that is reserved for replicas that do not use it.
    SparedMemory(Bytes),
    /// Memory that the replicas lack.
    LackedMemory(Bytes),
    /// Replicas that need not have been stopped and started.
    SparedStarts(u32),
    /// It cannot be counted.
    Unknown,
}
