//! A decision with the scene that it was made on: its words are made when somebody asks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use model::decision::{Account, Asked, Decision, Limit, Policy, Prospect, Tolerance, Unmet, WhyNot};
use model::quantity::Replicas;
use model::reason::Reason;
use model::resource::{FORECAST_SHADOW, ScaleMode};

use crate::fit::{self, limited};
use crate::mode::curbed;
use crate::prospect::Goal;
use crate::ruling::{Course, Ruling};
use crate::scale::hpa;
use crate::scale::limit::Cap;
use crate::scale::proposal::Proposal;
use crate::scale::standing::{timed, unasked};
use crate::scene::{Protected, Scene};
use crate::shadow::ShadowRuling;
use crate::term::beyond;

/// A decision, and what it was made on.
#[derive(Debug)]
pub(crate) struct Situation {
    pub(crate) scene: Scene,
    pub(crate) ruling: Ruling,
    /// What each of the scene's shadows would have decided.
    pub(crate) shadows: Vec<ShadowRuling>,
}

impl Situation {
    /// What is decided on `scene`.
    pub(crate) fn of(scene: Scene) -> Self {
        let (ruling, _) = scene.decide();
        Self { scene, ruling, shadows: Vec::new() }
    }

    /// Why the size is what was decided.
    pub(crate) fn reason(&self) -> Reason {
        match &self.ruling.course {
            Course::Plain { reason, .. } => reason.clone(),
            Course::Scaled { .. } => {
                let (from, to) = (self.scene.current, self.ruling.desired);
                Reason::Autoscaled { from, to, summary: self.acting().summary }
            }
        }
    }

