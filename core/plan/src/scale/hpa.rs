//! One pass of the horizontal pod autoscaler: metrics, combination, stabilisation, limits.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `reconcileAutoscaler`; scale to zero as in KEP-2021.

use std::time::Duration;

use model::memory::ScalingMemory;
use model::resource::{
    AutoscalerSpec, Bounds, MeteredResource, MetricSpec, Quantity, ResourceTarget, ScalePolicy, ScalingRules,
    TotalTarget,
};
use model::settings::HpaSettings;
use model::time::Time;

use super::choice::{Choice, NoChoice};
use super::classify::Warmup;
use super::combine::{DecidedBy, combine};
use super::combined_value::NoNumber;
use super::fallback::{self, ActiveFallback};
use super::limit::{self, GROWTH, Limited};
use super::log::{record_change, record_recommendation};
use super::policy_input::{ForecastFloor, PolicyInput};
use super::proposal::{MetricFault, Proposal};
use super::ratio::{MetricTarget, Tolerance};
use super::reading::{Members, MetricReading, Milli, Replicas, ScaleView, SelectorFault, Unavailable};
use super::replicas::PerReplica;
use super::stabilize::{self, Stabilized};
use super::step;
use super::totals;

/// The result of one pass, with every intermediate number. Texts are written on demand: see [`Verdict::decision`].
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Replicas wanted until now.
    pub previous: u32,
    /// Replicas wanted from now on.
    pub desired: u32,
    /// The proposal of each metric, in the order of the declaration; empty when none was used.
    pub metrics: Vec<Result<Proposal, MetricFault>>,
    /// The fallbacks that were used.
    pub fallbacks: Vec<ActiveFallback>,
    /// How `desired` came about.
    pub outcome: Outcome,
    /// The autoscaler itself had scaled to zero before this pass.
    pub was_scaled_to_zero: bool,
}

/// How the number of a [`Verdict`] came about.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each decision, most of those are large, and it is copied where it is kept"
)]
pub enum Outcome {
    /// The target could not be read, so nothing was evaluated.
    Unreadable,
    /// The target was set to zero replicas by someone else, which turns autoscaling off.
    Off,
    /// There were more replicas than the maximum: scaled in to it at once, without using a metric.
    AboveMax(Bounds),
    /// There were fewer replicas than the minimum: scaled out to it at once, without using a metric.
    BelowMin(Bounds),
    /// The replicas of the target are not known, so no metric was used.
    NoMembers(SelectorFault),
    /// The metrics gave no number to act on.
    Held {
        /// The first metric that is not valid, by its place in the declaration.
        invalid: usize,
        /// The combined proposal of the valid ones: fewer replicas, which partial data cannot justify.
        proposal: Option<u32>,
    },
    /// The metrics were combined, and the combination has no result.
    NoResult(NoNumber),
    /// The metrics decided, then stabilisation, then bounds and rates.
    Scaled {
        /// What determined the number.
        decided_by: DecidedBy,
        /// The number before a forecast raised it; `None` where none did.
        raised_from: Option<u32>,
        /// The proposal, before and after stabilisation.
        stabilized: Stabilized,
        /// The stabilised number, before and after bounds and rates.
        limited: Limited,
    },
}

impl Verdict {
    /// Whether the number of replicas is to change.
    pub fn is_rescale(&self) -> bool {
        self.desired != self.previous
    }

    /// Whether the load is above its target by more than `tolerance`: the value of a formula or a mean, or else any metric.
    pub fn is_over(&self, tolerance: f64) -> bool {
        let is_above = |ratio: f64| ratio > 1.0 + tolerance;
        match self.outcome {
            Outcome::Scaled { decided_by: DecidedBy::Formula(computed), .. } => {
                computed.arithmetic.ratio().is_some_and(is_above)
            }
            Outcome::Scaled { decided_by: DecidedBy::Composite(composed), .. } => is_above(composed.load),
            Outcome::Scaled { .. }
            | Outcome::Held { .. }
            | Outcome::NoResult(_)
            | Outcome::Unreadable
            | Outcome::Off
            | Outcome::AboveMax(_)
            | Outcome::BelowMin(_)
            | Outcome::NoMembers(_) => {
                self.metrics.iter().flatten().any(|proposal| is_above(proposal.level.ratio))
            }
        }
    }

