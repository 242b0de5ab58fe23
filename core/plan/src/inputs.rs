//! Everything that a decision on the size of a service depends on, copied from the knowledge at one time.
//!
//! The decision is a function of these inputs alone (`sizing.rs`), so it can be repeated, also with changed inputs, as long as they are kept.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use knowledge::capacity::{self, LearnedCapacity};
use knowledge::{Hold, Pause, Place, ServiceState, Stage};
use model::fact::Finding;
use model::identity::Ordinal;
use model::input::Declared;
use model::memory::{ScalingMemory, ShadowMemory};
use model::plan::Role;
use model::resource::{AutoscalerSpec, Bounds, Count, MetricSpec, ObjectName, Quantity, REPLICAS_MAX};
use model::settings::HpaSettings;
use model::time::{Now, Time};

use crate::context::PlanContext;
use crate::effective_bounds::{EffectiveBounds, between};
use crate::expected_load::{ExpectedLoad, SloInputs};
use crate::fit::fit;
use crate::measured_metric::{MeasuredMetric, MetricSampler};
use crate::scale::reading::{Milli, Phase, Readiness, ReplicaView, Replicas, Unavailable};
use crate::scale_in_blocker::{Errors, Incident};
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
    /// The number of replicas that the decision changes.
    pub(crate) current: u32,
    /// Set while a person holds the size by hand.
    pub(crate) hold: Option<Hold>,
    pub(crate) to_zero: Option<ToZeroState>,
    /// Set while a person has paused the autoscaler.
    pub(crate) pause: Option<Pause>,
    /// Replicas that may not be removed.
    pub(crate) protected: Option<Protected>,
    /// The observations of the autoscaler; empty without one.
    pub(crate) observed: Observations,
    /// The forecast of the load and the replicas that it needs; `None` where it is not forecast.
    pub(crate) expected_load: Option<Box<ExpectedLoad>>,
    pub(crate) hpa: HpaSettings,
    /// The time from one decision to the next.
    pub(crate) period: Duration,
    /// Autoscalers that are tried beside the acting one; none while the service is at zero.
    pub(crate) shadows: Vec<ShadowInputs>,
    /// The most replicas of a service that the guard allows.
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

/// The observations of an autoscaler.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observations {
    /// Replicas there are.
    pub(crate) count: u32,
    /// The replicas that the metrics are of; shared with hypothetical inputs.
    pub(crate) replicas: Replicas,
    /// The measurement of each metric, in the order of the declaration.
    pub(crate) measured: Vec<MeasuredMetric>,
    /// How long replicas take to warm up; `None` before that is known, and for a HorizontalPodAutoscaler, which decides as Kubernetes does.
    pub(crate) warmup: Option<Duration>,
    /// The load that one replica carries within the SLO; `None` while that is not known, and without an SLO.
    pub(crate) capacity: Option<LearnedCapacity>,
    /// The memory of the autoscaler before the decision; shared with its owner and with hypothetical inputs.
    pub(crate) memory: Arc<ScalingMemory>,
    pub(crate) errors: Option<Errors>,
    pub(crate) incident: Option<Incident>,
}

/// What the decision of a shadow depends on, besides the inputs of the acting autoscaler.
#[derive(Clone, Debug)]
pub(crate) struct ShadowInputs {
    pub(crate) name: ObjectName,
    /// Within the bounds that hold now.
    pub(crate) spec: Arc<AutoscalerSpec>,
    /// The measurement of each of its metrics.
    pub(crate) measured: Vec<MeasuredMetric>,
    /// The expected load by its SLO; `None` without an SLO, or without a forecast that may be used.
    pub(crate) expected_load: Option<Box<ExpectedLoad>>,
    /// Its memory before the decision; `None` at its first.
    pub(crate) memory: Option<Arc<ShadowMemory>>,
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
            current: current_size(service.desired, &service.scaling, (declared, &effective_bounds)),
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

    /// The size of a service that was never sized, or was held at zero.
    pub(crate) fn first_size(&self) -> u32 {
        first_size(&self.declared, &self.effective_bounds)
    }

    /// The acting autoscaler as it decides, for explanations: with the bounds that hold now, and with a learned capacity as its target.
    pub(crate) fn acting<'a>(&self, spec: &'a AutoscalerSpec) -> Cow<'a, AutoscalerSpec> {
        with_learned_target(self.effective_bounds.bound(spec), self.observed.capacity)
    }
}

/// The number that a decision changes, where `desired` replicas were wanted until now.
pub(crate) fn current_size(
    desired: Option<u32>,
    memory: &ScalingMemory,
    (declared, effective_bounds): (&Declared, &EffectiveBounds),
) -> u32 {
    desired
        .filter(|desired| !was_held_at_zero(*desired, memory, effective_bounds))
        .unwrap_or_else(|| first_size(declared, effective_bounds))
}

