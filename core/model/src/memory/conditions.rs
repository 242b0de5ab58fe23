//! Since when the conditions of an autoscaler are as they are.

use crate::decision::ConditionKind;
use crate::time::Wall;

/// Whether a condition holds, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Whether it holds.
    pub holds: bool,
    /// When that began, or when it was first looked at: as the calendar had it then, so that it is told the same ever after.
    pub since: Wall,
}

/// How each condition of an autoscaler stands: at most one entry for each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConditionsMemory([Option<Standing>; ConditionKind::ALL.len()]);

impl ConditionsMemory {
    /// How the condition stood when it was looked at last; `None` before the first time.
    pub fn get(&self, kind: ConditionKind) -> Option<Standing> {
        self.0[kind as usize]
    }

    /// How the condition stands once it is seen to hold or not to: since `now`, if that is a change.
    pub fn with(&self, now: Wall, kind: ConditionKind, holds: bool) -> Standing {
        let before = self.get(kind).filter(|standing| standing.holds == holds);
        before.unwrap_or(Standing { holds, since: now })
    }

    /// Keeps how the condition stands.
    pub fn keep(&mut self, kind: ConditionKind, standing: Standing) {
        self.0[kind as usize] = Some(standing);
    }

    /// Those that were looked at.
    pub fn iter(&self) -> impl Iterator<Item = (ConditionKind, Standing)> {
        ConditionKind::ALL.into_iter().filter_map(|kind| Some((kind, self.get(kind)?)))
    }
}
