//! The conditions of an autoscaler, each with the time of its last change.

use crate::decision::ConditionKind;
use crate::time::Wall;

/// Whether a condition holds, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConditionState {
    /// Whether it holds.
    pub holds: bool,
    /// When that began, or when it was first observed. Wall-clock time as read then, so that it never changes.
    pub since: Wall,
}

/// The state of each condition of an autoscaler: at most one entry for each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConditionsMemory([Option<ConditionState>; ConditionKind::ALL.len()]);

impl ConditionsMemory {
    /// The state of a condition when it was last observed; `None` before the first time.
    pub fn get(&self, kind: ConditionKind) -> Option<ConditionState> {
        self.0[kind as usize]
    }

    /// The state of a condition that is observed at `now`: the known one, or a new one that begins at `now` if it has changed.
    pub fn observed(&self, now: Wall, kind: ConditionKind, holds: bool) -> ConditionState {
        let known = self.get(kind).filter(|state| state.holds == holds);
        known.unwrap_or(ConditionState { holds, since: now })
    }

    /// Stores the state of a condition.
    pub fn set(&mut self, kind: ConditionKind, state: ConditionState) {
        self.0[kind as usize] = Some(state);
    }

    /// The conditions that have been observed.
    pub fn iter(&self) -> impl Iterator<Item = (ConditionKind, ConditionState)> {
        ConditionKind::ALL.into_iter().filter_map(|kind| Some((kind, self.get(kind)?)))
    }
}
