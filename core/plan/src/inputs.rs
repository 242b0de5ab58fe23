//! Everything that a decision on the size of a service depends on, copied from the knowledge at one time.
//!
//! The decision is a function of these inputs alone (`sizing.rs`), so it can be made again, also with changed inputs, for as long as they are
//! kept.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use knowledge::capacity::{self, LearnedCapacity};
use knowledge::{Hold, LoadForecast, Pause, Place, ServiceState, Stage};
use model::fact::Finding;
use model::identity::Ordinal;
use model::input::Declared;
use model::memory::ScalingMemory;
use model::plan::Role;
use model::resource::{AutoscalerSpec, Bounds, Count, MetricSpec, Quantity, REPLICAS_MAX};
use model::settings::{HpaSettings, Settings};
use model::time::{Now, Time};

use crate::context::PlanContext;
use crate::effective_bounds::{EffectiveBounds, between};
use crate::expected_load::{ExpectedLoad, SloInputs};
use crate::fit::fit;
use crate::measured_metric::{MeasuredMetric, MetricSampler};
use crate::scale::reading::{Milli, Phase, Readiness, ReplicaView, Replicas, Unavailable};
use crate::scale_in_blocker::{Errors, Incident};
use crate::shadow::ShadowInputs;
use crate::simulated::SimulatedState;
use crate::to_zero::ToZeroState;

/// Most replicas that a load is spread over, as many as a service may have.
const REPLICAS_SPREAD_MAX: usize = REPLICAS_MAX as usize;

/// Everything that a decision on the size of a service depends on.
#[derive(Clone, Debug)]
pub(crate) struct SizeInputs {
    pub(crate) now: Now,
    pub(crate) declared: Arc<Declared>,
    pub(crate) effective_bounds: EffectiveBounds,
    /// Replicas wanted until now; `None` before the first decision.
    pub(crate) desired: Option<u32>,
    /// Replicas that the decision begins from.
    pub(crate) current: u32,
    /// Set while a person holds the size by hand.
    pub(crate) hold: Option<Hold>,
    pub(crate) to_zero: Option<ToZeroState>,
    /// Set while a person has paused the autoscaler.
    pub(crate) pause: Option<Pause>,
    /// Replicas that may not be removed.
    pub(crate) protected: Option<Protected>,
    /// What the autoscaler observes; empty without one.
    pub(crate) observed: Observations,
    /// What the load ahead needs; `None` where it is not forecast.
    pub(crate) expected_load: Option<Box<ExpectedLoad>>,
    pub(crate) hpa: HpaSettings,
    /// The time from one decision to the next.
    pub(crate) period: Duration,
    /// Autoscalers that are tried beside the acting one; none are asked while the service rests.
    pub(crate) shadows: Vec<ShadowInputs>,
    /// Most replicas that the guard lets a service have.
    pub(crate) replicas_max: u32,
}

/// Replicas that may not be removed, so that the number does not fall below theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protected {
    /// How many.
    pub(crate) replicas: u32,
    /// When the first protection ends by itself.
    pub(crate) until: Time,
}

/// What an autoscaler observes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observations {
    /// Replicas there are.
    pub(crate) count: u32,
    /// Those that the metrics are of; shared with hypothetical inputs made from these.
    pub(crate) replicas: Replicas,
    /// What was measured of each metric, in the order of the declaration.
    pub(crate) measured: Vec<MeasuredMetric>,
    /// How long replicas were seen to warm up; `None` before that, and for a declaration that wants Kubernetes' algorithm as it is.
    pub(crate) warmup: Option<Duration>,
    /// What one replica carries within what is promised; `None` while that is not known, and where nothing is promised.
    pub(crate) capacity: Option<LearnedCapacity>,
    /// What it remembered before the decision; shared with its owner and with hypothetical inputs made from these.
    pub(crate) memory: Arc<ScalingMemory>,
    pub(crate) errors: Option<Errors>,
    pub(crate) incident: Option<Incident>,
}

