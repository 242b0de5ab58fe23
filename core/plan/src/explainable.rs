//! A decision with its inputs, so that it can be explained on demand.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use model::decision::{
    AlternativeSize, Decision, Explanation, Limit, Policy, Prospect, Tolerance, UnmetDemand, WhyNot,
};
use model::quantity::Replicas;
use model::reason::Reason;
use model::resource::{FORECAST_SHADOW, ScaleMode};

use crate::effective_bounds::guard_limit;
use crate::fit::{self, limited};
use crate::goal::Goal;
use crate::inputs::{Protected, SizeInputs};
use crate::mode::limited_by_mode;
use crate::scale::condition_times::{inactive_conditions, timed};
use crate::scale::hpa;
use crate::scale::limit::LimitedBy;
use crate::scale::proposal::Proposal;
use crate::shadow::ShadowSizing;
use crate::sizing::{Outcome, Sizing};

/// A decision and its inputs.
#[derive(Debug)]
pub(crate) struct ExplainableDecision {
    pub(crate) inputs: SizeInputs,
    pub(crate) sizing: Sizing,
    /// What each shadow autoscaler would have decided.
    pub(crate) shadows: Vec<ShadowSizing>,
}

impl ExplainableDecision {
    /// Decides on `inputs`, without shadows.
    pub(crate) fn of(inputs: SizeInputs) -> Self {
        let (sizing, _) = inputs.decide();
        Self { inputs, sizing, shadows: Vec::new() }
    }

    /// The reason of the decision.
    pub(crate) fn reason(&self) -> Reason {
        match &self.sizing.outcome {
            Outcome::Plain { reason, .. } => reason.clone(),
            Outcome::Scaled { .. } => {
                let (from, to) = (self.previous(), self.sizing.desired);
                Reason::Autoscaled { from, to, summary: self.acting().summary }
            }
        }
    }

    /// Replicas wanted until now. A decision that follows a hold at zero changes the first size, but the number changes from zero.
    fn previous(&self) -> u32 {
        self.inputs.desired.unwrap_or(self.inputs.current)
    }

    fn plain(&self, policy: Policy, reason: &Reason, wanted: Option<u32>) -> Decision {
        let SizeInputs { declared, effective_bounds, .. } = &self.inputs;
        let desired = self.sizing.desired;
        let held = if let Reason::Held { replicas, .. } = reason { Some(*replicas) } else { None };
        let guarded = match held.filter(|held| *held > desired) {
            Some(held) => Some(guard_limit(held, "held by hand", desired)),
            None => wanted.and_then(|_| effective_bounds.guard_limit(desired)),
        };
        let mut summary = if policy == Policy::Fixed {
            let declared = guarded.as_ref().map_or(wanted.unwrap_or(desired), |limit| limit.from);
            format!("its declaration asks for {}", Replicas(declared))
        } else {
            reason.to_string()
        };
        let fitted = wanted.and_then(|wanted| fit::limit(declared, wanted, effective_bounds.bounds));
        let limits: Vec<Limit> = fitted.into_iter().chain(guarded).collect();
        for limit in &limits {
            summary = format!("{summary}; {}", limit.note);
        }
        let (now, memory) = (self.inputs.now, &self.inputs.observed.memory.conditions);
        let conditions = match &self.inputs.declared.autoscaler {
            Some(_) => timed(now.wall, memory, inactive_conditions(&summary)),
            None => Vec::new(),
        };
        Decision {
            service: self.inputs.declared.name.clone(),
            at: now,
            desired,
            previous: self.inputs.desired.unwrap_or(0),
            policy,
            metrics: Vec::new(),
            tolerance: None,
            limits,
            evidence: Vec::new(),
            conditions,
            guard: None,
            summary: summary.into(),
            shadows: Vec::new(),
        }
    }

