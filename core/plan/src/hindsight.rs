//! What a look back at a service shows: where it had too little, where it had too much, and what its declaration would say without that.
//!
//! The decisions come from the history, whose runs say which number was wanted, how often, and what each metric asked for. Each piece of
//! advice stands for itself, and is worth what it would have been worth in the time that was looked at.

mod losses;
mod starts;
mod thresholds;
mod throttling;

use std::time::Duration;

use knowledge::{Range, ServiceState};
use model::quantity::Bytes;
use model::resource::{
    AutoScale, Count, Flaps, ForecastMode, Forecasting, Quantity, Recover, ScalePolicy, ServiceSpec, Span,
};
use model::settings::Settings;
use model::time::{Time, Wall};

use crate::scale::stabilize::Direction;
use crate::vertical;

/// Less than this says nothing of a service: it may have a busy day in each week, but hardly none in which it is used at all.
const LOOKED_AT_MIN: Duration = Duration::from_hours(24);

/// Days of samples before a declared amount is called wrong: Kubernetes' recommender allows twice what was seen by then.
const CONFIDENCE_MIN: f64 = 1.0;

/// What is recommended, in hundredths of what is declared, when nine of ten minutes used 95 % of that: there is a margin of 15 % on it.
const PINNED_PERCENT: u128 = 109;

/// Time at the most replicas, with more asked for, that is a bottleneck: ten minutes of a day are a burst.
const CAPPED_MIN: Duration = Duration::from_mins(10);

/// Replicas that are added so soon after some were removed need not have been removed.
const FLAP: Duration = Duration::from_mins(10);

/// So many of these in a day are too many.
const FLAPS_A_DAY: f64 = 4.0;

/// The budget of turns that is advised.
const FLAPS_ADVISED: u32 = 4;

/// Decisions of one outcome and one reason, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// When the first was made.
    pub from: Wall,
    /// When the last was made.
    pub to: Wall,
    /// How many there were; others may have been made between them.
    pub count: u64,
    /// Replicas wanted before the first.
    pub previous: u32,
    /// Replicas wanted.
    pub desired: u32,
    /// The most that each metric asked for, in the order of the declaration; `None` for one that was not measured.
    pub asked: Vec<Option<u32>>,
    /// The least that the metrics asked for at any time, of which the highest counts; `None` when one was not measured.
    pub asked_least: Option<u32>,
    /// The lowest and the highest that each metric was, in parts of its target, in the order of the declaration; `None` for one that was not
    /// measured.
    pub ratios: Vec<Option<(f64, f64)>>,
}

/// One thing that would better be otherwise.
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

/// What would better be otherwise; bottlenecks before waste.
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
    /// So many replicas, for an hour each, that were asked for and did not run.
    LackedReplicaHours(f64),
    /// So many replicas, for an hour each, that ran and were not needed.
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
    /// Startup and readiness asked about this often at least, with patience for as long as before.
    ProbesEvery(Span),
    /// This as the `min` of the schedule at this place, or none; without one that says nothing then.
    ScheduleMin(usize, Option<u32>),
    /// `spec.scale.policy.step` without the outermost step of this side, whose range goes to its neighbour.
    WithoutStep(Direction),
    /// This as `spec.scale.policy.watermarks.low`.
    LowWatermark(Quantity),
    /// This as `spec.recover`.
    Recover(Recover),
}

impl Remedy {
    /// Declares it. What it is about is there, when `spec` is the declaration that the advice was given on.
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

/// What `past`, oldest first, and what was learned of its replicas say about `service` at `now`; bottlenecks first. Nothing of a service
/// that is not declared. O(n log n) in the runs.
pub fn advice(now: Time, service: &ServiceState, past: &[Stretch], settings: &Settings) -> Vec<Advice> {
    let Some(declared) = &service.declared else { return Vec::new() };
    let view = View { spec: &declared.spec, past, settings };
    let mut found = view.of_sizes(now, service);
    found.extend(view.losses(now, service));
    if view.looked_at() >= LOOKED_AT_MIN {
        found.extend(view.flapping());
        found.extend(view.late_starts(service));
        found.extend(view.idle_floors());
        found.extend(view.idle_steps());
        // Bounds that a schedule changes were reached or not for reasons of the calendar.
        if let (Count::Auto(auto), true) =
            (&declared.spec.scale.count, declared.spec.scale.schedule.is_empty())
        {
            found.extend(view.max_reached(auto));
            found.extend(view.min_never_left(auto));
            found.extend(view.idle_metrics(auto));
            found.extend(declared.autoscaler.as_ref().and_then(|scaler| view.idle_low(scaler)));
        }
    }
    found.sort_by_key(|advice| advice.kind);
    found
}

struct View<'a> {
    spec: &'a ServiceSpec,
    past: &'a [Stretch],
    settings: &'a Settings,
}

