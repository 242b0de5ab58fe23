//! Autoscalers that are tried beside the acting one: what each would have decided, and how that compares.
//!
//! A shadow is asked as if its own number of replicas shared the load that the replicas there are share: each of them would be measured
//! with its part of what is measured in all. So it is followed through its own ups and downs and not through those of the acting one.
//! That is the assumption by which every autoscaler of this kind scales, and its limits are those of every such prediction: replicas that
//! are at their limit could do more work than they are seen to do, and a shadow with more of them does not see that.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use model::decision::{Decision, ShadowDecision};
use model::input::Declared;
use model::memory::{PolicyMemory, ScalingMemory, ShadowMemory};
use model::resource::{AutoscalerSpec, FORECAST_SHADOW, ForecastMode, ObjectName};
use model::time::{Now, Time};

use crate::expected_load::ExpectedLoad;
use crate::inputs::SizeInputs;
use crate::measured_metric::{MeasuredMetric, reading};
use crate::scale::hpa::{self, Verdict};
use crate::scale::policy_input::ForecastFloor;
use crate::scale::reading::{
    Gap, Members, Milli, Phase, Readiness, ReplicaView, Replicas, Sample, ScaleView,
};
use crate::scale_in_blocker::{self, ScaleInBlocker};
use crate::sizing::{Outcome, Sizing};

/// Longest time between two decisions that is scored.
///
/// 10 s: ten periods. Past it nobody looked (the service rested, or this process did not run), and nobody knows how it was.
const GAP_MAX: Duration = Duration::from_secs(10);

/// All that the decision of a shadow depends on, besides what the acting one sees.
#[derive(Clone, Debug)]
pub(crate) struct ShadowInputs {
    pub(crate) name: ObjectName,
    /// Between the bounds of now.
    pub(crate) spec: Arc<AutoscalerSpec>,
    /// What was measured of each of its metrics.
    pub(crate) measured: Vec<MeasuredMetric>,
    /// What the load ahead needs by what it promises; `None` where it promises nothing, or nothing is forecast that may be acted on.
    pub(crate) expected_load: Option<Box<ExpectedLoad>>,
    /// What it remembered before the decision; `None` at its first.
    pub(crate) memory: Option<Arc<ShadowMemory>>,
}

/// What a shadow would have decided.
#[derive(Debug)]
pub(crate) struct ShadowSizing {
    pub(crate) desired: u32,
    pub(crate) verdict: Verdict,
    /// Why fewer are not followed; `None` when they are, or were not asked for.
    pub(crate) blocker: Option<ScaleInBlocker>,
}

impl SizeInputs {
    /// What each shadow would decide, and what it remembers from then on. Nobody is asked while the service rests.
    pub(crate) fn shadow(&self, acting: &Sizing) -> (Vec<ShadowSizing>, Vec<ShadowMemory>) {
        self.shadows.iter().map(|shadow| shadow.decide(self, acting)).unzip()
    }
}

impl ShadowInputs {
    fn decide(&self, inputs: &SizeInputs, acting: &Sizing) -> (ShadowSizing, ShadowMemory) {
        let (now, spec) = (inputs.now.time, &self.spec);
        let mut memory = self.memory.as_deref().cloned().unwrap_or_else(|| self.begin(inputs));
        let current = memory.desired;
        let otherwise = ResizedService::of(inputs, &self.measured, current);
        let view = ScaleView {
            spec_replicas: current,
            status_replicas: otherwise.count,
            members: Members::Known(&otherwise.replicas),
            warmup: inputs.observed.warmup,
            learned_target: None,
        };
        let readings: Vec<_> = spec
            .metrics
            .iter()
            .zip(&*otherwise.measured)
            .map(|(metric, measured)| reading(metric, measured, &inputs.declared))
            .collect();
        let is_forecast = self.name.as_str() == FORECAST_SHADOW;
        let own = |expected_load: &ExpectedLoad| expected_load.ahead(hpa::tolerance_of(spec, &inputs.hpa).up);
        let ahead = match &self.expected_load {
            _ if is_forecast => inputs.ahead(spec, ForecastMode::Shadow),
            Some(expected_load) => own(expected_load),
            None => ForecastFloor::default(),
        };
        let scaling = &mut memory.scaling;
        let verdict = hpa::reconcile_above(ahead, now, (spec, &view), &readings, scaling, &inputs.hpa);
        let is_believed_from_load = verdict.desired < current && current <= spec.max;
        let fall = scale_in_blocker::fall(now, &verdict, &mut memory.scaling.levels);
        let blocker = is_believed_from_load.then(|| inputs.load_blocker(spec, &verdict, fall)).flatten();
        let proposed = if blocker.is_some() { current } else { verdict.desired };
        let desired = proposed.min(inputs.replicas_max);
        if desired == verdict.desired {
            hpa::confirm(now, spec, &verdict, &mut memory.scaling);
        }
        score(&mut memory, inputs, acting, (&verdict, spec));
        memory.resize(now, desired);
        (ShadowSizing { desired, verdict, blocker }, memory)
    }

