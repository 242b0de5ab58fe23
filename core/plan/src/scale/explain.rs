//! The explanation of a verdict: metrics, limits, conditions and a summary for people.
//!
//! Written on demand or after a change, never in the pass itself: with ten thousand services the texts would cost more than the decisions.
//! Types and reasons of conditions are those of Kubernetes, which its users know.

use std::fmt;
use std::sync::Arc;

use model::decision::{Condition, ConditionKind, Decision, Limit, MetricVerdict, Policy};
use model::name::ServiceName;
use model::quantity::Replicas;
use model::resource::{
    AutoscalerSpec, CompositePolicy, FormulaPolicy, MetricSpec, PolicyChange, ScalePolicy,
};
use model::time::{Now, Time};

use super::combine::DecidedBy;
use super::combined_value::NoNumber;
use super::composite;
use super::fallback::ActiveFallback;
use super::formula;
use super::hpa::{Outcome, Verdict};
use super::limit::{Limited, LimitedBy, Rate};
use super::metric_text::{MetricName, combined_arithmetic, describe_proposal, metric_verdict, name_at};
use super::policy_text::{self, compared_to};
use super::proposal::MetricFault;
use super::reading::{SelectorFault, Unavailable};
use super::stabilize::{Direction, Stabilized};

/// Whether the change of a verdict was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RescaleResult {
    /// The change was made; also for verdicts without a change.
    Done,
    /// The change could not be made, and why.
    Failed(Arc<str>),
}

impl Verdict {
    /// The record of this verdict, with texts.
    pub fn decision(&self, service: ServiceName, at: Now, spec: &AutoscalerSpec) -> Decision {
        Decision {
            service,
            at,
            desired: self.desired,
            previous: self.previous,
            policy: policy_of(&spec.policy),
            metrics: self.metric_verdicts(spec),
            tolerance: None,
            limits: self.limits(at.time),
            evidence: Vec::new(),
            conditions: self.conditions(spec, &RescaleResult::Done),
            guard: None,
            summary: self.summary(spec).into(),
            shadows: Vec::new(),
        }
    }

    /// The verdict on each metric.
    pub fn metric_verdicts(&self, spec: &AutoscalerSpec) -> Vec<MetricVerdict> {
        let verdicts = spec.metrics.iter().zip(&self.metrics).enumerate();
        let verdicts = verdicts.map(|(place, (metric, proposal))| {
            let mut verdict = self.as_used_by_policy(spec, place, metric_verdict(metric, proposal));
            if let (Some(fallback), Err(fault)) = (self.fallback(place), proposal) {
                (verdict.proposal, verdict.note) =
                    (Some(fallback.replicas), fallback.instead_of(fault).into());
            }
            verdict
        });
        let mut verdicts: Vec<MetricVerdict> = verdicts.collect();
        if verdicts.is_empty() {
            return verdicts;
        }
        match &spec.policy {
            ScalePolicy::Formula(policy) => {
                formula::describe_operands(policy, spec, &mut verdicts);
                verdicts.push(self.formula_verdict(policy, spec));
            }
            ScalePolicy::Composite(policy) => {
                composite::describe_parts(policy, spec, &mut verdicts);
                verdicts.push(self.composite_verdict(policy, spec));
            }
            ScalePolicy::Hpa
            | ScalePolicy::Unanimous
            | ScalePolicy::Step(_)
            | ScalePolicy::Watermarks(_)
            | ScalePolicy::TargetTracking(_)
            | ScalePolicy::Burst(_)
            | ScalePolicy::Slo(_) => {}
        }
        verdicts
    }

    /// The result of the formula, as one more metric.
    fn formula_verdict(&self, policy: &FormulaPolicy, spec: &AutoscalerSpec) -> MetricVerdict {
        match self.result() {
            Ok((DecidedBy::Formula(computed), number)) => {
                let note = combined_arithmetic(spec, &self.metrics, computed.arithmetic, number);
                formula::verdict(policy, Some((computed, number)), note)
            }
            Err(Some(why)) => formula::verdict(policy, None, why.to_string()),
            Ok(_) | Err(None) => {
                formula::verdict(policy, None, "a metric that it needs is missing".to_owned())
            }
        }
    }