impl SizeInputs {
    pub(crate) fn of(
        context: PlanContext<'_>,
        (declared, effective_bounds, to_zero): (&Arc<Declared>, EffectiveBounds, Option<ToZeroState>),
    ) -> Self {
        let PlanContext { now, service, settings, .. } = context;
        let (observed, shadows) = Observations::of(context, declared);
        let replicas_max = settings.guard.replicas_max;
        let slo = declared.autoscaler.as_ref().and_then(|acting| acting.policy.slo());
        let rises = service.scaling.policy.history.rises();
        let slo_inputs = slo.map(|slo| SloInputs { slo, capacity: observed.capacity, rises, replicas_max });
        Self {
            now,
            desired: service.desired,
            current: begin(service.desired, &service.scaling, (declared, &effective_bounds)),
            hold: service.active_hold(now.time),
            shadows: if to_zero.is_none() { shadows } else { Vec::new() },
            to_zero,
            pause: service.active_pause(now.time),
            protected: Protected::of(now.time, service),
            observed,
            expected_load: ExpectedLoad::of(service.load_forecast.as_deref(), slo_inputs),
            replicas_max,
            hpa: settings.hpa.clone(),
            period: settings.period,
            declared: Arc::clone(declared),
            effective_bounds,
        }
    }

    /// The inputs for a simulated service. The caller keeps the `memory` and leaves a `blank` one in the inputs: see
    /// [`SizeInputs::decide_with`].
    pub(crate) fn simulated(
        now: Now,
        declared: Arc<Declared>,
        (simulated, load_forecast): (SimulatedState, Option<&LoadForecast>),
        (memory, blank, settings): (&ScalingMemory, &Arc<ScalingMemory>, &Settings),
    ) -> Self {
        let replicas_max = settings.guard.replicas_max;
        let effective_bounds = EffectiveBounds::of(now.wall, &declared, replicas_max);
        let SimulatedState { desired, count, replicas, measured, carries, .. } = simulated;
        let current = begin(desired, memory, (&declared, &effective_bounds));
        let capacity = carries.map(LearnedCapacity::simulated);
        let slo = declared.autoscaler.as_ref().and_then(|acting| acting.policy.slo());
        let slo_inputs =
            slo.map(|slo| SloInputs { slo, capacity, rises: memory.policy.history.rises(), replicas_max });
        let expected_load = ExpectedLoad::of(load_forecast, slo_inputs);
        Self {
            now,
            desired,
            current,
            hold: None,
            to_zero: None,
            pause: None,
            protected: None,
            observed: Observations {
                count,
                replicas,
                measured,
                warmup: None,
                capacity,
                memory: Arc::clone(blank),
                errors: None,
                incident: None,
            },
            expected_load,
            hpa: settings.hpa.clone(),
            period: settings.period,
            shadows: Vec::new(),
            replicas_max,
            declared,
            effective_bounds,
        }
    }

    /// The size of a service that was never sized, or was held at zero.
    pub(crate) fn first_size(&self) -> u32 {
        first_size(&self.declared, &self.effective_bounds)
    }

    /// The acting autoscaler as it decides now, for explanations: with the bounds that hold now, and the capacity of a replica as its target.
    pub(crate) fn acting<'a>(&self, spec: &'a AutoscalerSpec) -> Cow<'a, AutoscalerSpec> {
        aimed(self.effective_bounds.bound(spec), self.observed.capacity)
    }
}

/// The number that a decision begins from when `desired` replicas were wanted until now.
pub(crate) fn begin(
    desired: Option<u32>,
    memory: &ScalingMemory,
    whose: (&Declared, &EffectiveBounds),
) -> u32 {
    let (declared, effective_bounds) = whose;
    desired
        .filter(|desired| !is_off(*desired, memory, effective_bounds))
        .unwrap_or_else(|| first_size(declared, effective_bounds))
}

impl Protected {
    /// `None` when none is.
    fn of(now: Time, service: &ServiceState) -> Option<Self> {
        if service.protections.is_empty() {
            return None;
        }
        let counting = service.counting();
        let ends: Vec<Time> =
            counting.filter_map(|(ordinal, _)| service.protected_until(now, ordinal)).collect();
        let until = ends.iter().copied().min()?;
        Some(Self { replicas: u32::try_from(ends.len()).unwrap_or(u32::MAX), until })
    }
}

