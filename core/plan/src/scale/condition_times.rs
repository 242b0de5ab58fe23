//! Since when the conditions of an autoscaler have their status.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `setConditionInList`: the time moves when the status changes, not when the
//! reason or the message does, and a pass that does not evaluate a condition leaves it unchanged.

use model::decision::{Condition, ConditionKind};
use model::memory::ConditionsMemory;
use model::time::Wall;

use super::explain::{TARGET_READ, condition};
use super::hpa::{Outcome, Verdict};

impl Verdict {
    /// The conditions that it evaluates, and whether each holds: [`Self::conditions`] without texts, and with those that are shown only while they
    /// hold.
    pub fn condition_states(&self) -> impl Iterator<Item = (ConditionKind, bool)> {
        let (is_active, is_limited) = match &self.outcome {
            Outcome::Unreadable | Outcome::AboveMax(_) | Outcome::BelowMin(_) => (None, None),
            Outcome::Off | Outcome::NoMembers(_) | Outcome::Held { .. } | Outcome::NoResult(_) => {
                (Some(false), None)
            }
            Outcome::Scaled { limited, .. } => (Some(true), Some(limited.by.is_some())),
        };
        let were_metrics_used = !self.metrics.is_empty();
        let states = [
            (ConditionKind::AbleToScale, Some(!matches!(self.outcome, Outcome::Unreadable))),
            (ConditionKind::ScalingActive, is_active),
            (ConditionKind::ScalingLimited, is_limited),
            (
                ConditionKind::ExternalMetricFallbackActive,
                were_metrics_used.then_some(!self.fallbacks.is_empty()),
            ),
            (ConditionKind::ScaledToZero, Some(self.was_scaled_to_zero)),
        ];
        states.into_iter().filter_map(|(kind, holds)| Some((kind, holds?)))
    }

    /// Records the status of the conditions from `now` on.
    pub fn record_conditions(&self, now: Wall, memory: &mut ConditionsMemory) {
        record(now, self.condition_states(), memory);
    }
}

/// Records that the autoscaler does not decide from `now` on: see [`inactive_conditions`].
pub(crate) fn record_inactive(now: Wall, memory: &mut ConditionsMemory) {
    let states = inactive_conditions("").into_iter().map(|condition| (condition.kind, condition.holds));
    record(now, states, memory);
}

fn record(now: Wall, states: impl Iterator<Item = (ConditionKind, bool)>, memory: &mut ConditionsMemory) {
    for (kind, holds) in states {
        memory.set(kind, memory.observed(now, kind, holds));
    }
}

/// The conditions of an autoscaler that does not decide: it is held or paused, or the service is idle at zero.
pub(crate) fn inactive_conditions(why: &str) -> [Condition; 2] {
    [
        condition(ConditionKind::AbleToScale, true, "SucceededGetScale", TARGET_READ),
        condition(ConditionKind::ScalingActive, false, "ScalingDisabled", why),
    ]
}

/// The conditions with their times. `before` is the memory before the verdict that evaluated them.
pub(crate) fn timed(
    now: Wall,
    before: &ConditionsMemory,
    conditions: impl IntoIterator<Item = Condition>,
) -> Vec<Condition> {
    let timed = |condition: Condition| {
        let remembered = before.observed(now, condition.kind, condition.holds);
        Condition { since: Some(remembered.since), ..condition }
    };
    conditions.into_iter().map(timed).collect()
}
