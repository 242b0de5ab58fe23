//! Shadows: autoscalers that are tried beside the acting one, what each would have decided, and how that compares.
//!
//! A shadow decides as if its own number of replicas shared the measured load, so that it follows its own changes of size and not those of the acting
//! autoscaler. Every autoscaler of this kind assumes that. The limit of the assumption: saturated replicas show less load than there is, and a shadow
//! with more replicas does not see the rest.

use std::borrow::Cow;
use std::time::Duration;

use model::decision::{Decision, ShadowDecision};
use model::input::Declared;
use model::memory::{PolicyMemory, ScalingMemory, ShadowMemory};
use model::resource::{AutoscalerSpec, FORECAST_SHADOW, ForecastMode};
use model::time::{Now, Time};

use crate::expected_load::ExpectedLoad;
use crate::inputs::{ShadowInputs, SizeInputs};
use crate::measured_metric::{MeasuredMetric, reading};
use crate::scale::hpa::{self, Verdict};
use crate::scale::policy_input::ForecastFloor;
use crate::scale::reading::{
    Gap, Members, Milli, Phase, Readiness, ReplicaView, Replicas, Sample, ScaleView,
};
use crate::scale_in_blocker::{self, ScaleInBlocker};
use crate::sizing::{Outcome, Sizing};

/// The longest time between two decisions that is scored.
///
/// 10 s: ten periods. In a longer gap the service was at zero or this process did not run, and there are no measurements.
const GAP_MAX: Duration = Duration::from_secs(10);

/// The decision of a shadow.
#[derive(Debug)]
pub(crate) struct ShadowSizing {
    pub(crate) desired: u32,
    pub(crate) verdict: Verdict,
    /// Why it does not scale in; `None` when it does, or its verdict does not.
    pub(crate) blocker: Option<ScaleInBlocker>,
}

impl SizeInputs {
    /// The decision of each shadow, and its memory after it; empty while the service is at zero.
    pub(crate) fn shadow(&self, acting: &Sizing) -> (Vec<ShadowSizing>, Vec<ShadowMemory>) {
        self.shadows.iter().map(|shadow| shadow.decide(self, acting)).unzip()
    }
}

impl ShadowInputs {
    fn decide(&self, inputs: &SizeInputs, acting: &Sizing) -> (ShadowSizing, ShadowMemory) {
        let (now, spec) = (inputs.now.time, &self.spec);
        let mut memory = self.memory.as_deref().cloned().unwrap_or_else(|| self.first_memory(inputs));
        let current = memory.desired;
        let resized = ResizedService::of(inputs, &self.measured, current);
        let view = ScaleView {
            spec_replicas: current,
            status_replicas: resized.count,
            members: Members::Known(&resized.replicas),
            warmup: inputs.observed.warmup,
            learned_target: None,
        };
        let readings: Vec<_> = spec
            .metrics
            .iter()
            .zip(&*resized.measured)
            .map(|(metric, measured)| reading(metric, measured, &inputs.declared))
            .collect();
        let is_forecast = self.name.as_str() == FORECAST_SHADOW;
        let floor = |expected_load: &ExpectedLoad| {
            expected_load.forecast_floor(hpa::tolerance_of(spec, &inputs.hpa).up)
        };
        let forecast = match &self.expected_load {
            _ if is_forecast => inputs.forecast_floor(spec, ForecastMode::Shadow),
            Some(expected_load) => floor(expected_load),
            None => ForecastFloor::default(),
        };
        let scaling = &mut memory.scaling;
        let verdict = hpa::reconcile_above(forecast, now, (spec, &view), &readings, scaling, &inputs.hpa);
        let is_scale_in_by_load = verdict.desired < current && current <= spec.max;
        let fall = scale_in_blocker::fall(now, &verdict, &mut memory.scaling.levels);
        let blocker = is_scale_in_by_load.then(|| inputs.load_blocker(spec, &verdict, fall)).flatten();
        let proposed = if blocker.is_some() { current } else { verdict.desired };
        let desired = proposed.min(inputs.replicas_max);
        if desired == verdict.desired {
            hpa::confirm(now, spec, &verdict, &mut memory.scaling);
        }
        score(&mut memory, inputs, acting, (&verdict, spec));
        memory.resize(now, desired);
        (ShadowSizing { desired, verdict, blocker }, memory)
    }

    /// The decision, explained for people.
    pub(crate) fn describe(&self, sizing: &ShadowSizing, declared: &Declared, now: Now) -> ShadowDecision {
        let decision: Decision = sizing.verdict.decision(declared.name.clone(), now, &self.spec);
        let decision = match &sizing.blocker {
            Some(blocker) => blocker.hold(decision),
            None => Decision { desired: sizing.desired, ..decision },
        };
        ShadowDecision { name: self.name.clone(), decision }
    }

