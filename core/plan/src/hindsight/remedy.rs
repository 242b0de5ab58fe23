//! What advice would change in a declaration.

use std::num::NonZeroU32;

use model::resource::{
    Count, Flaps, ForecastMode, Forecasting, Probe, Probes, Quantity, Recover, ScalePolicy, ScaleStep,
    Schedule, ServiceSpec, Span,
};

use crate::scale::stabilize::Direction;

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
    /// Applies the remedy to `spec`, which must be the declaration that the advice was given on.
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
            (Self::WithoutStep(side), Count::Auto(auto)) => remove_step(&mut auto.policy, *side),
            (Self::LowWatermark(low), Count::Auto(auto)) => set_low(&mut auto.policy, *low),
            (Self::Recover(recover), _) => spec.recover = *recover,
            (Self::Forecast, _) => {
                let forecasting = || Forecasting::of_mode(ForecastMode::On);
                spec.scale.forecast.get_or_insert_with(forecasting).mode = ForecastMode::On;
            }
            (Self::ProbesEvery(every), _) => probe_every(*every, &mut spec.probes),
            (Self::ScheduleMin(index, min), _) => {
                set_floor(&mut spec.scale.schedule, *index, *min);
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

/// Probes startup and readiness at least every `every`, and lets the probes fail after the same time as before.
fn probe_every(every: Span, probes: &mut Probes) {
    for probe in [&mut probes.startup, &mut probes.readiness].into_iter().flatten() {
        let Probe { every: was, failures, .. } = *probe;
        if was > every {
            let patience = was.as_millis().saturating_mul(u64::from(failures.get()));
            let failures = u32::try_from(patience.div_ceil(every.as_millis().max(1))).unwrap_or(u32::MAX);
            probe.every = every;
            probe.failures = NonZeroU32::new(failures).unwrap_or(probe.failures);
        }
    }
}

/// Sets the low watermark.
fn set_low(policy: &mut ScalePolicy, low: Quantity) {
    if let ScalePolicy::Watermarks(policy) = policy {
        policy.low = low;
    }
}

/// Sets the floor of a schedule; a schedule that then sets nothing is removed.
fn set_floor(schedule: &mut Vec<Schedule>, index: usize, min: Option<u32>) {
    let Some(changed) = schedule.get_mut(index) else { return };
    changed.min = min;
    if changed.min.is_none() && changed.max.is_none() {
        schedule.remove(index);
    }
}

/// Removes the outermost step of a side, whose range goes to its neighbour.
fn remove_step(policy: &mut ScalePolicy, direction: Direction) {
    let ScalePolicy::Step(policy) = policy else { return };
    let steps: &mut Vec<ScaleStep> = match direction {
        Direction::Out => &mut policy.above,
        Direction::In => &mut policy.below,
    };
    if steps.len() < 2 {
        return;
    }
    match direction {
        Direction::Out => {
            steps.pop();
            if let Some(last) = steps.last_mut() {
                last.to = None;
            }
        }
        Direction::In => {
            steps.remove(0);
            if let Some(first) = steps.first_mut() {
                first.from = None;
            }
        }
    }
}
