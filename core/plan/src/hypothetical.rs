//! Hypothetical inputs: with another load, at another time, without a hold or a pause.

use std::sync::Arc;
use std::time::Duration;

use model::input::Declared;
use model::memory::ScalingMemory;
use model::resource::ScaleMode;
use model::time::{Now, Wall};

use crate::effective_bounds::EffectiveBounds;
use crate::inputs::{SizeInputs, current_size};
use crate::to_zero::ToZeroState;

/// Which load is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariedLoad {
    /// The load of the metric at this place of the declaration.
    One(usize),
    /// The load of all metrics, by the same factor.
    All,
}

impl SizeInputs {
    /// The inputs with a load of `ppm` millionths of the measured one.
    pub(crate) fn at_load(&self, varied: VariedLoad, ppm: u64) -> Self {
        let mut inputs = self.clone();
        let Some(spec) = &self.declared.autoscaler else { return inputs };
        for (index, (measured, metric)) in inputs.observed.measured.iter_mut().zip(&spec.metrics).enumerate()
        {
            if varied == VariedLoad::All || varied == VariedLoad::One(index) {
                *measured = measured.at_load(ppm, metric, &self.observed.replicas, self.now.time);
            }
        }
        inputs
    }

    /// Makes these the inputs of the next decision, `by` later, where only the size and the memory change, as this decision set them.
    pub(crate) fn advance(&mut self, by: Duration, desired: u32, memory: Option<ScalingMemory>) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now = Now {
            time: self.now.time + by,
            wall: Wall::from_millis(self.now.wall.as_millis().saturating_add(ms)),
        };
        self.effective_bounds = EffectiveBounds::of(self.now.wall, &self.declared, self.replicas_max);
        self.observed.measured.iter_mut().for_each(|measured| measured.advance(by));
        if let Some(memory) = memory {
            self.observed.memory = Arc::new(memory);
        }
        self.desired = Some(desired);
        self.current =
            current_size(self.desired, &self.observed.memory, (&self.declared, &self.effective_bounds));
        let now = self.now.time;
        self.hold = self.hold.filter(|hold| hold.until.is_none_or(|until| now < until));
        self.pause = self.pause.filter(|pause| pause.until.is_none_or(|until| now < until));
        self.protected = self.protected.filter(|protected| now < protected.until);
    }

    /// The inputs without a hold.
    pub(crate) fn without_hold(&self) -> Self {
        Self { hold: None, ..self.clone() }
    }

    /// The inputs without a pause.
    pub(crate) fn without_pause(&self) -> Self {
        Self { pause: None, ..self.clone() }
    }

    /// The inputs with one request waiting.
    pub(crate) fn with_request(&self) -> Self {
        Self { to_zero: Some(ToZeroState::Requested { waiting: 1 }), ..self.clone() }
    }

    /// The inputs with mode `on`.
    pub(crate) fn in_mode_on(&self) -> Self {
        let mut spec = self.declared.spec.clone();
        spec.scale.mode = ScaleMode::On;
        let declared = Declared { spec, ..Declared::clone(&self.declared) };
        Self { declared: Arc::new(declared), ..self.clone() }
    }
}