    /// The memory of a new shadow: the size and the memory of the acting autoscaler.
    fn first_memory(&self, inputs: &SizeInputs) -> ShadowMemory {
        let desired = inputs.current.clamp(self.spec.min, self.spec.max);
        let is_same =
            inputs.declared.autoscaler.as_ref().is_some_and(|acting| acting.policy == self.spec.policy);
        let acting = ScalingMemory::clone(&inputs.observed.memory);
        let policy = if is_same { acting.policy } else { PolicyMemory::default() };
        let scaling = ScalingMemory { scaled_to_zero: desired == 0, policy, ..acting };
        ShadowMemory::new(self.name.clone(), inputs.now.time, desired, scaling)
    }
}

/// Adds the time since the last decision to the scores of the shadow and of the acting autoscaler, with the numbers that they wanted.
fn score(
    memory: &mut ShadowMemory,
    inputs: &SizeInputs,
    acting: &Sizing,
    (verdict, spec): (&Verdict, &AutoscalerSpec),
) {
    let now = inputs.now.time;
    let passed = now.since(std::mem::replace(&mut memory.until, now));
    let acted = inputs.desired.unwrap_or(inputs.current);
    if passed <= GAP_MAX {
        memory.count(passed, acted);
        let state = |verdict: &Verdict, spec: &AutoscalerSpec| {
            (passed, verdict.is_over(hpa::tolerance_of(spec, &inputs.hpa).up), verdict.is_without_number())
        };
        let (passed, is_over, is_held) = state(verdict, spec);
        memory.own.record_time(passed, is_over, is_held);
        if let (Outcome::Scaled { verdict, .. }, Some(spec)) = (&acting.outcome, &inputs.declared.autoscaler)
        {
            let (passed, is_over, is_held) = state(verdict, spec);
            memory.acting.record_time(passed, is_over, is_held);
        }
    }
    memory.acting.record_change(acted, acting.desired);
}

/// The service as a shadow sees it: with its own number of replicas, which share the measured load.
struct ResizedService<'a> {
    count: u32,
    replicas: Replicas,
    measured: Cow<'a, [MeasuredMetric]>,
}

impl<'a> ResizedService<'a> {
    fn of(inputs: &'a SizeInputs, measured: &'a [MeasuredMetric], count: u32) -> Self {
        let observed = &inputs.observed;
        if count == inputs.current {
            let (replicas, measured) = (observed.replicas.clone(), Cow::Borrowed(measured));
            return Self { count: observed.count, replicas, measured };
        }
        let serving: Vec<usize> =
            (0..observed.replicas.len()).filter(|at| is_at_work(&observed.replicas[*at])).collect();
        // They count as long started: start times are known of existing replicas only.
        let readiness = Some(Readiness { ready: true, since: Time::ZERO });
        let one = ReplicaView { phase: Phase::Running, leaving: false, started: Some(Time::ZERO), readiness };
        let measured = measured.iter().map(|measured| match measured {
            MeasuredMetric::Each(samples) => MeasuredMetric::Each(shared(samples, &serving, count)),
            MeasuredMetric::Whole(_) | MeasuredMetric::Nothing(_) => measured.clone(),
        });
        let replicas = std::iter::repeat_n(one, count as usize).collect();
        Self { count, replicas, measured: measured.collect() }
    }
}

fn is_at_work(replica: &ReplicaView) -> bool {
    replica.serves() && !replica.leaving
}

/// The samples of `count` replicas that share the load of the `serving` ones. Where samples are missing, one of the new ones is missing as well, so
/// that the data stay partial.
fn shared(samples: &[Result<Sample, Gap>], serving: &[usize], count: u32) -> Vec<Result<Sample, Gap>> {
    let of = |at: &usize| samples.get(*at).copied().unwrap_or(Err(Gap::Absent));
    let measured: Vec<Sample> = serving.iter().filter_map(|at| of(at).ok()).collect();
    let gap = serving.iter().find_map(|at| of(at).err());
    let Some(latest) = measured.iter().max_by_key(|sample| sample.at) else {
        return vec![Err(gap.unwrap_or(Gap::Absent)); count as usize];
    };
    let sum: i128 = measured.iter().map(|sample| i128::from(sample.value.0)).sum();
    let total = sum * serving.len() as i128 / measured.len() as i128;
    let each = i64::try_from(total / i128::from(count.max(1))).unwrap_or(i64::MAX);
    let mut all = vec![Ok(Sample { value: Milli(each), ..*latest }); count as usize];
    if let (Some(gap), Some(last)) = (gap, all.last_mut()) {
        *last = Err(gap);
    }
    all
}

#[cfg(test)]
mod tests;
