//! The words for a verdict: metrics, limits, conditions and a summary for people.
//!
//! Made when somebody asks or something changed, never in the pass itself: at ten thousand services the texts would cost
//! more than the decisions. Types and reasons of conditions are Kubernetes' own, so that its users find what they know.

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
use super::metric_words::{MetricName, asks, combined_arithmetic, metric_verdict, name_at};
use super::policy_words::{self, compared_to};
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
    /// The record of this verdict, in words.
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
        let verdicts = verdicts.map(|(place, (metric, said))| {
            let mut verdict = self.looked_at(spec, place, metric_verdict(metric, said));
            if let (Some(fallback), Err(fault)) = (self.fallback(place), said) {
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
                formula::put_together(policy, spec, &mut verdicts);
                verdicts.push(self.formula_verdict(policy, spec));
            }
            ScalePolicy::Composite(policy) => {
                composite::put_together(policy, spec, &mut verdicts);
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

    /// The result of the formula, as if it were one more metric.
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

    /// The load, as if it were one more metric.
    fn composite_verdict(&self, policy: &CompositePolicy, spec: &AutoscalerSpec) -> MetricVerdict {
        match self.result() {
            Ok((DecidedBy::Composite(composed), number)) => {
                let note = composite::in_words(policy, spec, &self.metrics, composed, number);
                composite::verdict(Some((composed, number)), note)
            }
            Err(Some(why)) => composite::verdict(None, why.to_string()),
            Ok(_) | Err(None) => composite::verdict(None, "a metric that has a weight is missing".to_owned()),
        }
    }

    /// What the policy chose and the number that it gave, before the forecast raised it; else why it gave none, where that is known.
    fn result(&self) -> Result<(DecidedBy, u32), Option<NoNumber>> {
        match self.outcome {
            Outcome::Scaled { decided_by, raised_from, stabilized, .. } => {
                Ok((decided_by, raised_from.unwrap_or(stabilized.proposal)))
            }
            Outcome::Unanswered(why) => Err(Some(why)),
            Outcome::Unreadable
            | Outcome::Off
            | Outcome::AboveMax(_)
            | Outcome::BelowMin(_)
            | Outcome::NoMembers(_)
            | Outcome::Held { .. } => Err(None),
        }
    }

    /// The verdict on a metric where the policy uses only one: the others have no effect, and that one is not compared to its target.
    fn looked_at(&self, spec: &AutoscalerSpec, place: usize, mut verdict: MetricVerdict) -> MetricVerdict {
        let Some(only) = spec.policy.only_metric(&spec.metrics) else { return verdict };
        if place != only {
            let note = format!("it has no effect: the policy uses {} only", name_at(spec, only));
            (verdict.ratio, verdict.proposal, verdict.note) = (None, None, note.into());
        } else if let Outcome::Scaled { decided_by, raised_from, stabilized, .. } = self.outcome {
            let number = raised_from.unwrap_or(stabilized.proposal);
            verdict.proposal = Some(number);
            verdict.note = self.asked(spec, decided_by, number).into();
            if let Some(target) = spec.metrics.get(only).and_then(|metric| compared_to(spec, metric)) {
                (verdict.ratio, verdict.target) = (None, target.into());
            }
        }
        verdict
    }

    /// The number that the metrics gave and the one that the forecast asks for, where that is more.
    pub(crate) fn raised(&self) -> Option<(u32, u32)> {
        match self.outcome {
            Outcome::Scaled { raised_from, stabilized, .. } => Some((raised_from?, stabilized.proposal)),
            Outcome::Unreadable
            | Outcome::Off
            | Outcome::AboveMax(_)
            | Outcome::BelowMin(_)
            | Outcome::NoMembers(_)
            | Outcome::Held { .. }
            | Outcome::Unanswered(_) => None,
        }
    }

    /// What changed the number after the metrics, in order.
    pub fn limits(&self, now: Time) -> Vec<Limit> {
        let clamp =
            |name, note: String| Limit { name, from: self.previous, to: self.desired, note: note.into() };
        match &self.outcome {
            Outcome::Unreadable
            | Outcome::Off
            | Outcome::NoMembers(_)
            | Outcome::Held { .. }
            | Outcome::Unanswered(_) => Vec::new(),
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
    /// [`Self::claims`] says the same without words.
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
            Outcome::Held { invalid, asked: _ } => conditions.push(self.inactive(spec, *invalid)),
            Outcome::Unanswered(why) => {
                let message = formula::unanswered(spec, *why);
                conditions.push(condition(ConditionKind::ScalingActive, false, "FormulaUndefined", message));
            }
            Outcome::Scaled { decided_by, limited, stabilized: _, raised_from: _ } => {
                let message = gave(spec, *decided_by);
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
                | Outcome::Unanswered(_),
                _,
            ) => (true, "SucceededGetScale", TARGET_READ.into()),
        };
        condition(ConditionKind::AbleToScale, holds, reason, message)
    }

    fn inactive(&self, spec: &AutoscalerSpec, invalid: usize) -> Condition {
        let fault = self.metrics.get(invalid).and_then(|said| said.as_ref().err());
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
            Outcome::Held { invalid, asked } => self.held_summary(spec, *invalid, *asked),
            Outcome::Unanswered(why) => format!("stays at {desired}: {}", formula::unanswered(spec, *why)),
            Outcome::Scaled { decided_by, raised_from, stabilized, limited } => {
                let asks = self.asked(spec, *decided_by, raised_from.unwrap_or(stabilized.proposal));
                let ahead = raised_from.map(|from| {
                    format!("raised from {from} to {} for the forecast load", stabilized.proposal)
                });
                let head = if previous == desired {
                    format!("stays at {desired}: {asks}")
                } else {
                    format!("from {previous} to {desired}: {asks}")
                };
                let held = stabilized.held.map(|_| stabilized.note());
                let limits = ahead.into_iter().chain(held).chain(limited.note());
                limits.fold(head, |sentence, limit| sentence + "; " + &limit)
            }
        }
    }

    /// What gave the `number`, with its arithmetic.
    fn asked(&self, spec: &AutoscalerSpec, decided_by: DecidedBy, number: u32) -> String {
        let of = |index: usize| self.asks(spec, index);
        let chosen = || decided_by.metric().map(of).unwrap_or_default();
        if let Some(words) = policy_words::in_words(spec, decided_by, self.previous, chosen) {
            return words;
        }
        match decided_by {
            DecidedBy::Largest { metric } | DecidedBy::Agreed { metric } => of(metric),
            DecidedBy::Step(_)
            | DecidedBy::Watermarks(_)
            | DecidedBy::Tracking(_)
            | DecidedBy::Burst(_)
            | DecidedBy::Slo(_) => chosen(),
            DecidedBy::Formula(computed) => {
                formula::in_words(spec, &self.metrics, computed, (self.previous, number))
            }
            DecidedBy::Composite(composed) => match &spec.policy {
                ScalePolicy::Composite(policy) => {
                    composite::in_words(policy, spec, &self.metrics, composed, number)
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
                format!("its metrics do not agree on a change: {}, while {}", of(metric), of(against))
            }
        }
    }

    /// What the metric at this place asks for, with its arithmetic; nothing for one that is not valid.
    fn asks(&self, spec: &AutoscalerSpec, place: usize) -> String {
        match (spec.metrics.get(place), self.metrics.get(place), self.fallback(place)) {
            (Some(metric), Some(Ok(proposal)), _) => asks(metric, proposal),
            (Some(metric), Some(Err(fault)), Some(fallback)) => {
                format!("{} gives no number, because {}", MetricName(metric), fallback.instead_of(fault))
            }
            (Some(_) | None, _, _) => String::new(),
        }
    }

    /// What stands in for the metric at this place.
    fn fallback(&self, place: usize) -> Option<&ActiveFallback> {
        self.fallbacks.iter().find(|fallback| fallback.metric == place)
    }

    fn held_summary(&self, spec: &AutoscalerSpec, invalid: usize, asked: Option<u32>) -> String {
        let name = name_at(spec, invalid);
        let why = match self.metrics.get(invalid) {
            Some(Err(fault)) => fault.to_string(),
            Some(Ok(_)) | None => "there is no metric".to_owned(),
        };
        let stays = format!("stays at {}: {name} gives no number, because {why}", self.desired);
        match asked {
            None => stays,
            Some(asked) => format!(
                "{stays}; the other metrics ask for {asked}, but a service never scales in on partial data"
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

    /// Without the age of what held it, so that it stays the same while the cause does.
    fn note(&self) -> String {
        let Some(held) = self.held else { return String::new() };
        let window = held.window.as_secs();
        match (held.direction, held.by) {
            (Direction::In, Some(_)) => {
                format!("up to {} recommended within the last {window} s", were(self.replicas))
            }
            (Direction::Out, Some(_)) => {
                format!("as few as {} recommended within the last {window} s", were(self.replicas))
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
        let cap = self.by?;
        Some(Limit { name: cap.reason(), from: self.from, to: self.replicas, note: self.note()?.into() })
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
            (Some(cap), Some(note)) => {
                let message = format!("{} recommended, but {note}", Replicas(self.from).are());
                condition(ConditionKind::ScalingLimited, true, cap.reason(), message)
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

fn were(replicas: u32) -> String {
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

/// What gave the number, as a condition says it.
fn gave(spec: &AutoscalerSpec, decided_by: DecidedBy) -> String {
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

/// What is said of a target that nothing is to be done about.
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