    /// The composite load, as one more metric.
    fn composite_verdict(&self, policy: &CompositePolicy, spec: &AutoscalerSpec) -> MetricVerdict {
        match self.result() {
            Ok((DecidedBy::Composite(composed), number)) => {
                let note = composite::describe(policy, spec, &self.metrics, composed, number);
                composite::verdict(Some((composed, number)), note)
            }
            Err(Some(why)) => composite::verdict(None, why.to_string()),
            Ok(_) | Err(None) => composite::verdict(None, "a metric that has a weight is missing".to_owned()),
        }
    }

    /// What determined the number and the number itself, before a forecast raised it; otherwise why there is none, where that is known.
    fn result(&self) -> Result<(DecidedBy, u32), Option<NoNumber>> {
        match self.outcome {
            Outcome::Scaled { decided_by, raised_from, stabilized, .. } => {
                Ok((decided_by, raised_from.unwrap_or(stabilized.proposal)))
            }
            Outcome::NoResult(why) => Err(Some(why)),
            Outcome::Unreadable
            | Outcome::Off
            | Outcome::AboveMax(_)
            | Outcome::BelowMin(_)
            | Outcome::NoMembers(_)
            | Outcome::Held { .. } => Err(None),
        }
    }

    /// The verdict on a metric, where the policy uses only one: the others have no effect, and that one is not compared to its target.
    fn as_used_by_policy(
        &self,
        spec: &AutoscalerSpec,
        place: usize,
        mut verdict: MetricVerdict,
    ) -> MetricVerdict {
        let Some(only) = spec.policy.only_metric(&spec.metrics) else { return verdict };
        if place != only {
            let note = format!("it has no effect: the policy uses {} only", name_at(spec, only));
            (verdict.ratio, verdict.proposal, verdict.note) = (None, None, note.into());
        } else if let Outcome::Scaled { decided_by, raised_from, stabilized, .. } = self.outcome {
            let number = raised_from.unwrap_or(stabilized.proposal);
            verdict.proposal = Some(number);
            verdict.note = self.derivation(spec, decided_by, number).into();
            if let Some(target) = spec.metrics.get(only).and_then(|metric| compared_to(spec, metric)) {
                (verdict.ratio, verdict.target) = (None, target.into());
            }
        }
        verdict
    }

    /// The number by the metrics and the one by the forecast, where that is more.
    pub(crate) fn raised(&self) -> Option<(u32, u32)> {
        match self.outcome {
            Outcome::Scaled { raised_from, stabilized, .. } => Some((raised_from?, stabilized.proposal)),
            Outcome::Unreadable
            | Outcome::Off
            | Outcome::AboveMax(_)
            | Outcome::BelowMin(_)
            | Outcome::NoMembers(_)
            | Outcome::Held { .. }
            | Outcome::NoResult(_) => None,
        }
    }

    /// The limits that changed the number of the metrics, in order.
    pub fn limits(&self, now: Time) -> Vec<Limit> {
        let clamp =
            |name, note: String| Limit { name, from: self.previous, to: self.desired, note: note.into() };
        match &self.outcome {
            Outcome::Unreadable
            | Outcome::Off
            | Outcome::NoMembers(_)
            | Outcome::Held { .. }
            | Outcome::NoResult(_) => Vec::new(),
            Outcome::AboveMax(bounds) => {
                vec![clamp("TooManyReplicas", at_most(bounds.max))]
            }
            Outcome::BelowMin(bounds) => {
                vec![clamp("TooFewReplicas", at_least(bounds.min))]
            }
            Outcome::Scaled { stabilized, limited, decided_by: _, raised_from: _ } => {
                stabilized.limit(now).into_iter().chain(limited.limit()).collect()
            }
        }
    }