/// Whether the service is at zero because of a hold that has ended: its autoscaler would take that for a lasting wish, and stay off.
fn is_off(desired: u32, memory: &ScalingMemory, effective_bounds: &EffectiveBounds) -> bool {
    desired == 0 && effective_bounds.bounds.min > 0 && !memory.scaled_to_zero
}

fn first_size(declared: &Declared, effective_bounds: &EffectiveBounds) -> u32 {
    let Bounds { min, max } = effective_bounds.bounds;
    let replicas = match (&declared.spec.scale.count, &declared.autoscaler) {
        (Count::Fixed(replicas), Some(_)) => (*replicas).clamp(min.max(1), max.max(1)),
        (Count::Fixed(replicas), None) => (*replicas).clamp(min, max),
        (Count::Auto(_), _) => min.max(1),
    };
    fit(declared, replicas, effective_bounds.bounds).replicas()
}

impl Observations {
    fn of(context: PlanContext<'_>, declared: &Arc<Declared>) -> (Self, Vec<ShadowInputs>) {
        let PlanContext { now, knowledge, service, settings, .. } = context;
        if declared.autoscaler.is_none() && declared.spec.scale.shadows.is_empty() {
            return (Self::default(), Vec::new());
        }
        let active = service.places.iter().filter(|(_, place)| place.role == Role::Active);
        let places: Vec<(Ordinal, &Place)> = active.map(|(ordinal, place)| (*ordinal, place)).collect();
        let sampler =
            MetricSampler { now: now.time, knowledge, service: &service.name, places: &places, settings };
        let carried = |spec: &AutoscalerSpec| carried(service, spec);
        let take = |spec: &AutoscalerSpec| match spec.policy.slo() {
            Some(_) if carried(spec).is_none() => vec![MeasuredMetric::Nothing(Unavailable::Unlearned)],
            Some(slo) => vec![sampler.asked(slo.latency)],
            None => spec.metrics.iter().map(|metric| sampler.take(metric)).collect(),
        };
        let shadow_specs = service.shadows_of(declared);
        let shadows = shadow_specs.iter().map(|(name, spec)| {
            let memory = service.shadows.iter().find(|memory| memory.name == *name).cloned();
            let rises = memory.as_ref().and_then(|memory| memory.scaling.policy.history.rises());
            let replicas_max = settings.guard.replicas_max;
            let slo = spec.policy.slo();
            let slo_inputs = slo.map(|slo| SloInputs { slo, capacity: carried(spec), rises, replicas_max });
            let bounds = spec.bounds().at(now.wall, &declared.spec.scale.schedule);
            ShadowInputs {
                measured: take(spec),
                expected_load: slo_inputs
                    .and_then(|slo_inputs| slo_inputs.acted_on(service.load_forecast.as_deref()?)),
                memory,
                name: name.clone(),
                spec: match aimed(between(bounds, spec), carried(spec)) {
                    Cow::Borrowed(_) => Arc::clone(spec),
                    Cow::Owned(spec) => Arc::new(spec),
                },
            }
        });
        let shadows = shadows.collect();
        let observed = Self {
            count: service.count(),
            replicas: views(context, declared, &places),
            measured: declared.autoscaler.as_ref().map(take).unwrap_or_default(),
            warmup: (!is_hpa(declared)).then(|| knowledge::warmup(&service.starts)).flatten(),
            capacity: declared.autoscaler.as_ref().and_then(carried),
            memory: Arc::clone(&service.scaling),
            errors: Errors::of(&places, settings),
            incident: Incident::of(context),
        };
        (observed, shadows)
    }

