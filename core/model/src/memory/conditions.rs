//! Since when the conditions of an autoscaler are as they are.

use crate::decision::ConditionKind;
use crate::time::Wall;

/// Whether a condition holds, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Whether it holds.
    pub holds: bool,
    /// When that began, or when it was first observed; by the calendar of that moment, so that it never changes.
    pub since: Wall,
}

/// The state of each condition of an autoscaler: at most one entry for each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConditionsMemory([Option<Standing>; ConditionKind::ALL.len()]);

impl ConditionsMemory {
    /// The state of a condition when it was last observed; `None` before the first time.
    pub fn get(&self, kind: ConditionKind) -> Option<Standing> {
        self.0[kind as usize]
    }

    /// The state of a condition that is observed to hold or not at `now`, which is its begin if that is a change.
    pub fn with(&self, now: Wall, kind: ConditionKind, holds: bool) -> Standing {
        let before = self.get(kind).filter(|standing| standing.holds == holds);
        before.unwrap_or(Standing { holds, since: now })
    }

    /// Keeps the state of a condition.
    pub fn keep(&mut self, kind: ConditionKind, standing: Standing) {
        self.0[kind as usize] = Some(standing);
    }

    /// The conditions that were observed.
    pub fn iter(&self) -> impl Iterator<Item = (ConditionKind, Standing)> {
        ConditionKind::ALL.into_iter().filter_map(|kind| Some((kind, self.get(kind)?)))
    }
}