    /// Kubernetes' conditions of a HorizontalPodAutoscaler, without their times.
    ///
    /// [`Self::condition_states`] returns the same without texts.
    pub fn conditions(&self, spec: &AutoscalerSpec, rescale: &RescaleResult) -> Vec<Condition> {
        let mut conditions = vec![self.able_to_scale(rescale)];
        match &self.outcome {
            Outcome::Unreadable | Outcome::AboveMax(_) | Outcome::BelowMin(_) => {}
            Outcome::Off => conditions.push(condition(
                ConditionKind::ScalingActive,
                false,
                "ScalingDisabled",
                "the target was set to zero replicas, which turns autoscaling off until it is set to another number",
            )),
            Outcome::NoMembers(fault) => {
                let reason = fault.reason();
                conditions.push(condition(ConditionKind::ScalingActive, false, reason, fault.to_string()));
            }
            Outcome::Held { invalid, proposal: _ } => conditions.push(self.inactive(spec, *invalid)),
            Outcome::NoResult(why) => {
                let message = formula::no_result(spec, *why);
                conditions.push(condition(ConditionKind::ScalingActive, false, "FormulaUndefined", message));
            }
            Outcome::Scaled { decided_by, limited, stabilized: _, raised_from: _ } => {
                let message = valid_metric_message(spec, *decided_by);
                conditions.push(condition(ConditionKind::ScalingActive, true, "ValidMetricFound", message));
                conditions.push(limited.condition());
            }
        }
        if let Some(fallback) = self.fallbacks.first() {
            let message = format!("{}: {fallback}", name_at(spec, fallback.metric));
            conditions.push(condition(
                ConditionKind::ExternalMetricFallbackActive,
                true,
                "FallbackActive",
                message,
            ));
        }
        if self.was_scaled_to_zero {
            let message = "the autoscaler scaled to zero, and starts a replica when there is load";
            conditions.push(condition(ConditionKind::ScaledToZero, true, "ScaledToZero", message));
        }
        conditions
    }

    fn able_to_scale(&self, rescale: &RescaleResult) -> Condition {
        let (holds, reason, message): (_, _, Arc<str>) = match (&self.outcome, rescale) {
            (Outcome::Unreadable, _) => (false, "FailedGetScale", "the target could not be read".into()),
            (_, RescaleResult::Failed(why)) if self.is_rescale() => {
                let message = format!("setting {} failed: {why}", Replicas(self.desired));
                (false, "FailedUpdateScale", message.into())
            }
            (_, RescaleResult::Done) if self.is_rescale() => (
                true,
                "SucceededRescale",
                format!("the number of replicas was set to {}", self.desired).into(),
            ),
            (Outcome::Scaled { stabilized, .. }, _) => match stabilized.held {
                None => (true, "ReadyForNewScale", "the number of replicas is as recommended".into()),
                Some(held) => (true, held.direction.stabilized(), stabilized.note().into()),
            },
            (
                Outcome::Off
                | Outcome::AboveMax(_)
                | Outcome::BelowMin(_)
                | Outcome::NoMembers(_)
                | Outcome::Held { .. }
                | Outcome::NoResult(_),
                _,
            ) => (true, "SucceededGetScale", TARGET_READ.into()),
        };
        condition(ConditionKind::AbleToScale, holds, reason, message)
    }

    fn inactive(&self, spec: &AutoscalerSpec, invalid: usize) -> Condition {
        let fault = self.metrics.get(invalid).and_then(|metric| metric.as_ref().err());
        let (Some(metric), Some(fault)) = (spec.metrics.get(invalid), fault) else {
            return condition(
                ConditionKind::ScalingActive,
                false,
                "InvalidMetricSourceType",
                "there is no metric",
            );
        };
        let message = format!("{}: {fault}", MetricName(metric));
        condition(ConditionKind::ScalingActive, false, failure_reason(metric, fault), message)
    }