impl View<'_> {
    /// From the first decision to the last.
    fn looked_at(&self) -> Duration {
        let first = self.past.iter().map(|stretch| stretch.from).min().unwrap_or_default();
        let last = self.past.iter().map(|stretch| stretch.to).max().unwrap_or_default();
        between(first, last)
    }

    /// Hours that the decisions of a run stood.
    fn hours(&self, stretch: &Stretch) -> f64 {
        stretch.count as f64 * self.settings.period.as_secs_f64() / 3600.0
    }

    /// Replicas wanted on average; `None` without a past.
    fn mean(&self) -> Option<f64> {
        let hours: f64 = self.past.iter().map(|stretch| self.hours(stretch)).sum();
        let replica_hours =
            self.past.iter().map(|stretch| self.hours(stretch) * f64::from(stretch.desired)).sum::<f64>();
        (hours > 0.0).then(|| replica_hours / hours)
    }

    /// Replicas wanted on average; what is wanted now, without a past.
    fn replicas(&self, service: &ServiceState) -> f64 {
        self.mean().unwrap_or_else(|| f64::from(service.desired.unwrap_or(0)))
    }

    fn of_sizes(&self, now: Time, service: &ServiceState) -> Vec<Advice> {
        let throttled = self.throttled(service);
        let learned =
            vertical::recommendation(now, service, None).filter(|it| it.confidence >= CONFIDENCE_MIN);
        let Some(learned) = learned else { return throttled.into_iter().collect() };
        let replicas = self.replicas(service);
        let resources = &self.spec.resources;
        // Who has to wait uses less than it would, and needs more at times than its minutes show.
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

    fn max_reached(&self, auto: &AutoScale) -> Option<Advice> {
        let lacking = |stretch: &&Stretch| stretch.desired == auto.max && most(stretch) > Some(auto.max);
        let capped: Vec<&Stretch> = self.past.iter().filter(lacking).collect();
        let hours: f64 = capped.iter().map(|stretch| self.hours(stretch)).sum();
        let asked = capped.iter().filter_map(|stretch| most(stretch)).max()?;
        let to = asked.min(self.settings.guard.replicas_max);
        if hours * 3600.0 < CAPPED_MIN.as_secs_f64() || to <= auto.max {
            return None;
        }
        let lacked = |stretch: &&Stretch| {
            f64::from(most(stretch).unwrap_or(0).saturating_sub(auto.max)) * self.hours(stretch)
        };
        Some(Advice {
            kind: Kind::MaxReached,
            note: format!(
                "for {hours:.1} h its metrics asked for more than the {} replicas that are allowed, at most for {asked}",
                auto.max
            ),
            worth: Worth::LackedReplicaHours(capped.iter().map(lacked).sum()),
            remedy: Remedy::Max(to),
        })
    }

    fn min_never_left(&self, auto: &AutoScale) -> Option<Advice> {
        if self.past.iter().any(|stretch| stretch.desired != auto.min) {
            return None;
        }
        // One that was not measured might have asked for anything.
        let asked = self.past.iter().map(most).collect::<Option<Vec<u32>>>()?;
        let to = asked.into_iter().max()?.max(1);
        if to >= auto.min {
            return None;
        }
        let hours: f64 = self.past.iter().map(|stretch| self.hours(stretch)).sum();
        Some(Advice {
            kind: Kind::MinNeverLeft,
            note: format!(
                "for {hours:.1} h it had the {} replicas that are the fewest, and its metrics never asked for more than {to}",
                auto.min
            ),
            worth: Worth::SparedReplicaHours(f64::from(auto.min - to) * hours),
            remedy: Remedy::Min(to),
        })
    }

    /// Metrics that have never made a difference, or always the same one.
    fn idle_metrics(&self, auto: &AutoScale) -> Vec<Advice> {
        if auto.metrics.len() < 2 || !matches!(auto.policy, ScalePolicy::Hpa) {
            return Vec::new();
        }
        let asked: Vec<&Vec<Option<u32>>> =
            self.past.iter().map(|it| &it.asked).filter(|it| it.len() == auto.metrics.len()).collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let idle = |index: usize| {
            let others = |row: &Vec<Option<u32>>| {
                let others = row.iter().enumerate().filter(|(other, _)| *other != index);
                others.filter_map(|(_, asked)| *asked).max()
            };
            let (kind, what) = if asked.iter().all(|row| row[index].is_none()) {
                (
                    Kind::MetricUnmeasured,
                    "was never measured, and what is not measured keeps replicas from being removed",
                )
            } else if asked.iter().all(|row| row[index] < others(row)) {
                (Kind::MetricNeverDecided, "never decided: another always asked for more")
            } else {
                return None;
            };
            let note = format!("metric {} of {} {what}", index + 1, auto.metrics.len());
            Some(Advice { kind, note, worth: Worth::Uncounted, remedy: Remedy::WithoutMetric(index) })
        };
        (0..auto.metrics.len()).filter_map(idle).collect()
    }

    fn flapping(&self) -> Option<Advice> {
        if self.spec.scale.flaps.is_some() {
            return None;
        }
        let mut runs: Vec<&Stretch> = self.past.iter().collect();
        runs.sort_by_key(|stretch| stretch.from);
        let (mut flaps, mut starts) = (0_u32, 0_u32);
        let mut shrunk: Option<(Wall, u32)> = None;
        for pair in runs.windows(2) {
            let (before, after) = (pair[0].desired, pair[1].desired);
            let at = pair[1].from;
            if after < before {
                shrunk = Some((at, before - after));
            } else if after > before
                && let Some((then, by)) = shrunk.take()
                && between(then, at) <= FLAP
            {
                flaps += 1;
                starts += by.min(after - before);
            }
        }
        let days = self.looked_at().as_secs_f64() / 86_400.0;
        let note = format!(
            "{flaps} times in {days:.1} days replicas were added within {} minutes after some had been removed",
            FLAP.as_secs() / 60
        );
        (f64::from(flaps) > FLAPS_A_DAY * days).then_some(Advice {
            kind: Kind::Flapping,
            note,
            worth: Worth::SparedStarts(starts),
            remedy: Remedy::Flaps(Flaps { most: FLAPS_ADVISED, per: Span::from_secs(3600) }),
        })
    }
}