    /// Whether the metrics gave no number to act on.
    pub fn is_without_number(&self) -> bool {
        match self.outcome {
            Outcome::Held { .. } | Outcome::NoResult(_) | Outcome::NoMembers(_) | Outcome::Unreadable => true,
            Outcome::Scaled { .. } | Outcome::Off | Outcome::AboveMax(_) | Outcome::BelowMin(_) => false,
        }
    }

    /// A pass over a target that could not be read, and keeps its number.
    pub fn unreadable(previous: u32) -> Self {
        Self::kept(previous, Outcome::Unreadable)
    }

    fn kept(previous: u32, outcome: Outcome) -> Self {
        Self {
            previous,
            desired: previous,
            metrics: Vec::new(),
            fallbacks: Vec::new(),
            outcome,
            was_scaled_to_zero: false,
        }
    }
}

/// Decides how many replicas the target of `spec` should have.
///
/// `readings` are in the order of `spec.metrics`; a missing one counts as absent. Changes in `memory` the log of recommendations and the records of
/// metrics; after a rescale was carried out, the caller must [`confirm`] it. Repeating a pass with the same inputs gives the same verdict.
pub fn reconcile(
    now: Time,
    spec: &AutoscalerSpec,
    view: &ScaleView<'_>,
    readings: &[MetricReading<'_>],
    memory: &mut ScalingMemory,
    settings: &HpaSettings,
) -> Verdict {
    reconcile_above(ForecastFloor::default(), now, (spec, view), readings, memory, settings)
}

/// Decides like [`reconcile`], but recommends at least the floor of `forecast`.
///
/// Stabilisation, bounds and rates apply after it. Without a number by the metrics, the floor has no effect.
pub fn reconcile_above(
    forecast: ForecastFloor,
    now: Time,
    (spec, view): (&AutoscalerSpec, &ScaleView<'_>),
    readings: &[MetricReading<'_>],
    memory: &mut ScalingMemory,
    settings: &HpaSettings,
) -> Verdict {
    let current = view.spec_replicas;
    let bounds = spec.bounds();
    if memory.recommendations.is_empty() {
        // With an empty log, the current number counts as recommended, so that no replica is removed before a window has passed.
        record_recommendation(&mut memory.recommendations, now, current, settings.downscale_stabilization);
    }
    let was_scaled_to_zero = current == 0 && memory.scaled_to_zero;
    let verdict = if current == 0 && bounds.min != 0 && !was_scaled_to_zero {
        Verdict::kept(current, Outcome::Off)
    } else if current > bounds.max {
        Verdict { desired: bounds.max, ..Verdict::kept(current, Outcome::AboveMax(bounds)) }
    } else if current < bounds.min {
        Verdict { desired: bounds.min, ..Verdict::kept(current, Outcome::BelowMin(bounds)) }
    } else {
        match view.members {
            Members::Unknown(fault) => Verdict::kept(current, Outcome::NoMembers(fault)),
            Members::Known(replicas) => {
                let pass = Pass { forecast, now, spec, view, replicas, settings };
                pass.run(readings, memory)
            }
        }
    };
    Verdict { was_scaled_to_zero, ..verdict }
}

/// Records that the rescale of `verdict` was carried out: see [`record`]. Without effect when the verdict is not a rescale.
pub fn confirm(now: Time, spec: &AutoscalerSpec, verdict: &Verdict, memory: &mut ScalingMemory) {
    record(now, spec, verdict.previous, verdict.desired, memory);
}

/// Records a change of the number of replicas, whatever the verdict was: rate policies count it, and scaling to zero by the autoscaler itself is
/// distinguished from zero replicas that someone else set. Without effect when nothing changed.
pub fn record(now: Time, spec: &AutoscalerSpec, previous: u32, desired: u32, memory: &mut ScalingMemory) {
    if previous != desired {
        record_change(memory, now, previous, desired, spec.behavior.as_ref());
        memory.scaled_to_zero = desired == 0;
        match &spec.policy {
            ScalePolicy::Step(_) => step::record_change(&mut memory.policy, now, previous, desired),
            ScalePolicy::Hpa
            | ScalePolicy::Unanimous
            | ScalePolicy::Watermarks(_)
            | ScalePolicy::TargetTracking(_)
            | ScalePolicy::Burst(_)
            | ScalePolicy::Formula(_)
            | ScalePolicy::Composite(_)
            | ScalePolicy::Slo(_) => {}
        }
    }
}

/// The tolerances of `spec`: those of its behavior, otherwise those of the settings.
pub fn tolerance_of(spec: &AutoscalerSpec, settings: &HpaSettings) -> Tolerance {
    let of = |rules: Option<&ScalingRules>| {
        rules
            .and_then(|rules| rules.tolerance)
            .map_or(settings.tolerance, |part| part.milli() as f64 / 1000.0)
    };
    let behavior = spec.behavior.as_ref();
    Tolerance {
        up: of(behavior.map(|behavior| &behavior.scale_up)),
        down: of(behavior.map(|behavior| &behavior.scale_down)),
    }
}

struct Pass<'a> {
    forecast: ForecastFloor,
    now: Time,
    spec: &'a AutoscalerSpec,
    view: &'a ScaleView<'a>,
    replicas: &'a Replicas,
    settings: &'a HpaSettings,
}

impl Pass<'_> {
    fn run(&self, readings: &[MetricReading<'_>], memory: &mut ScalingMemory) -> Verdict {
        let current = self.view.spec_replicas;
        let absent = MetricReading::Unavailable(Unavailable::Absent);
        let reading_of = |index: usize| readings.get(index).unwrap_or(&absent);
        let metrics: Vec<_> = self
            .spec
            .metrics
            .iter()
            .enumerate()
            .map(|(index, metric)| self.propose(metric, reading_of(index)))
            .collect();
        let fallbacks =
            fallback::active_fallbacks(self.now, &self.spec.metrics, &metrics, &mut memory.failing);
        let input = PolicyInput {
            now: self.now,
            spec: self.spec,
            metrics: &metrics,
            fallbacks: &fallbacks,
            current,
            existing: self.view.status_replicas,
            replicas: self.replicas,
            warmup: self.view.warmup,
            learned_target: self.view.learned_target,
            tolerance: tolerance_of(self.spec, self.settings),
            forecast: self.forecast,
        };
        let Choice { replicas: proposal, decided_by } = match combine(&input, &mut memory.policy) {
            Ok(choice) => choice,
            Err(NoChoice::Held { invalid, proposal }) => {
                let outcome = Outcome::Held { invalid, proposal };
                return Verdict { metrics, fallbacks, ..Verdict::kept(current, outcome) };
            }
            Err(NoChoice::NoResult(why)) => {
                return Verdict { metrics, fallbacks, ..Verdict::kept(current, Outcome::NoResult(why)) };
            }
        };
        let floor = self.forecast.floor;
        let raised_from = (proposal < floor).then_some(proposal);
        let (stabilized, limited) =
            self.normalize(proposal.max(floor), self.stabilization_window(&decided_by), memory);
        let outcome = Outcome::Scaled { decided_by, raised_from, stabilized, limited };
        Verdict { desired: limited.replicas, metrics, fallbacks, ..Verdict::kept(current, outcome) }
    }

    /// The window for scaling in without a behavior: with a proven forecast for an SLO, only until the forecast load has arrived.
    fn stabilization_window(&self, decided_by: &DecidedBy) -> Duration {
        let usual = self.settings.downscale_stabilization;
        let proven = self.forecast.proven.filter(|_| matches!(decided_by, DecidedBy::Slo(_)));
        proven.map_or(usual, |horizon| horizon.min(usual))
    }

    fn normalize(
        &self,
        proposal: u32,
        window: Duration,
        memory: &mut ScalingMemory,
    ) -> (Stabilized, Limited) {
        let (now, current, bounds) = (self.now, self.view.spec_replicas, self.spec.bounds());
        match &self.spec.behavior {
            None => {
                let stabilized =
                    stabilize::without_behavior(&mut memory.recommendations, now, proposal, window);
                (stabilized, limit::without_behavior(current, stabilized.replicas, bounds, GROWTH))
            }
            Some(behavior) => {
                let log = &mut memory.recommendations;
                let stabilized = stabilize::with_behavior(log, now, current, proposal, behavior);
                let wanted = stabilized.replicas;
                (stabilized, limit::with_behavior(memory, now, current, wanted, bounds, behavior))
            }
        }
    }

    fn propose(&self, metric: &MetricSpec, reading: &MetricReading<'_>) -> Result<Proposal, MetricFault> {
        match metric {
            MetricSpec::Resource { resource, target }
            | MetricSpec::ContainerResource { resource, target, container: _ } => {
                let target = match target {
                    ResourceTarget::Utilization(percent) => MetricTarget::Utilization(i64::from(percent.0)),
                    ResourceTarget::Average(average) => MetricTarget::Average(milli(*average)),
                };
                self.propose_each(target, self.warmup_of(*resource), reading)
            }
            MetricSpec::Pods { average, metric: _ } => {
                let target = MetricTarget::Average(self.view.learned_target.unwrap_or(milli(*average)));
                self.propose_each(target, self.warmup(), reading)
            }
            MetricSpec::Object { target, object: _, metric: _ }
            | MetricSpec::External { target, metric: _, fallback: _ } => self.propose_total(*target, reading),
        }
    }

    fn propose_each(
        &self,
        target: MetricTarget,
        warmup: Warmup,
        reading: &MetricReading<'_>,
    ) -> Result<Proposal, MetricFault> {
        let is_above_zero = match target {
            MetricTarget::Utilization(percent) => percent > 0,
            MetricTarget::Average(target) => target > Milli(0),
        };
        match reading {
            MetricReading::Unavailable(why) => Err(MetricFault::Unavailable(why.clone())),
            MetricReading::Series(_) => Err(MetricFault::Shape),
            MetricReading::Each(_) if !is_above_zero => Err(MetricFault::Target),
            MetricReading::Each(samples) => {
                let tolerance = tolerance_of(self.spec, self.settings);
                let current = self.view.spec_replicas;
                PerReplica { target, warmup, tolerance, current }.propose(self.replicas, samples)
            }
        }
    }

    fn propose_total(
        &self,
        target: TotalTarget,
        reading: &MetricReading<'_>,
    ) -> Result<Proposal, MetricFault> {
        let series = match reading {
            MetricReading::Unavailable(why) => return Err(MetricFault::Unavailable(why.clone())),
            MetricReading::Each(_) => return Err(MetricFault::Shape),
            MetricReading::Series([]) => return Err(MetricFault::Unavailable(Unavailable::Absent)),
            MetricReading::Series(series) => series,
        };
        let total = totals::total(series);
        let tolerance = tolerance_of(self.spec, self.settings);
        match target {
            TotalTarget::Value(value) | TotalTarget::Average(value) if value <= Quantity::ZERO => {
                Err(MetricFault::Target)
            }
            TotalTarget::Value(value) => {
                let replicas = (&**self.replicas, self.warmup());
                totals::for_value(total, milli(value), self.view.spec_replicas, replicas, tolerance)
            }
            TotalTarget::Average(value) => {
                let existing = (self.view.status_replicas, &**self.replicas);
                Ok(totals::for_average(total, milli(value), existing, tolerance))
            }
        }
    }

    fn warmup_of(&self, resource: MeteredResource) -> Warmup {
        match (self.warmup(), resource) {
            (Warmup::None, MeteredResource::Cpu) => Warmup::Cpu {
                now: self.now,
                initialization_period: self.settings.cpu_initialization_period,
                initial_readiness_delay: self.settings.initial_readiness_delay,
                settling: self.view.warmup.unwrap_or_default(),
            },
            (warmup, MeteredResource::Cpu | MeteredResource::Memory) => warmup,
        }
    }

    /// From when on samples count, by the policy.
    fn warmup(&self) -> Warmup {
        match &self.spec.policy {
            ScalePolicy::TargetTracking(tracking) => {
                Warmup::Serving { now: self.now, warmup: tracking.warmup(self.view.warmup) }
            }
            ScalePolicy::Hpa
            | ScalePolicy::Unanimous
            | ScalePolicy::Step(_)
            | ScalePolicy::Watermarks(_)
            | ScalePolicy::Burst(_)
            | ScalePolicy::Formula(_)
            | ScalePolicy::Composite(_)
            | ScalePolicy::Slo(_) => Warmup::None,
        }
    }
}

fn milli(quantity: Quantity) -> Milli {
    Milli(quantity.milli())
}
