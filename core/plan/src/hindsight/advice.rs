//! A piece of advice: what was observed, what the change would have been worth, and what to declare instead.

use model::quantity::Bytes;
use model::resource::{Count, Flaps, ForecastMode, Forecasting, Quantity, Recover, ServiceSpec, Span};

use super::{starts, thresholds};
use crate::scale::stabilize::Direction;

/// One piece of advice.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// What it is.
    pub kind: Kind,
    /// What was seen, in a sentence.
    pub note: String,
    /// What it would have been worth.
    pub worth: Worth,
    /// What to declare instead.
    pub remedy: Remedy,
}

/// The kinds of advice; bottlenecks before waste.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// More replicas were asked for than are allowed.
    MaxReached,
    /// Replicas wait again and again, as the processor that is declared for them is used up.
    CpuThrottled,
    /// Replicas use all the processor that is declared for them.
    CpuTight,
    /// Replicas use, or used up, more memory than they may.
    MemoryTight,
    /// A metric was never measured, so that nothing is ever removed.
    MetricUnmeasured,
    /// Replicas that the load asked for came late, as they take long to start.
    SlowStarts,
    /// Much of a start is spent waiting for the next probe.
    SlowProbe,
    /// Replicas that were lost were waited for, and none was kept ready for them.
    NoSpare,
    /// Replicas were removed and added again.
    Flapping,
    /// Fewer replicas would always have done.
    MinNeverLeft,
    /// Replicas use less processor than is declared.
    CpuOverAsked,
    /// Replicas use less memory than is declared.
    MemoryOverAsked,
    /// The floor of a schedule is higher than anything that was asked for while it held.
    ScheduleOverAsked,
    /// A metric never decided, as another always asked for more.
    MetricNeverDecided,
    /// The floor of a schedule never decided, as the metrics always asked for as many.
    ScheduleNeverDecided,
    /// The outermost step of a policy was never taken.
    StepNeverTaken,
    /// A low watermark is so low that nothing was ever removed.
    LowNeverReached,
    /// Replicas were kept ready for more losses than there were.
    SpareNeverUsed,
}

impl Kind {
    /// The name that users see.
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

/// What following advice would have been worth in the time looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Worth {
    /// Replica-hours that were asked for and did not run.
    LackedReplicaHours(f64),
    /// Replica-hours that ran and were not needed.
    SparedReplicaHours(f64),
    /// Cores that are kept for replicas that do not use them.
    SparedCores(f64),
    /// Cores that the replicas lack.
    LackedCores(f64),
    /// Memory that is kept for replicas that do not use it.
    SparedMemory(Bytes),
    /// Memory that the replicas lack.
    LackedMemory(Bytes),
    /// Replicas that need not have been stopped and started.
    SparedStarts(u32),
    /// What it is worth cannot be counted.
    Uncounted,
}

/// What to declare instead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Remedy {
    /// This as `spec.resources.cpu`.
    Cpu(Quantity),
    /// This as `spec.resources.memory`.
    Memory(Quantity),
    /// This as `spec.scale.min`.
    Min(u32),
    /// This as `spec.scale.max`.
    Max(u32),
    /// This as `spec.scale.flaps`.
    Flaps(Flaps),
    /// `spec.scale.metrics` without the one at this place.
    WithoutMetric(usize),
    /// `on` as `spec.scale.forecast.mode`.
    Forecast,
    /// Startup and readiness probes at least this often, with the same time until they fail.
    ProbesEvery(Span),
    /// This as the `min` of the schedule at this place, or none; a schedule that then sets nothing is removed.
    ScheduleMin(usize, Option<u32>),
    /// `spec.scale.policy.step` without the outermost step of this side, whose range goes to its neighbour.
    WithoutStep(Direction),
    /// This as `spec.scale.policy.watermarks.low`.
    LowWatermark(Quantity),
    /// This as `spec.recover`.
    Recover(Recover),
}

impl Remedy {
    /// Changes `spec` accordingly, which must be the declaration that the advice was given on.
    pub fn apply(&self, spec: &mut ServiceSpec) {
        match (self, &mut spec.scale.count) {
            (Self::Cpu(cpu), _) => spec.resources.cpu = Some(*cpu),
            (Self::Memory(memory), _) => spec.resources.memory = Some(*memory),
            (Self::Flaps(flaps), _) => spec.scale.flaps = Some(*flaps),
            (Self::Min(min), Count::Auto(auto)) => auto.min = *min,
            (Self::Max(max), Count::Auto(auto)) => auto.max = *max,
            (Self::WithoutMetric(index), Count::Auto(auto)) if *index < auto.metrics.len() => {
                auto.metrics.remove(*index);
            }
            (Self::WithoutStep(side), Count::Auto(auto)) => thresholds::remove_step(&mut auto.policy, *side),
            (Self::LowWatermark(low), Count::Auto(auto)) => thresholds::set_low(&mut auto.policy, *low),
            (Self::Recover(recover), _) => spec.recover = *recover,
            (Self::Forecast, _) => {
                let usual = || Forecasting::of_mode(ForecastMode::On);
                spec.scale.forecast.get_or_insert_with(usual).mode = ForecastMode::On;
            }
            (Self::ProbesEvery(every), _) => starts::ask_every(*every, &mut spec.probes),
            (Self::ScheduleMin(index, min), _) => {
                thresholds::set_floor(&mut spec.scale.schedule, *index, *min);
            }
            (
                Self::Min(_)
                | Self::Max(_)
                | Self::WithoutMetric(_)
                | Self::WithoutStep(_)
                | Self::LowWatermark(_),
                _,
            ) => {}
        }
    }
}