impl Protected {
    /// The protected replicas of `service`; `None` without any.
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

/// Whether the service is at zero because of a hold that has ended. Its autoscaler would treat that as switched off, and never scale out.
fn was_held_at_zero(desired: u32, memory: &ScalingMemory, effective_bounds: &EffectiveBounds) -> bool {
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
        let capacity = |spec: &AutoscalerSpec| learned_capacity(service, spec);
        let sample = |spec: &AutoscalerSpec| match spec.policy.slo() {
            Some(_) if capacity(spec).is_none() => vec![MeasuredMetric::Nothing(Unavailable::Unlearned)],
            Some(slo) => vec![sampler.demand(slo.latency)],
            None => spec.metrics.iter().map(|metric| sampler.sample(metric)).collect(),
        };
        let shadow_specs = service.shadows_of(declared);
        let shadows = shadow_specs.iter().map(|(name, spec)| {
            let memory = service.shadows.iter().find(|memory| memory.name == *name).cloned();
            let rises = memory.as_ref().and_then(|memory| memory.scaling.policy.history.rises());
            let replicas_max = settings.guard.replicas_max;
            let slo = spec.policy.slo();
            let slo_inputs = slo.map(|slo| SloInputs { slo, capacity: capacity(spec), rises, replicas_max });
            let bounds = spec.bounds().at(now.wall, &declared.spec.scale.schedule);
            ShadowInputs {
                measured: sample(spec),
                expected_load: slo_inputs
                    .and_then(|slo_inputs| slo_inputs.expected_load(service.load_forecast.as_deref()?)),
                memory,
                name: name.clone(),
                spec: match with_learned_target(between(bounds, spec), capacity(spec)) {
                    Cow::Borrowed(_) => Arc::clone(spec),
                    Cow::Owned(spec) => Arc::new(spec),
                },
            }
        });
        let shadows = shadows.collect();
        let observed = Self {
            count: service.count(),
            replicas: replica_views(context, declared, &places),
            measured: declared.autoscaler.as_ref().map(sample).unwrap_or_default(),
            warmup: (!is_hpa(declared)).then(|| knowledge::warmup(&service.starts)).flatten(),
            capacity: declared.autoscaler.as_ref().and_then(capacity),
            memory: Arc::clone(&service.scaling),
            errors: Errors::of(&places, settings),
            incident: Incident::of(context),
        };
        (observed, shadows)
    }

    /// Spreads the same load evenly over so many ready replicas; changes nothing where there are as many.
    pub(crate) fn spread_over(&mut self, replicas: u32) {
        let serving = self.replicas.iter().find(|view| view.serves() && !view.leaving).copied();
        let Some(serving) = serving else { return };
        if self.count == replicas {
            return;
        }
        let count = usize::try_from(replicas).unwrap_or(usize::MAX).min(REPLICAS_SPREAD_MAX);
        self.count = replicas;
        let spread: Replicas = std::iter::repeat_n(serving, count).collect();
        self.replicas = spread.with_slowest_start(self.replicas.slowest_start());
        self.measured.iter_mut().for_each(|measured| measured.spread_over(count));
    }
}

/// The load that one replica carries within the SLO of `spec`.
fn learned_capacity(service: &ServiceState, spec: &AutoscalerSpec) -> Option<LearnedCapacity> {
    let slo = spec.policy.slo()?;
    let generation = service.declared.as_ref()?.generation;
    capacity::estimate(service.capacity.as_deref(), generation, slo)
}

/// `spec` with the capacity of one replica as its target, where it has an SLO.
fn with_learned_target(
    spec: Cow<'_, AutoscalerSpec>,
    capacity: Option<LearnedCapacity>,
) -> Cow<'_, AutoscalerSpec> {
    let Some(target) = learned_target(&spec, capacity) else { return spec };
    let mut spec = spec.into_owned();
    if let Some(MetricSpec::Pods { average, .. }) = spec.metrics.first_mut() {
        *average = Quantity::from_milli(target.0);
    }
    Cow::Owned(spec)
}

/// The load that each replica should carry, where `spec` has an SLO and the capacity is known.
pub(crate) fn learned_target(spec: &AutoscalerSpec, capacity: Option<LearnedCapacity>) -> Option<Milli> {
    let capacity = capacity.filter(|_| spec.policy.slo().is_some())?;
    Some(Milli(i64::try_from(capacity.rate.0).unwrap_or(i64::MAX).max(1)))
}

/// Whether the service is scaled by a HorizontalPodAutoscaler, so that it is decided exactly as Kubernetes would.
fn is_hpa(declared: &Declared) -> bool {
    declared.autoscaler.is_some() && matches!(declared.spec.scale.count, Count::Fixed(_))
}

fn replica_views(context: PlanContext<'_>, declared: &Declared, places: &[(Ordinal, &Place)]) -> Replicas {
    let is_unstable = |(ordinal, place): &(Ordinal, &Place)| is_unstable(context, (*ordinal, place));
    // If all are unstable, none counts as such: overloaded replicas fail as well, and their load must count.
    let is_any_stable = places.iter().any(|each| each.1.is_ready() && !is_unstable(each));
    let marks_unstable = is_any_stable && !is_hpa(declared);
    let views = places.iter().map(|each| match view(each.1) {
        view if marks_unstable && is_unstable(each) => ReplicaView { phase: Phase::Unstable, ..view },
        view => view,
    });
    let starts = places.iter().filter(|(_, place)| place.health().is_some_and(|health| health.ready));
    let slowest = starts.filter_map(|(_, place)| place.start_time).max();
    views.collect::<Replicas>().with_slowest_start(slowest.unwrap_or_default())
}

/// Whether a replica is unstable: it exits again and again, fails its liveness probe, or the proxy has ejected it.
fn is_unstable(context: PlanContext<'_>, (ordinal, place): (Ordinal, &Place)) -> bool {
    let is_its_crash_loop = |finding: &Finding| matches!(finding, Finding::CrashLoop { ordinal: looping, .. } if *looping == ordinal);
    let is_in_crash_loop = || context.findings.iter().any(is_its_crash_loop);
    match &place.stage {
        Stage::Empty { .. } | Stage::Starting { .. } => is_in_crash_loop(),
        Stage::Running(health) => {
            health.unhealthy_since.is_some()
                || place.is_ejected(context.now.time)
                || (!health.ready && is_in_crash_loop())
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
