//! A decision with the scene that it was made on: its words are made when somebody asks.

use std::sync::Arc;

use model::decision::{Account, Decision, Limit, Policy};
use model::reason::Reason;

use crate::mode::curbed;
use crate::ruling::{Course, Ruling};
use crate::scene::{Scene, Suspicion};

/// A decision, and what it was made on.
#[derive(Debug)]
pub(crate) struct Situation {
    pub(crate) scene: Scene,
    pub(crate) ruling: Ruling,
}

impl Situation {
    /// Why the size is what was decided.
    pub(crate) fn reason(&self) -> Reason {
        match &self.ruling.course {
            Course::Plain { reason, .. } => reason.clone(),
            Course::Scaled { .. } => {
                let (from, to) = (self.scene.current, self.ruling.desired);
                Reason::Autoscaled { from, to, summary: self.decision().summary }
            }
        }
    }

    fn plain(&self, policy: Policy, reason: &Reason) -> Decision {
        let desired = self.ruling.desired;
        let summary = if policy == Policy::Fixed {
            format!("its declaration asks for {desired} replicas")
        } else {
            reason.to_string()
        };
        Decision {
            service: self.scene.declared.name.clone(),
            at: self.scene.now,
            desired,
            previous: self.scene.desired.unwrap_or(0),
            policy,
            metrics: Vec::new(),
            limits: Vec::new(),
            conditions: Vec::new(),
            guard: None,
            summary: summary.into(),
        }
    }
}

impl Account for Situation {
    fn decision(&self) -> Decision {
        let Scene { now, declared, term, .. } = &self.scene;
        match (&self.ruling.course, &declared.autoscaler) {
            (Course::Plain { policy, reason }, _) => self.plain(*policy, reason),
            (Course::Scaled { verdict, suspicion }, Some(spec)) => {
                let decision = verdict.decision(declared.name.clone(), *now, &term.bound(spec));
                let decision = match suspicion {
                    Some(suspicion) => suspicion.hold(decision),
                    None => decision,
                };
                let decision = scheduled(decision, term.note(declared));
                curbed(declared.spec.scale.mode, self.ruling.desired, decision)
            }
            (Course::Scaled { .. }, None) => {
                unreachable!("an autoscaler's verdict is made from the declaration's autoscaler only")
            }
        }
    }
}

impl Suspicion {
    /// The decision that would have been made, held.
    fn hold(self, mut decision: Decision) -> Decision {
        let Self { failed, requests } = self;
        let note: Arc<str> =
            format!("{failed} of {requests} requests failed: the fall of load is not believed").into();
        let (from, to) = (decision.desired, decision.previous);
        decision.summary = format!("stays at {to}: {note}").into();
        decision.desired = to;
        decision.limits.push(Limit { name: "HeldByErrors", from, to, note });
        decision
    }
}

/// The decision with what the schedules say about it.
fn scheduled(mut decision: Decision, note: Option<String>) -> Decision {
    if let Some(note) = note {
        let (from, to) = (decision.desired, decision.desired);
        decision.summary = format!("{}; {note}", decision.summary).into();
        decision.limits.push(Limit { name: "Scheduled", from, to, note: note.into() });
    }
    decision
}
