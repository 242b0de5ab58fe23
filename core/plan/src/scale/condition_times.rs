//! Since when the conditions of an autoscaler are as they are.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `setConditionInList`: the time moves when the status changes, not when the
//! reason or the message does, and a pass that does not come to a condition leaves it as it was.

use model::decision::{Condition, ConditionKind};
use model::memory::ConditionsMemory;
use model::time::Wall;

use super::explain::{TARGET_READ, condition};
use super::hpa::{Outcome, Verdict};

impl Verdict {
    /// The conditions that it comes to, and whether each holds: [`Self::conditions`] without their words, and with those that are shown only
    /// while they hold.
    pub fn claims(&self) -> impl Iterator<Item = (ConditionKind, bool)> {
        let (is_active, is_limited) = match &self.outcome {
            Outcome::Unreadable | Outcome::AboveMax(_) | Outcome::BelowMin(_) => (None, None),
            Outcome::Off | Outcome::NoMembers(_) | Outcome::Held { .. } | Outcome::Unanswered(_) => {
                (Some(false), None)
            }
            Outcome::Scaled { limited, .. } => (Some(true), Some(limited.by.is_some())),
        };
        let were_metrics_asked = !self.metrics.is_empty();
        let claims = [
            (ConditionKind::AbleToScale, Some(!matches!(self.outcome, Outcome::Unreadable))),
            (ConditionKind::ScalingActive, is_active),
            (ConditionKind::ScalingLimited, is_limited),
            (
                ConditionKind::ExternalMetricFallbackActive,
                were_metrics_asked.then_some(!self.fallbacks.is_empty()),
            ),
            (ConditionKind::ScaledToZero, Some(self.was_scaled_to_zero)),
        ];
        claims.into_iter().filter_map(|(kind, holds)| Some((kind, holds?)))
    }

    /// Writes down how the conditions stand from `now` on.
    pub fn note_conditions(&self, now: Wall, memory: &mut ConditionsMemory) {
        note(now, self.claims(), memory);
    }
}

/// Writes down that the autoscaler is not asked from `now` on: see [`unasked`].
pub(crate) fn note_unasked(now: Wall, memory: &mut ConditionsMemory) {
    let claims = unasked("").into_iter().map(|condition| (condition.kind, condition.holds));
    note(now, claims, memory);
}

fn note(now: Wall, claims: impl Iterator<Item = (ConditionKind, bool)>, memory: &mut ConditionsMemory) {
    for (kind, holds) in claims {
        memory.set(kind, memory.observed(now, kind, holds));
    }
}

/// The conditions of an autoscaler that is not asked, because somebody holds or pauses it, or nobody asks for anything.
pub(crate) fn unasked(why: &str) -> [Condition; 2] {
    [
        condition(ConditionKind::AbleToScale, true, "SucceededGetScale", TARGET_READ),
        condition(ConditionKind::ScalingActive, false, "ScalingDisabled", why),
    ]
}

/// The conditions with their times. `before` is what was remembered before the verdict that came to them.
pub(crate) fn timed(
    now: Wall,
    before: &ConditionsMemory,
    conditions: impl IntoIterator<Item = Condition>,
) -> Vec<Condition> {
    let timed = |condition: Condition| {
        let state = before.observed(now, condition.kind, condition.holds);
        Condition { since: Some(state.since), ..condition }
    };
    conditions.into_iter().map(timed).collect()
}