    /// The same load, spread evenly over so many replicas that are at work; as it is where there are as many.
    pub(crate) fn spread_over(&mut self, replicas: u32) {
        let serving = self.replicas.iter().find(|view| view.serves() && !view.leaving).copied();
        let Some(serving) = serving else { return };
        if self.count == replicas {
            return;
        }
        let many = usize::try_from(replicas).unwrap_or(usize::MAX).min(REPLICAS_SPREAD_MAX);
        self.count = replicas;
        self.replicas = std::iter::repeat_n(serving, many).collect();
        self.measured.iter_mut().for_each(|measured| measured.spread_over(many));
    }
}

/// The load that one replica carries within the SLO of `spec`.
fn carried(service: &ServiceState, spec: &AutoscalerSpec) -> Option<LearnedCapacity> {
    let slo = spec.policy.slo()?;
    let generation = service.declared.as_ref()?.generation;
    capacity::estimate(service.capacity.as_deref(), generation, slo)
}

/// `spec` with the capacity of one replica as the target of its mean, where it has an SLO.
fn aimed(spec: Cow<'_, AutoscalerSpec>, capacity: Option<LearnedCapacity>) -> Cow<'_, AutoscalerSpec> {
    let Some(target) = learned_target(&spec, capacity) else { return spec };
    let mut spec = spec.into_owned();
    if let Some(MetricSpec::Pods { average, .. }) = spec.metrics.first_mut() {
        *average = Quantity::from_milli(target.0);
    }
    Cow::Owned(spec)
}

/// The load that one replica should carry in the mean, where `spec` has an SLO and the capacity is known.
pub(crate) fn learned_target(spec: &AutoscalerSpec, capacity: Option<LearnedCapacity>) -> Option<Milli> {
    let learned = capacity.filter(|_| spec.policy.slo().is_some())?;
    Some(Milli(i64::try_from(learned.rate.0).unwrap_or(i64::MAX).max(1)))
}

/// Whether a manifest of Kubernetes' kind says how to scale, so that nothing is decided but what Kubernetes would.
fn is_hpa(declared: &Declared) -> bool {
    declared.autoscaler.is_some() && matches!(declared.spec.scale.count, Count::Fixed(_))
}

fn views(context: PlanContext<'_>, declared: &Declared, places: &[(Ordinal, &Place)]) -> Replicas {
    let is_unstable = |(ordinal, place): &(Ordinal, &Place)| is_unstable(context, (*ordinal, place));
    // If all are unstable, none is set apart: an overloaded replica fails as well, and its load must count.
    let some_are_stable = places.iter().any(|each| each.1.is_ready() && !is_unstable(each));
    let knows = some_are_stable && !is_hpa(declared);
    let seen = places.iter().map(|each| match view(each.1) {
        view if knows && is_unstable(each) => ReplicaView { phase: Phase::Unstable, ..view },
        view => view,
    });
    seen.collect()
}

/// Whether a replica is unstable: it exits again and again, fails its liveness probe, or the proxy has ejected it.
fn is_unstable(context: PlanContext<'_>, (ordinal, place): (Ordinal, &Place)) -> bool {
    let is_its_loop =
        |finding: &Finding| matches!(finding, Finding::CrashLoop { ordinal: whose, .. } if *whose == ordinal);
    let ends_again = || context.findings.iter().any(is_its_loop);
    match &place.stage {
        Stage::Empty { .. } | Stage::Starting { .. } => ends_again(),
        Stage::Running(health) => {
            health.unhealthy_since.is_some()
                || place.is_ejected(context.now.time)
                || (!health.ready && ends_again())
        }
        Stage::Draining { .. } | Stage::Stopping { .. } => false,
    }
}

fn view(place: &Place) -> ReplicaView {
    let readiness =
        place.health().map(|health| Readiness { ready: health.ready, since: health.ready_changed });
    ReplicaView {
        phase: match place.stage {
            Stage::Empty { .. } | Stage::Starting { .. } => Phase::Pending,
            Stage::Running(_) | Stage::Draining { .. } | Stage::Stopping { .. } => Phase::Running,
        },
        leaving: matches!(place.stage, Stage::Draining { .. } | Stage::Stopping { .. }),
        started: place.health().map(|health| health.since),
        readiness,
    }
}