    /// The decision of the acting autoscaler.
    fn acting(&self) -> Decision {
        let SizeInputs { now, declared, effective_bounds, observed, hpa, .. } = &self.inputs;
        match (&self.sizing.outcome, &declared.autoscaler) {
            (Outcome::Plain { policy, reason, wanted }, _) => self.plain(*policy, reason, *wanted),
            (Outcome::Scaled { verdict, blocker }, Some(spec)) => {
                let mut decision = verdict.decision(declared.name.clone(), *now, &self.inputs.acting(spec));
                decision.evidence = verdict.evidence(*now, &observed.memory);
                decision.conditions = timed(now.wall, &observed.memory.conditions, decision.conditions);
                let is_ratio = decision.metrics.iter().any(|metric| metric.ratio.is_some());
                decision.tolerance = is_ratio.then(|| {
                    let band = hpa::tolerance_of(spec, hpa);
                    Tolerance { up: band.up, down: band.down }
                });
                if let (Some(learned), Some(metric)) = (observed.capacity, decision.metrics.first_mut()) {
                    metric.note = format!("{}; a replica carries {learned}", metric.note).into();
                }
                note_warmup(observed.warmup, &mut decision);
                if let Some(expected_load) = &self.inputs.expected_load {
                    decision = expected_load.annotate(verdict.raised(), decision);
                }
                let decision = match blocker {
                    Some(blocker) => blocker.hold(decision),
                    None => decision,
                };
                let decision = with_schedule_note(decision, effective_bounds.note(declared));
                let decision = raised_to_protected(&self.inputs, decision);
                let fitted = fit::limit(declared, decision.desired, effective_bounds.bounds);
                let decision = limited(decision, fitted);
                let guarded = effective_bounds.guard_limit(decision.desired);
                let decision = limited(decision, guarded);
                let decision = limited_by_mode(declared.spec.scale.mode, self.sizing.desired, decision);
                begun_again(self.previous(), decision)
            }
            (Outcome::Scaled { .. }, None) => {
                unreachable!("an autoscaler's verdict is made from the declaration's autoscaler only")
            }
        }
    }
}

/// The decision as a change from `previous` replicas, where it is a change of another number: the first size, after zero.
fn begun_again(previous: u32, mut decision: Decision) -> Decision {
    let (first, desired) = (decision.previous, decision.desired);
    if previous == first {
        return decision;
    }
    let why = decision.summary.strip_prefix(&*fit::head(first, desired)).unwrap_or(&decision.summary);
    let head = fit::head(previous, desired);
    decision.summary = format!("{head}it begins again with {}; {why}", Replicas(first)).into();
    decision.previous = previous;
    decision
}

/// Adds how long replicas warm up to metrics of which some are not measured yet.
fn note_warmup(warmup: Option<Duration>, decision: &mut Decision) {
    let Some(warmup) = warmup.filter(|warmup| warmup.as_secs() > 0) else { return };
    for metric in &mut decision.metrics {
        if metric.samples.is_some_and(|samples| samples.unready > 0) {
            metric.note = format!("{}; replicas warm up for {} s", metric.note, warmup.as_secs()).into();
        }
    }
}

/// What keeps `decision` from `goal`: the metrics that propose another number, and the limits that moved the number past it.
fn obstacles(decision: &Decision, goal: Goal) -> Vec<Arc<str>> {
    let wanted = goal.nearest();
    let misses = |replicas: u32| if goal.is_out() { replicas < wanted } else { replicas > wanted };
    let metrics = decision.metrics.iter().filter_map(|metric| match metric.proposal {
        Some(proposal) if misses(proposal) => {
            Some(format!("{} asks for {proposal}: {}", metric.name, metric.note).into())
        }
        Some(_) => None,
        // A metric that was measured without a proposal is part of a formula or mean, or has no effect.
        None if metric.is_measured() => None,
        None => Some(format!("{} gives no number: {}", metric.name, metric.note).into()),
    });
    let past = decision.limits.iter().filter(|limit| !misses(limit.from) && misses(limit.to));
    let limits =
        past.map(|limit| format!("{} changes {} to {}: {}", limit.name, limit.from, limit.to, limit.note));
    let mut obstacles: Vec<Arc<str>> = metrics.chain(limits.map(Into::into)).collect();
    if obstacles.is_empty() {
        obstacles.push(Arc::clone(&decision.summary));
    }
    obstacles
}

