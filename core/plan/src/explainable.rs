//! A decision with its inputs, so that its explanation can be written when somebody asks.

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

use crate::effective_bounds::beyond;
use crate::fit::{self, limited};
use crate::inputs::{Protected, SizeInputs};
use crate::mode::curbed;
use crate::prospect::Goal;
use crate::scale::condition_times::{timed, unasked};
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

    /// Why the size is what was decided.
    pub(crate) fn reason(&self) -> Reason {
        match &self.sizing.outcome {
            Outcome::Plain { reason, .. } => reason.clone(),
            Outcome::Scaled { .. } => {
                let (from, to) = (self.inputs.current, self.sizing.desired);
                Reason::Autoscaled { from, to, summary: self.acting().summary }
            }
        }
    }

    fn plain(&self, policy: Policy, reason: &Reason, asked: Option<u32>) -> Decision {
        let SizeInputs { declared, effective_bounds, .. } = &self.inputs;
        let desired = self.sizing.desired;
        let held = if let Reason::Held { replicas, .. } = reason { Some(*replicas) } else { None };
        let guarded = match held.filter(|held| *held > desired) {
            Some(held) => Some(beyond(held, "held by hand", desired)),
            None => asked.and_then(|_| effective_bounds.guarded(desired)),
        };
        let mut summary = if policy == Policy::Fixed {
            let declared = guarded.as_ref().map_or(asked.unwrap_or(desired), |limit| limit.from);
            format!("its declaration asks for {}", Replicas(declared))
        } else {
            reason.to_string()
        };
        let fitted = asked.and_then(|asked| fit::limit(declared, asked, effective_bounds.bounds));
        let limits: Vec<Limit> = fitted.into_iter().chain(guarded).collect();
        for limit in &limits {
            summary = format!("{summary}; {}", limit.note);
        }
        let (now, memory) = (self.inputs.now, &self.inputs.observed.memory.conditions);
        let conditions = match &self.inputs.declared.autoscaler {
            Some(_) => timed(now.wall, memory, unasked(&summary)),
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

    /// What the acting autoscaler has decided.
    fn acting(&self) -> Decision {
        let SizeInputs { now, declared, effective_bounds, observed, hpa, .. } = &self.inputs;
        match (&self.sizing.outcome, &declared.autoscaler) {
            (Outcome::Plain { policy, reason, asked }, _) => self.plain(*policy, reason, *asked),
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
                tell_warmup(observed.warmup, &mut decision);
                if let Some(expected_load) = &self.inputs.expected_load {
                    decision = expected_load.tell(verdict.raised(), decision);
                }
                let decision = match blocker {
                    Some(blocker) => blocker.hold(decision),
                    None => decision,
                };
                let decision = scheduled(decision, effective_bounds.note(declared));
                let decision = spared(&self.inputs, decision);
                let fitted = fit::limit(declared, decision.desired, effective_bounds.bounds);
                let decision = limited(decision, fitted);
                let guarded = effective_bounds.guarded(decision.desired);
                let decision = limited(decision, guarded);
                curbed(declared.spec.scale.mode, self.sizing.desired, decision)
            }
            (Outcome::Scaled { .. }, None) => {
                unreachable!("an autoscaler's verdict is made from the declaration's autoscaler only")
            }
        }
    }
}

/// Says how long replicas warm up, where some are not measured yet.
fn tell_warmup(seen: Option<Duration>, decision: &mut Decision) {
    let Some(seen) = seen.filter(|seen| seen.as_secs() > 0) else { return };
    for metric in &mut decision.metrics {
        if metric.samples.is_some_and(|samples| samples.unready > 0) {
            metric.note = format!("{}; replicas warm up for {} s", metric.note, seen.as_secs()).into();
        }
    }
}

/// What keeps `decision` from `goal`: the metrics that ask for another number, and the limits that changed the number past it.
fn against(decision: &Decision, goal: Goal) -> Vec<Arc<str>> {
    let wanted = goal.nearest();
    let is_short = |replicas: u32| if goal.is_out() { replicas < wanted } else { replicas > wanted };
    let metrics = decision.metrics.iter().filter_map(|metric| match metric.proposal {
        Some(proposal) if is_short(proposal) => {
            Some(format!("{} asks for {proposal}: {}", metric.name, metric.note).into())
        }
        Some(_) => None,
        // A metric that was measured and asks for nothing by itself is part of another line, or decides nothing.
        None if metric.is_measured() => None,
        None => Some(format!("{} gives no number: {}", metric.name, metric.note).into()),
    });
    let past = decision.limits.iter().filter(|limit| !is_short(limit.from) && is_short(limit.to));
    let limits =
        past.map(|limit| format!("{} changes {} to {}: {}", limit.name, limit.from, limit.to, limit.note));
    let mut reasons: Vec<Arc<str>> = metrics.chain(limits.map(Into::into)).collect();
    if reasons.is_empty() {
        reasons.push(Arc::clone(&decision.summary));
    }
    reasons
}

impl Explanation for ExplainableDecision {
    fn decision(&self) -> Decision {
        let SizeInputs { now, declared, shadows, expected_load, .. } = &self.inputs;
        let decisions = shadows.iter().zip(&self.shadows).map(|(shadow, sizing)| {
            let mut shadowed = shadow.in_words(sizing, declared, *now);
            if let (Some(expected_load), FORECAST_SHADOW) = (expected_load, shadow.name.as_str()) {
                shadowed.decision = expected_load.tell(sizing.verdict.raised(), shadowed.decision);
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
        (self.inputs.declared.revision, self.inputs.current, self.sizing.desired).hash(&mut hasher);
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
        // Where the number is not followed, `desired` need not be the maximum.
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
                let ratio = |said: &Result<Proposal, _>| said.as_ref().ok().map(|it| it.level.ratio);
                verdict.metrics.iter().map(|said| ratio(said).filter(|ratio| ratio.is_finite())).collect()
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
        WhyNot { reasons: against(&self.decision(), goal), prospects: vec![self.towards(goal)] }
    }
}

/// The decision, raised to the number of protected replicas when it leaves fewer.
fn spared(inputs: &SizeInputs, decision: Decision) -> Decision {
    let (from, to) = (decision.desired, inputs.spared(decision.desired));
    let Some(Protected { replicas, until }) = inputs.protected.filter(|_| from != to) else {
        return decision;
    };
    let note = format!("{} protected from removal until {until} or longer", Replicas(replicas).are());
    limited(decision, Some(Limit { name: "Protected", from, to, note: note.into() }))
}

/// The limit that says which schedules hold, whether they changed the number or not.
pub(crate) const SCHEDULED: &str = "Scheduled";

/// The decision with what the schedules say about it.
fn scheduled(mut decision: Decision, note: Option<String>) -> Decision {
    if let Some(note) = note {
        let (from, to) = (decision.desired, decision.desired);
        decision.summary = format!("{}; {note}", decision.summary).into();
        decision.limits.push(Limit { name: SCHEDULED, from, to, note: note.into() });
    }
    decision
}
