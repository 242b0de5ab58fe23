//! The decision on the size of a service: a function of its inputs.

use knowledge::Pause;
use model::decision::Policy;
use model::memory::{FlapMemory, ScalingMemory};
use model::reason::Reason;
use model::resource::{AutoscalerSpec, Count, ForecastMode, ScaleMode};

use crate::fit::fit;
use crate::inputs::{SizeInputs, learned_target};
use crate::measured_metric::reading;
use crate::mode::followed;
use crate::scale::condition_times::record_inactive;
use crate::scale::hpa::{self, Verdict};
use crate::scale::policy_input::ForecastFloor;
use crate::scale::reading::{Members, ScaleView};
use crate::scale_in_blocker::{self, ScaleInBlocker};
use crate::to_zero::ToZeroState;

/// A decision on the size, and how it came about.
#[derive(Debug)]
pub(crate) struct Sizing {
    /// Replicas wanted from now on.
    pub(crate) desired: u32,
    pub(crate) outcome: Outcome,
}

/// How a decision came about.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is kept for each service, and most of those that decide are large"
)]
pub(crate) enum Outcome {
    /// By a rule without arithmetic.
    Plain {
        policy: Policy,
        reason: Reason,
        /// The number before it was rounded to an allowed size; `None` for holds and scaling to zero, which are not rounded.
        wanted: Option<u32>,
    },
    /// By the autoscaler, whose number need not be followed.
    Scaled {
        verdict: Verdict,
        /// Why it does not scale in; `None` when it does, or its verdict does not.
        blocker: Option<ScaleInBlocker>,
    },
}

impl SizeInputs {
    /// Decides; returns also the memory of the autoscaler after it, when it decided.
    pub(crate) fn decide(&self) -> (Sizing, Option<ScalingMemory>) {
        match self.decider() {
            Ok(spec) => {
                let mut memory = ScalingMemory::clone(&self.observed.memory);
                (self.scaled(spec, &mut memory), Some(memory))
            }
            Err(sizing) => (sizing, None),
        }
    }

    /// Decides with a `memory` that the caller keeps.
    pub(crate) fn decide_with(&self, memory: &mut ScalingMemory) -> Sizing {
        match self.decider() {
            Ok(spec) => self.scaled(spec, memory),
            Err(sizing) => sizing,
        }
    }

    /// The autoscaler that decides, or the decision without one.
    #[expect(clippy::result_large_err, reason = "one is made for each decision, and it is what is returned")]
    fn decider(&self) -> Result<&AutoscalerSpec, Sizing> {
        if let Some(hold) = self.hold {
            let reason = Reason::Held { replicas: hold.replicas, until: hold.until };
            // An older version accepted holds of more than the guard allows.
            return Err(plain(Policy::Hold, hold.replicas.min(self.replicas_max), reason));
        }
        match self.to_zero {
            Some(ToZeroState::Idle { since }) => {
                return Err(plain(Policy::ToZero, 0, Reason::Idle { since }));
            }
            Some(ToZeroState::Requested { waiting }) => {
                let reason = Reason::RequestsWaiting { waiting };
                return Err(plain(Policy::ToZero, self.first_size().max(1), reason));
            }
            None => {}
        }
        let scale = &self.declared.spec.scale;
        if let (Some(Pause { until }), Some(_)) = (self.pause, &self.declared.autoscaler) {
            return Err(self.allowed(Policy::Paused, self.within(self.current), Reason::Paused { until }));
        }
        match (&self.declared.autoscaler, &scale.count) {
            (Some(_), _) if scale.mode == ScaleMode::Off => {
                Err(self.allowed(Policy::Off, self.within(self.current), Reason::ScalingOff))
            }
            (Some(spec), _) => Ok(spec),
            (None, Count::Fixed(replicas)) => Err(self.fixed(*replicas)),
            (None, Count::Auto(auto)) => Err(self.fixed(auto.min)),
        }
    }

    /// The memory of an autoscaler that did not decide, whose conditions say so. `None` where they do already, and without an autoscaler.
    pub(crate) fn inactive_memory(&self) -> Option<ScalingMemory> {
        self.declared.autoscaler.as_ref()?;
        let mut conditions = self.observed.memory.conditions.clone();
        record_inactive(self.now.wall, &mut conditions);
        let is_changed = conditions != self.observed.memory.conditions;
        is_changed.then(|| ScalingMemory { conditions, ..ScalingMemory::clone(&self.observed.memory) })
    }

    /// A size that does not depend on load, but may depend on schedules.
    fn fixed(&self, replicas: u32) -> Sizing {
        let within = self.within(replicas);
        let is_moved = within != replicas;
        match is_moved.then(|| self.effective_bounds.note(&self.declared)).flatten() {
            Some(note) => self.allowed(Policy::Schedule, within, Reason::Scheduled { note: note.into() }),
            None => self.allowed(Policy::Fixed, within, Reason::Declared),
        }
    }

