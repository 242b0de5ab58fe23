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

use super::classify::Warmup;
use super::combine::{Combined, DecidedBy, combine};
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

/// The result of one pass, with every number on the way. Texts are made on demand: see [`Verdict::decision`].
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Replicas wanted until now.
    pub previous: u32,
    /// Replicas wanted from now on.
    pub desired: u32,
    /// What each metric proposes, in the order of the declaration; empty when none was asked.
    pub metrics: Vec<Result<Proposal, MetricFault>>,
    /// Those of them for which a fallback stands in.
    pub fallbacks: Vec<ActiveFallback>,
    /// How `desired` came about.
    pub outcome: Outcome,
    /// The autoscaler itself had taken the last replica away before this pass.
    pub was_scaled_to_zero: bool,
}

/// How the number of a [`Verdict`] came about.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each decision, most of those are large, and it is copied where it is kept"
)]
pub enum Outcome {
    /// The target could not be read; nothing was looked at.
    Unreadable,
    /// Somebody set the target to zero replicas, which turns autoscaling off.
    Off,
    /// There were more replicas than the bounds allow: down to the most at once, without asking a metric.
    AboveMax(Bounds),
    /// There were fewer replicas than the bounds allow: up to the fewest at once, without asking a metric.
    BelowMin(Bounds),
    /// Its replicas are not known, so no metric was asked.
    NoMembers(SelectorFault),
    /// The metrics gave no number to act on.
    Held {
        /// The first metric that is not valid, by its place in the declaration.
        invalid: usize,
        /// What the valid ones ask for: fewer replicas, which partial data cannot justify.
        asked: Option<u32>,
    },
    /// The metrics were combined, and the result is no number.
    Unanswered(NoNumber),
    /// The metrics decided, then stabilisation, then bounds and rates.
    Scaled {
        /// What determined the number.
        decided_by: DecidedBy,
        /// The number that it gave, where the forecast asks for more; `None` where it does not.
        raised_from: Option<u32>,
        /// The proposal, before and after stabilisation.
        stabilized: Stabilized,
        /// That number, before and after bounds and rates.
        limited: Limited,
    },
}

impl Verdict {
    /// Whether the number of replicas is to change.
    pub fn is_rescale(&self) -> bool {
        self.desired != self.previous
    }

    /// Whether what was measured is above its target by more than `tolerance`: the value of a formula or a mean, or else any metric.
    pub fn is_over(&self, tolerance: f64) -> bool {
        let is_above = |ratio: f64| ratio > 1.0 + tolerance;
        match self.outcome {
            Outcome::Scaled { decided_by: DecidedBy::Formula(computed), .. } => {
                computed.arithmetic.ratio().is_some_and(is_above)
            }
            Outcome::Scaled { decided_by: DecidedBy::Composite(composed), .. } => is_above(composed.load),
            Outcome::Scaled { .. }
            | Outcome::Held { .. }
            | Outcome::Unanswered(_)
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
            Outcome::Held { .. } | Outcome::Unanswered(_) | Outcome::NoMembers(_) | Outcome::Unreadable => {
                true
            }
            Outcome::Scaled { .. } | Outcome::Off | Outcome::AboveMax(_) | Outcome::BelowMin(_) => false,
        }
    }

    /// A pass over a target that could not be read: it keeps what it has.
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

/// Decides how many replicas the target of `spec` shall have.
///
/// `readings` are in the order of `spec.metrics`; one that is not there is absent. Of `memory` the log of recommendations changes, and
/// what is noted of metrics: whoever carries a rescale out says so with [`confirm`]. Repeating a pass with the same inputs gives the
/// same verdict.
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

/// The same, where no number below the floor of `ahead` is recommended, whatever the metrics ask for. Stabilisation, bounds and rates come after it, and while
/// the metrics give no number there is none to raise.
pub fn reconcile_above(
    ahead: ForecastFloor,
    now: Time,
    (spec, view): (&AutoscalerSpec, &ScaleView<'_>),
    readings: &[MetricReading<'_>],
    memory: &mut ScalingMemory,
    settings: &HpaSettings,
) -> Verdict {
    let current = view.spec_replicas;
    let bounds = spec.bounds();
    if memory.recommendations.is_empty() {
        // Without a past, the present counts as recommended: nothing is taken away before a window has passed.
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
                let pass = Pass { ahead, now, spec, view, replicas, settings };
                pass.run(readings, memory)
            }
        }
    };
    Verdict { was_scaled_to_zero, ..verdict }
}

/// Writes down that the rescale of `verdict` was made: see [`record`]. Without effect when the verdict is no rescale.
pub fn confirm(now: Time, spec: &AutoscalerSpec, verdict: &Verdict, memory: &mut ScalingMemory) {
    record(now, spec, verdict.previous, verdict.desired, memory);
}

/// Writes down that the number of replicas was changed, whatever the verdict was: rate policies count it, and zero replicas by the
/// autoscaler itself are distinguished from zero replicas that somebody asked for. Without effect when nothing changed.
pub fn record(now: Time, spec: &AutoscalerSpec, previous: u32, desired: u32, memory: &mut ScalingMemory) {
    if previous != desired {
        record_change(memory, now, previous, desired, spec.behavior.as_ref());
        memory.scaled_to_zero = desired == 0;
        match &spec.policy {
            ScalePolicy::Step(_) => step::note_change(&mut memory.policy, now, previous, desired),
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

/// The tolerances of `spec`: those of its behavior, else the loop's.
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
    ahead: ForecastFloor,
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
        let fallbacks = fallback::note(self.now, &self.spec.metrics, &metrics, &mut memory.failing);
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
            ahead: self.ahead,
        };
        let (proposal, decided_by) = match combine(&input, &mut memory.policy) {
            Combined::Held { invalid, asked } => {
                let outcome = Outcome::Held { invalid, asked };
                return Verdict { metrics, fallbacks, ..Verdict::kept(current, outcome) };
            }
            Combined::Unanswered(why) => {
                return Verdict { metrics, fallbacks, ..Verdict::kept(current, Outcome::Unanswered(why)) };
            }
            Combined::Chosen { replicas, decided_by } => (replicas, decided_by),
        };
        let floor = self.ahead.floor;
        let raised_from = (proposal < floor).then_some(proposal);
        let (stabilized, limited) = self.normalize(proposal.max(floor), self.window(&decided_by), memory);
        let outcome = Outcome::Scaled { decided_by, raised_from, stabilized, limited };
        Verdict { desired: limited.replicas, metrics, fallbacks, ..Verdict::kept(current, outcome) }
    }

    /// How long a recommendation is held where nothing is declared: with a proven forecast for an SLO, until the load that was forecast has come.
    fn window(&self, decided_by: &DecidedBy) -> Duration {
        let usual = self.settings.downscale_stabilization;
        let proven = self.ahead.proven.filter(|_| matches!(decided_by, DecidedBy::Slo(_)));
        proven.map_or(usual, |ahead| ahead.min(usual))
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
                let there = (self.view.status_replicas, &**self.replicas);
                Ok(totals::for_average(total, milli(value), there, tolerance))
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

    /// When replicas count, as the policy has it.
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