    /// The verdict in one sentence.
    pub fn summary(&self, spec: &AutoscalerSpec) -> String {
        let Self { previous, desired, .. } = self;
        match &self.outcome {
            Outcome::Unreadable => format!("stays at {desired}: the target could not be read"),
            Outcome::Off => "stays at 0: it was set to zero, which turns autoscaling off".to_owned(),
            Outcome::AboveMax(bounds) => {
                format!("from {previous} to {desired}: {}", at_most(bounds.max))
            }
            Outcome::BelowMin(bounds) => {
                format!("from {previous} to {desired}: {}", at_least(bounds.min))
            }
            Outcome::NoMembers(fault) => format!("stays at {desired}: {fault}"),
            Outcome::Held { invalid, proposal } => self.held_summary(spec, *invalid, *proposal),
            Outcome::NoResult(why) => format!("stays at {desired}: {}", formula::no_result(spec, *why)),
            Outcome::Scaled { decided_by, raised_from, stabilized, limited } => {
                let derivation =
                    self.derivation(spec, *decided_by, raised_from.unwrap_or(stabilized.proposal));
                let raised = raised_from.map(|from| {
                    format!("raised from {from} to {} for the forecast load", stabilized.proposal)
                });
                let head = if previous == desired {
                    format!("stays at {desired}: {derivation}")
                } else {
                    format!("from {previous} to {desired}: {derivation}")
                };
                let held = stabilized.held.map(|_| stabilized.note());
                let limits = raised.into_iter().chain(held).chain(limited.note());
                limits.fold(head, |sentence, limit| sentence + "; " + &limit)
            }
        }
    }

    /// How the `number` was determined, with its arithmetic.
    fn derivation(&self, spec: &AutoscalerSpec, decided_by: DecidedBy, number: u32) -> String {
        let proposal = |index: usize| self.describe_proposal(spec, index);
        let chosen = || decided_by.metric().map(proposal).unwrap_or_default();
        if let Some(text) = policy_text::describe(spec, decided_by, self.previous, chosen) {
            return text;
        }
        match decided_by {
            DecidedBy::Largest { metric } | DecidedBy::Agreed { metric } => proposal(metric),
            DecidedBy::Step(_)
            | DecidedBy::Watermarks(_)
            | DecidedBy::Tracking(_)
            | DecidedBy::Burst(_)
            | DecidedBy::Slo(_) => chosen(),
            DecidedBy::Formula(computed) => {
                formula::describe(spec, &self.metrics, computed, (self.previous, number))
            }
            DecidedBy::Composite(composed) => match &spec.policy {
                ScalePolicy::Composite(policy) => {
                    composite::describe(policy, spec, &self.metrics, composed, number)
                }
                ScalePolicy::Hpa
                | ScalePolicy::Unanimous
                | ScalePolicy::Step(_)
                | ScalePolicy::Watermarks(_)
                | ScalePolicy::TargetTracking(_)
                | ScalePolicy::Burst(_)
                | ScalePolicy::Slo(_)
                | ScalePolicy::Formula(_) => String::new(),
            },
            DecidedBy::Divided { metric, against } => {
                format!(
                    "its metrics do not agree on a change: {}, while {}",
                    proposal(metric),
                    proposal(against)
                )
            }
        }
    }

    /// The proposal of the metric at this place, with its arithmetic; empty for one that is not valid.
    fn describe_proposal(&self, spec: &AutoscalerSpec, place: usize) -> String {
        match (spec.metrics.get(place), self.metrics.get(place), self.fallback(place)) {
            (Some(metric), Some(Ok(proposal)), _) => describe_proposal(metric, proposal),
            (Some(metric), Some(Err(fault)), Some(fallback)) => {
                format!("{} gives no number, because {}", MetricName(metric), fallback.instead_of(fault))
            }
            (Some(_) | None, _, _) => String::new(),
        }
    }

