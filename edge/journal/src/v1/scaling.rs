//! The stored form of an autoscaler's memory.

use model::decision::ConditionKind;
use model::memory::{
    ConditionState, ConditionsMemory, FailingMemory, FlapMemory, Recommendation, ScaleDirection, ScaleEvent,
    ScalingMemory,
};
use model::time::{Time, Wall};
use serde::{Deserialize, Serialize};

use super::policy::StoredPolicy;

/// The memory of an autoscaler.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredScaling {
    /// When, and how many.
    pub(super) recommendations: Vec<(u64, u32)>,
    /// When, how many, and whether it is outdated.
    pub(super) scale_out: Vec<(u64, u32, bool)>,
    pub(super) scale_in: Vec<(u64, u32, bool)>,
    pub(super) scaled_to_zero: bool,
    #[serde(default)]
    pub(super) policy: StoredPolicy,
    #[serde(default)]
    pub(super) flaps: StoredFlaps,
    /// Which metric, and since when.
    #[serde(default)]
    pub(super) failing: Vec<(u32, u64)>,
    /// The condition, whether it holds, and since when by the wall clock. A condition that no longer exists is dropped when read.
    #[serde(default)]
    pub(super) conditions: Vec<(String, bool, u64)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredFlaps {
    grew: Option<bool>,
    turns: Vec<u64>,
}

impl From<&ScalingMemory> for StoredScaling {
    fn from(scaling: &ScalingMemory) -> Self {
        let events = |events: &[ScaleEvent]| {
            events.iter().map(|event| (event.at.as_millis(), event.change, event.outdated)).collect()
        };
        let recommendation = |slot: &Recommendation| (slot.at.as_millis(), slot.replicas);
        Self {
            recommendations: scaling.recommendations.iter().map(recommendation).collect(),
            scale_out: events(&scaling.scale_out),
            scale_in: events(&scaling.scale_in),
            scaled_to_zero: scaling.scaled_to_zero,
            policy: StoredPolicy::from(&scaling.policy),
            flaps: StoredFlaps {
                grew: scaling.flaps.direction.map(|direction| direction == ScaleDirection::Out),
                turns: scaling.flaps.reversals.iter().map(|at| at.as_millis()).collect(),
            },
            failing: scaling.failing.iter().map(|it| (it.metric, it.since.as_millis())).collect(),
            conditions: conditions(&scaling.conditions),
        }
    }
}

impl From<StoredScaling> for ScalingMemory {
    fn from(stored: StoredScaling) -> Self {
        let events = |events: Vec<(u64, u32, bool)>| {
            let event = |(at, change, outdated)| ScaleEvent { at: Time::from_millis(at), change, outdated };
            events.into_iter().map(event).collect()
        };
        let failing = |(metric, since)| FailingMemory { metric, since: Time::from_millis(since) };
        let recommendation = |(at, replicas)| Recommendation { at: Time::from_millis(at), replicas };
        Self {
            recommendations: stored.recommendations.into_iter().map(recommendation).collect(),
            scale_out: events(stored.scale_out),
            scale_in: events(stored.scale_in),
            scaled_to_zero: stored.scaled_to_zero,
            policy: stored.policy.into(),
            flaps: FlapMemory {
                direction: stored
                    .flaps
                    .grew
                    .map(|grew| if grew { ScaleDirection::Out } else { ScaleDirection::In }),
                reversals: stored.flaps.turns.into_iter().map(Time::from_millis).collect(),
            },
            failing: stored.failing.into_iter().map(failing).collect(),
            conditions: remembered(&stored.conditions),
            levels: Vec::new(),
        }
    }
}

fn conditions(memory: &ConditionsMemory) -> Vec<(String, bool, u64)> {
    let stored = |(kind, ConditionState { holds, since }): (ConditionKind, ConditionState)| {
        (kind.name().to_owned(), holds, since.as_millis())
    };
    memory.iter().map(stored).collect()
}

fn remembered(stored: &[(String, bool, u64)]) -> ConditionsMemory {
    let mut memory = ConditionsMemory::default();
    for (name, holds, since) in stored {
        if let Some(kind) = ConditionKind::ALL.into_iter().find(|kind| kind.name() == name) {
            memory.set(kind, ConditionState { holds: *holds, since: Wall::from_millis(*since) });
        }
    }
    memory
}