    /// A size without arithmetic, rounded to an allowed one.
    fn allowed(&self, policy: Policy, wanted: u32, reason: Reason) -> Sizing {
        let outcome = Outcome::Plain { policy, reason, wanted: Some(wanted) };
        Sizing { desired: self.fitted(wanted), outcome }
    }

    /// `replicas`, but at least as many as are protected, within the bounds.
    pub(crate) fn raised_to_protected(&self, replicas: u32) -> u32 {
        let least = self.protected.map_or(0, |protected| protected.replicas);
        replicas.max(least.min(self.effective_bounds.bounds.max))
    }

    fn within(&self, replicas: u32) -> u32 {
        replicas.clamp(self.effective_bounds.bounds.min, self.effective_bounds.bounds.max)
    }

    fn fitted(&self, replicas: u32) -> u32 {
        fit(&self.declared, replicas, self.effective_bounds.bounds).replicas()
    }

    fn scaled(&self, spec: &AutoscalerSpec, memory: &mut ScalingMemory) -> Sizing {
        let (now, current, observed) = (self.now.time, self.current, &self.observed);
        let spec = &*self.effective_bounds.bound(spec);
        let view = ScaleView {
            spec_replicas: current,
            status_replicas: observed.count,
            members: Members::Known(&observed.replicas),
            warmup: observed.warmup,
            learned_target: learned_target(spec, observed.capacity),
        };
        let metrics = spec.metrics.iter().zip(&observed.measured);
        let readings: Vec<_> =
            metrics.map(|(metric, measured)| reading(metric, measured, &self.declared)).collect();
        let forecast = self.forecast_floor(spec, ForecastMode::On);
        let verdict = hpa::reconcile_above(forecast, now, (spec, &view), &readings, memory, &self.hpa);
        let fall = scale_in_blocker::fall(now, &verdict, &mut memory.levels);
        // New bounds apply even during an incident: they are not a fall of the load.
        let is_scale_in_by_load = verdict.desired < current && current <= spec.max;
        let blocker =
            is_scale_in_by_load.then(|| self.blocker(spec, (&verdict, fall), &memory.flaps)).flatten();
        let proposed = if blocker.is_some() { current } else { verdict.desired };
        let proposed = self.raised_to_protected(proposed);
        let kept = self.fitted(self.within(current));
        let desired = followed(self.declared.spec.scale.mode, kept, self.fitted(proposed));
        hpa::record(now, spec, current, desired, memory);
        verdict.record_conditions(self.now.wall, &mut memory.conditions);
        match self.declared.spec.scale.flaps {
            Some(flaps) if desired != current && matches!(verdict.outcome, hpa::Outcome::Scaled { .. }) => {
                scale_in_blocker::record_change(now, flaps, (current, desired), &mut memory.flaps);
            }
            Some(_) => {}
            None => memory.flaps = FlapMemory::default(),
        }
        Sizing { desired, outcome: Outcome::Scaled { verdict, blocker } }
    }

    /// The floor by a forecast in `mode`; none where the forecast has another mode.
    pub(crate) fn forecast_floor(&self, spec: &AutoscalerSpec, mode: ForecastMode) -> ForecastFloor {
        let expected_load = self.expected_load.as_ref().filter(|expected_load| expected_load.mode == mode);
        expected_load.map_or_else(ForecastFloor::default, |expected_load| {
            expected_load.forecast_floor(hpa::tolerance_of(spec, &self.hpa).up)
        })
    }

    /// The first reason not to scale in as `verdict` wants.
    fn blocker(
        &self,
        spec: &AutoscalerSpec,
        (verdict, fall): (&Verdict, Option<ScaleInBlocker>),
        memory: &FlapMemory,
    ) -> Option<ScaleInBlocker> {
        let flaps = || scale_in_blocker::flapping(self.now.time, self.declared.spec.scale.flaps?, memory);
        self.load_blocker(spec, verdict, fall).or_else(flaps)
    }

    /// The first reason not to accept a fall of the load, or not to act on it now.
    pub(crate) fn load_blocker(
        &self,
        spec: &AutoscalerSpec,
        verdict: &Verdict,
        fall: Option<ScaleInBlocker>,
    ) -> Option<ScaleInBlocker> {
        let errors = self.observed.errors.map(ScaleInBlocker::Errors);
        errors
            .or_else(|| self.observed.incident.clone().map(ScaleInBlocker::Incident))
            .or_else(|| scale_in_blocker::below_zero(verdict, spec))
            .or_else(|| scale_in_blocker::missing_samples(verdict))
            .or(fall)
    }
}

fn plain(policy: Policy, desired: u32, reason: Reason) -> Sizing {
    Sizing { desired, outcome: Outcome::Plain { policy, reason, wanted: None } }
}