    fn plain(&self, policy: Policy, reason: &Reason, asked: Option<u32>) -> Decision {
        let Scene { declared, term, .. } = &self.scene;
        let desired = self.ruling.desired;
        let held = if let Reason::Held { replicas, .. } = reason { Some(*replicas) } else { None };
        let guarded = match held.filter(|held| *held > desired) {
            Some(held) => Some(beyond(held, "held by hand", desired)),
            None => asked.and_then(|_| term.guarded(desired)),
        };
        let mut summary = if policy == Policy::Fixed {
            let declared = guarded.as_ref().map_or(asked.unwrap_or(desired), |limit| limit.from);
            format!("its declaration asks for {}", Replicas(declared))
        } else {
            reason.to_string()
        };
        let fitted = asked.and_then(|asked| fit::limit(declared, asked, term.bounds));
        let limits: Vec<Limit> = fitted.into_iter().chain(guarded).collect();
        for limit in &limits {
            summary = format!("{summary}; {}", limit.note);
        }
        let (now, memory) = (self.scene.now, &self.scene.sight.memory.conditions);
        let conditions = match &self.scene.declared.autoscaler {
            Some(_) => timed(now.wall, memory, unasked(&summary)),
            None => Vec::new(),
        };
        Decision {
            service: self.scene.declared.name.clone(),
            at: now,
            desired,
            previous: self.scene.desired.unwrap_or(0),
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

    /// What the acting one has decided.
    fn acting(&self) -> Decision {
        let Scene { now, declared, term, sight, hpa, .. } = &self.scene;
        match (&self.ruling.course, &declared.autoscaler) {
            (Course::Plain { policy, reason, asked }, _) => self.plain(*policy, reason, *asked),
            (Course::Scaled { verdict, doubt }, Some(spec)) => {
                let mut decision = verdict.decision(declared.name.clone(), *now, &self.scene.acting(spec));
                decision.evidence = verdict.evidence(*now, &sight.memory);
                decision.conditions = timed(now.wall, &sight.memory.conditions, decision.conditions);
                let is_ratio = decision.metrics.iter().any(|metric| metric.ratio.is_some());
                decision.tolerance = is_ratio.then(|| {
                    let band = hpa::tolerance_of(spec, hpa);
                    Tolerance { up: band.up, down: band.down }
                });
                if let (Some(learned), Some(metric)) = (sight.capacity, decision.metrics.first_mut()) {
                    metric.note = format!("{}; a replica carries {learned}", metric.note).into();
                }
                tell_warmup(sight.warmup, &mut decision);
                if let Some(foreseen) = &self.scene.foreseen {
                    decision = foreseen.tell(verdict.raised(), decision);
                }
                let decision = match doubt {
                    Some(doubt) => doubt.hold(decision),
                    None => decision,
                };
                let decision = scheduled(decision, term.note(declared));
                let decision = spared(&self.scene, decision);
                let fitted = fit::limit(declared, decision.desired, term.bounds);
                let decision = limited(decision, fitted);
                let guarded = term.guarded(decision.desired);
                let decision = limited(decision, guarded);
                curbed(declared.spec.scale.mode, self.ruling.desired, decision)
            }
            (Course::Scaled { .. }, None) => {
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

/// What in `decision` speaks against `goal`: the metrics that ask for something else, and what changed the number past it.
fn against(decision: &Decision, goal: Goal) -> Vec<Arc<str>> {
    let wanted = goal.nearest();
    let is_short = |replicas: u32| if goal.is_out() { replicas < wanted } else { replicas > wanted };
    let metrics = decision.metrics.iter().filter_map(|metric| match metric.proposal {
        Some(proposal) if is_short(proposal) => {
            Some(format!("{} asks for {proposal}: {}", metric.name, metric.note).into())
        }
        Some(_) => None,
        // One that was measured and asks for nothing by itself goes into what another line tells, or decides nothing.
        None if metric.is_measured() => None,
        None => Some(format!("{} gives no number: {}", metric.name, metric.note).into()),
    });
    let past = decision.limits.iter().filter(|limit| !is_short(limit.from) && is_short(limit.to));
    let limits =
        past.map(|limit| format!("{} changes {} to {}: {}", limit.name, limit.from, limit.to, limit.note));
    let mut because: Vec<Arc<str>> = metrics.chain(limits.map(Into::into)).collect();
    if because.is_empty() {
        because.push(Arc::clone(&decision.summary));
    }
    because
}

impl Account for Situation {
    fn decision(&self) -> Decision {
        let Scene { now, declared, shadows, foreseen, .. } = &self.scene;
        let told = shadows.iter().zip(&self.shadows).map(|(shadow, ruling)| {
            let mut told = shadow.told(ruling, declared, *now);
            if let (Some(foreseen), FORECAST_SHADOW) = (foreseen, shadow.name.as_str()) {
                told.decision = foreseen.tell(ruling.verdict.raised(), told.decision);
            }
            told
        });
        Decision { shadows: told.collect(), ..self.acting() }
    }

    fn desired(&self) -> u32 {
        self.ruling.desired
    }

    fn gist(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.scene.declared.revision, self.scene.current, self.ruling.desired).hash(&mut hasher);
        match &self.ruling.course {
            Course::Plain { policy, reason, .. } => (policy, discriminant(reason)).hash(&mut hasher),
            Course::Scaled { verdict, doubt } => {
                doubt.as_ref().map(discriminant).hash(&mut hasher);
                verdict.hash_gist(&mut hasher);
            }
        }
        hasher.finish()
    }

    fn unmet(&self) -> Option<Unmet> {
        let Course::Scaled { verdict, doubt: _ } = &self.ruling.course else { return None };
        let hpa::Course::Scaled { limited, .. } = verdict.course else { return None };
        let (desired, current) = (self.ruling.desired, self.scene.current);
        // Where the number is not followed, it need not be the most.
        let is_followed = match self.scene.declared.spec.scale.mode {
            ScaleMode::On | ScaleMode::UpOnly => true,
            ScaleMode::Shadow | ScaleMode::Off => current >= limited.replicas,
        };
        let is_at_most = limited.by == Some(Cap::Max) && desired == current && desired > 0;
        (is_followed && is_at_most).then_some(Unmet { asked: limited.from, most: desired })
    }

    fn ratios(&self) -> Vec<Option<f64>> {
        match &self.ruling.course {
            Course::Plain { .. } => Vec::new(),
            Course::Scaled { verdict, .. } => {
                let ratio = |said: &Result<Proposal, _>| said.as_ref().ok().map(|it| it.level.ratio);
                verdict.metrics.iter().map(|said| ratio(said).filter(|ratio| ratio.is_finite())).collect()
            }
        }
    }

    fn prospects(&self) -> Vec<Prospect> {
        self.all_prospects()
    }

    fn why_not(&self, asked: Asked) -> WhyNot {
        if asked == Asked::Exactly(self.ruling.desired) {
            return WhyNot { because: vec!["that is what was decided".into()], prospects: Vec::new() };
        }
        let goal = Goal::new(asked, self.ruling.desired);
        WhyNot { because: against(&self.decision(), goal), prospects: vec![self.towards(goal)] }
    }
}

/// The decision with those replicas that are protected, when they are more than it leaves.
fn spared(scene: &Scene, decision: Decision) -> Decision {
    let (from, to) = (decision.desired, scene.spared(decision.desired));
    let Some(Protected { replicas, until }) = scene.protected.filter(|_| from != to) else { return decision };
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