    /// The active fallback of the metric at this place.
    fn fallback(&self, place: usize) -> Option<&ActiveFallback> {
        self.fallbacks.iter().find(|fallback| fallback.metric == place)
    }

    fn held_summary(&self, spec: &AutoscalerSpec, invalid: usize, proposal: Option<u32>) -> String {
        let name = name_at(spec, invalid);
        let why = match self.metrics.get(invalid) {
            Some(Err(fault)) => fault.to_string(),
            Some(Ok(_)) | None => "there is no metric".to_owned(),
        };
        let stays = format!("stays at {}: {name} gives no number, because {why}", self.desired);
        match proposal {
            None => stays,
            Some(proposal) => format!(
                "{stays}; the other metrics ask for {proposal}, but a service never scales in on partial data"
            ),
        }
    }
}

impl Stabilized {
    fn limit(&self, now: Time) -> Option<Limit> {
        let held = self.held?;
        let age =
            held.by.map(|slot| format!(", last {} s ago", now.since(slot.at).as_secs())).unwrap_or_default();
        Some(Limit {
            name: held.direction.stabilized(),
            from: self.proposal,
            to: self.replicas,
            note: (self.note() + &age).into(),
        })
    }

    /// Without the age of the recommendation, so that it stays the same while the cause does.
    fn note(&self) -> String {
        let Some(held) = self.held else { return String::new() };
        let window = held.window.as_secs();
        match (held.direction, held.by) {
            (Direction::In, Some(_)) => {
                format!("up to {} recommended within the last {window} s", replicas_were(self.replicas))
            }
            (Direction::Out, Some(_)) => {
                format!("as few as {} recommended within the last {window} s", replicas_were(self.replicas))
            }
            (Direction::In | Direction::Out, None) => {
                format!(
                    "the recommendations of the last {window} s do not agree on a change from {}",
                    self.replicas
                )
            }
        }
    }
}

impl Limited {
    fn limit(&self) -> Option<Limit> {
        let limit = self.by?;
        Some(Limit { name: limit.reason(), from: self.from, to: self.replicas, note: self.note()?.into() })
    }

    fn note(&self) -> Option<String> {
        let to = self.replicas;
        Some(match self.by? {
            LimitedBy::Min => at_least(to),
            LimitedBy::Max => at_most(to),
            LimitedBy::Growth(growth) => {
                format!(
                    "it may grow to at most {to} at once: {} times the number, or {}",
                    growth.factor, growth.at_least
                )
            }
            LimitedBy::Rate(rate) => rate.to_string(),
        })
    }

    fn condition(&self) -> Condition {
        match (self.by, self.note()) {
            (Some(limit), Some(note)) => {
                let message = format!("{} recommended, but {note}", Replicas(self.from).are());
                condition(ConditionKind::ScalingLimited, true, limit.reason(), message)
            }
            (None, _) | (_, None) => {
                let message = "the recommended number is within the bounds and rates";
                condition(ConditionKind::ScalingLimited, false, "DesiredWithinRange", message)
            }
        }
    }
}

impl SelectorFault {
    fn reason(self) -> &'static str {
        match self {
            Self::Missing | Self::Unreadable => "InvalidSelector",
            Self::Shared => "AmbiguousSelector",
        }
    }
}

impl LimitedBy {
    /// Kubernetes' reason for `ScalingLimited`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Min => "TooFewReplicas",
            Self::Max => "TooManyReplicas",
            Self::Growth(_) | Self::Rate(Rate { direction: Direction::Out, .. }) => "ScaleUpLimit",
            Self::Rate(Rate { direction: Direction::In, .. }) => "ScaleDownLimit",
        }
    }
}

impl Direction {
    fn stabilized(self) -> &'static str {
        match self {
            Self::Out => "ScaleUpStabilized",
            Self::In => "ScaleDownStabilized",
        }
    }
}