impl Explanation for ExplainableDecision {
    fn decision(&self) -> Decision {
        let SizeInputs { now, declared, shadows, expected_load, .. } = &self.inputs;
        let decisions = shadows.iter().zip(&self.shadows).map(|(shadow, sizing)| {
            let mut shadowed = shadow.describe(sizing, declared, *now);
            if let (Some(expected_load), FORECAST_SHADOW) = (expected_load, shadow.name.as_str()) {
                shadowed.decision = expected_load.annotate(sizing.verdict.raised(), shadowed.decision);
            }
            shadowed
        });
        Decision { shadows: decisions.collect(), ..self.acting() }
    }

    fn desired(&self) -> u32 {
        self.sizing.desired
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.inputs.declared.revision, self.previous(), self.inputs.current, self.sizing.desired)
            .hash(&mut hasher);
        match &self.sizing.outcome {
            Outcome::Plain { policy, reason, .. } => (policy, discriminant(reason)).hash(&mut hasher),
            Outcome::Scaled { verdict, blocker } => {
                blocker.as_ref().map(discriminant).hash(&mut hasher);
                verdict.hash_fingerprint(&mut hasher);
            }
        }
        hasher.finish()
    }

    fn unmet(&self) -> Option<UnmetDemand> {
        let Outcome::Scaled { verdict, blocker: _ } = &self.sizing.outcome else { return None };
        let hpa::Outcome::Scaled { limited, .. } = verdict.outcome else { return None };
        let (desired, current) = (self.sizing.desired, self.inputs.current);
        // In a mode that does not follow the number, `desired` need not be the maximum.
        let is_followed = match self.inputs.declared.spec.scale.mode {
            ScaleMode::On | ScaleMode::UpOnly => true,
            ScaleMode::Shadow | ScaleMode::Off => current >= limited.replicas,
        };
        let is_at_most = limited.by == Some(LimitedBy::Max) && desired == current && desired > 0;
        (is_followed && is_at_most).then_some(UnmetDemand { requested: limited.from, allowed: desired })
    }

    fn ratios(&self) -> Vec<Option<f64>> {
        match &self.sizing.outcome {
            Outcome::Plain { .. } => Vec::new(),
            Outcome::Scaled { verdict, .. } => {
                let ratio =
                    |metric: &Result<Proposal, _>| metric.as_ref().ok().map(|proposal| proposal.level.ratio);
                verdict.metrics.iter().map(|metric| ratio(metric).filter(|ratio| ratio.is_finite())).collect()
            }
        }
    }

    fn prospects(&self) -> Vec<Prospect> {
        self.all_prospects()
    }

    fn why_not(&self, asked: AlternativeSize) -> WhyNot {
        if asked == AlternativeSize::Exactly(self.sizing.desired) {
            return WhyNot { reasons: vec!["that is what was decided".into()], prospects: Vec::new() };
        }
        let goal = Goal::new(asked, self.sizing.desired);
        WhyNot { reasons: obstacles(&self.decision(), goal), prospects: vec![self.prospect_for(goal)] }
    }
}

/// The decision, raised to the number of protected replicas when it leaves fewer.
fn raised_to_protected(inputs: &SizeInputs, decision: Decision) -> Decision {
    let (from, to) = (decision.desired, inputs.raised_to_protected(decision.desired));
    let Some(Protected { replicas, until }) = inputs.protected.filter(|_| from != to) else {
        return decision;
    };
    let note = format!("{} protected from removal until {until} or longer", Replicas(replicas).are());
    limited(decision, Some(Limit { name: "Protected", from, to, note: note.into() }))
}

/// The name of the limit that names the open schedules, whether they changed the number or not.
pub(crate) const SCHEDULED: &str = "Scheduled";

/// The decision with the open schedules.
fn with_schedule_note(mut decision: Decision, note: Option<String>) -> Decision {
    if let Some(note) = note {
        let (from, to) = (decision.desired, decision.desired);
        decision.summary = format!("{}; {note}", decision.summary).into();
        decision.limits.push(Limit { name: SCHEDULED, from, to, note: note.into() });
    }
    decision
}