/// The most that any metric asked for; `None` when one of them was not measured.
fn most(stretch: &Stretch) -> Option<u32> {
    stretch.asked.iter().copied().collect::<Option<Vec<u32>>>()?.into_iter().max()
}

fn between(from: Wall, to: Wall) -> Duration {
    Duration::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}

/// In thousandths of a core: too much declared, or too little.
fn cpu_off(range: Range<u64>, declared: Quantity, replicas: f64) -> Option<Advice> {
    let remedy = Remedy::Cpu(Quantity::from_milli(i64::try_from(range.target).ok()?));
    let declared = u64::try_from(declared.milli()).ok()?;
    if u128::from(range.target) * 100 >= u128::from(declared) * PINNED_PERCENT {
        return Some(Advice {
            kind: Kind::CpuTight,
            note: format!(
                "in one minute of ten each replica used all of the {declared}m of the processor that are declared, or more; with --cpu quota it \
                 is throttled then, without it lives on what others leave"
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
            "each replica may use {declared}m of the processor, and {}m would cover what it was seen to use (at most {}m)",
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
        let note = format!("{has}, and {target} MiB would cover what it was seen to use");
        let worth = Worth::SparedMemory(whole(declared - range.target));
        return Some(Advice { kind: Kind::MemoryOverAsked, note, worth, remedy });
    }
    (declared < range.target).then(|| Advice {
        kind: Kind::MemoryTight,
        note: format!("{has}, and by what it was seen to use, or ran out of, it needs {target} MiB"),
        worth: Worth::LackedMemory(whole(range.target - declared)),
        remedy,
    })
}

#[cfg(test)]
mod tests;