    /// The decision, in words.
    pub(crate) fn in_words(&self, sizing: &ShadowSizing, declared: &Declared, now: Now) -> ShadowDecision {
        let decision: Decision = sizing.verdict.decision(declared.name.clone(), now, &self.spec);
        let decision = match &sizing.blocker {
            Some(blocker) => blocker.hold(decision),
            None => Decision { desired: sizing.desired, ..decision },
        };
        ShadowDecision { name: self.name.clone(), decision }
    }

    /// It begins where the acting one is, with what that one remembers.
    fn begin(&self, inputs: &SizeInputs) -> ShadowMemory {
        let desired = inputs.current.clamp(self.spec.min, self.spec.max);
        let is_same =
            inputs.declared.autoscaler.as_ref().is_some_and(|acting| acting.policy == self.spec.policy);
        let acting = ScalingMemory::clone(&inputs.observed.memory);
        let policy = if is_same { acting.policy } else { PolicyMemory::default() };
        let scaling = ScalingMemory { scaled_to_zero: desired == 0, policy, ..acting };
        ShadowMemory::new(self.name.clone(), inputs.now.time, desired, scaling)
    }
}

/// Adds the time since the last decision to what each of both has come to, with the numbers that they wanted during it.
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
        let note = |verdict: &Verdict, spec: &AutoscalerSpec| {
            (passed, verdict.is_over(hpa::tolerance_of(spec, &inputs.hpa).up), verdict.is_without_number())
        };
        let (passed, is_over, is_held) = note(verdict, spec);
        memory.own.record_time(passed, is_over, is_held);
        if let (Outcome::Scaled { verdict, .. }, Some(spec)) = (&acting.outcome, &inputs.declared.autoscaler)
        {
            let (passed, is_over, is_held) = note(verdict, spec);
            memory.acting.record_time(passed, is_over, is_held);
        }
    }
    memory.acting.record_change(acted, acting.desired);
}

/// What a shadow sees: the service as if it had another number of replicas, which share what those there are do.
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
        // They have been at work for long: what those of now need to begin is known of those only.
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

/// What `count` replicas would be measured with that share what the `serving` ones do. Of those that cannot be measured one is left, so that the
/// data are partial as they are.
fn shared(samples: &[Result<Sample, Gap>], serving: &[usize], count: u32) -> Vec<Result<Sample, Gap>> {
    let of = |at: &usize| samples.get(*at).copied().unwrap_or(Err(Gap::Absent));
    let measured: Vec<Sample> = serving.iter().filter_map(|at| of(at).ok()).collect();
    let gap = serving.iter().find_map(|at| of(at).err());
    let Some(latest) = measured.iter().max_by_key(|sample| sample.at) else {
        return vec![Err(gap.unwrap_or(Gap::Absent)); count as usize];
    };
    let sum: i128 = measured.iter().map(|sample| i128::from(sample.value.0)).sum();
    let in_all = sum * serving.len() as i128 / measured.len() as i128;
    let each = i64::try_from(in_all / i128::from(count.max(1))).unwrap_or(i64::MAX);
    let mut all = vec![Ok(Sample { value: Milli(each), ..*latest }); count as usize];
    if let (Some(gap), Some(last)) = (gap, all.last_mut()) {
        *last = Err(gap);
    }
    all
}

#[cfg(test)]
mod tests;