/// Such as `4 replicas may be added in 15 s, starting from 6: at most 10`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, end) = match self.direction {
            Direction::Out => ("added", "at most"),
            Direction::In => ("removed", "at least"),
        };
        let Some(applied) = self.policy else {
            return write!(f, "its behavior lets no replica be {verb}");
        };
        match applied.policy.change {
            PolicyChange::Pods(pods) => write!(f, "{}", Replicas(pods))?,
            PolicyChange::Percent(percent) => write!(f, "{} % of the replicas", percent.0)?,
        }
        let secs = applied.policy.period.as_secs();
        write!(f, " may be {verb} in {secs} s, starting from {}: {end} {}", applied.base, self.limit)
    }
}

fn at_most(replicas: u32) -> String {
    format!("the maximum is {replicas}")
}

fn at_least(replicas: u32) -> String {
    format!("the minimum is {replicas}")
}

fn replicas_were(replicas: u32) -> String {
    format!("{} {}", Replicas(replicas), if replicas == 1 { "was" } else { "were" })
}

fn policy_of(policy: &ScalePolicy) -> Policy {
    match policy {
        ScalePolicy::Hpa => Policy::Hpa,
        ScalePolicy::Unanimous => Policy::Unanimous,
        ScalePolicy::Step(_) => Policy::Step,
        ScalePolicy::Watermarks(_) => Policy::Watermarks,
        ScalePolicy::TargetTracking(_) => Policy::TargetTracking,
        ScalePolicy::Burst(_) => Policy::Burst,
        ScalePolicy::Formula(_) => Policy::Formula,
        ScalePolicy::Composite(_) => Policy::Composite,
        ScalePolicy::Slo(_) => Policy::Slo,
    }
}

/// The message of the condition `ScalingActive`: what determined the number.
fn valid_metric_message(spec: &AutoscalerSpec, decided_by: DecidedBy) -> String {
    let is_mean = matches!(decided_by, DecidedBy::Composite(_));
    let together = || if is_mean { "the composite load".to_owned() } else { "the formula".to_owned() };
    let name = decided_by.metric().map_or_else(together, |metric| name_at(spec, metric));
    match decided_by {
        DecidedBy::Largest { .. }
        | DecidedBy::Step(_)
        | DecidedBy::Watermarks(_)
        | DecidedBy::Tracking(_)
        | DecidedBy::Burst(_)
        | DecidedBy::Formula(_)
        | DecidedBy::Composite(_)
        | DecidedBy::Slo(_) => format!("{name} determined the number"),
        DecidedBy::Agreed { .. } => format!("all metrics agree, and {name} asks for the least change"),
        DecidedBy::Divided { against, .. } => {
            format!("{name} asks for a change, but {} does not", name_at(spec, against))
        }
    }
}

/// The message of `AbleToScale` for a target that is not changed.
pub(super) const TARGET_READ: &str = "the target was read";

pub(super) fn condition(
    kind: ConditionKind,
    holds: bool,
    reason: &'static str,
    message: impl Into<Arc<str>>,
) -> Condition {
    Condition { kind, holds, reason, message: message.into(), since: None }
}

/// Kubernetes' reason for `ScalingActive=False` when `metric` has `fault`.
fn failure_reason(metric: &MetricSpec, fault: &MetricFault) -> &'static str {
    if matches!(fault, MetricFault::Unavailable(Unavailable::NoSource) | MetricFault::Shape) {
        return "InvalidMetricSourceType";
    }
    match metric {
        MetricSpec::Resource { .. } => "FailedGetResourceMetric",
        MetricSpec::ContainerResource { .. } => "FailedGetContainerResourceMetric",
        MetricSpec::Pods { .. } => "FailedGetPodsMetric",
        MetricSpec::Object { .. } => "FailedGetObjectMetric",
        MetricSpec::External { .. } => "FailedGetExternalMetric",
    }
}
