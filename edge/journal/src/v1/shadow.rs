//! The stored form of the memory of shadow autoscalers.

use model::memory::{Difference, ScaleDirection, ScalingTally, ShadowMemory, SizeChange};
use model::resource::ObjectName;
use model::time::Time;
use serde::{Deserialize, Serialize};

use super::scaling::StoredScaling;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredShadow {
    name: ObjectName,
    desired: u32,
    scaling: StoredScaling,
    since: u64,
    until: u64,
    counted_ms: u64,
    own: StoredTally,
    acting: StoredTally,
    /// For how long, and by how much, as in [`Difference`].
    below: (u64, u64),
    above: (u64, u64),
    /// When, from, to.
    changes: Vec<(u64, u32, u32)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredTally {
    replica_ms: u64,
    grown: u32,
    shrunk: u32,
    turns: u32,
    /// Whether the last change was a scale-out; `None` before the first.
    grew: Option<bool>,
    over_ms: u64,
    held_ms: u64,
}

impl From<&ShadowMemory> for StoredShadow {
    fn from(shadow: &ShadowMemory) -> Self {
        let difference = |difference: Difference| (difference.ms, difference.replica_ms);
        let change = |change: &SizeChange| (change.at.as_millis(), change.from, change.to);
        Self {
            name: shadow.name.clone(),
            desired: shadow.desired,
            scaling: StoredScaling::from(&shadow.scaling),
            since: shadow.since.as_millis(),
            until: shadow.until.as_millis(),
            counted_ms: shadow.counted_ms,
            own: shadow.own.into(),
            acting: shadow.acting.into(),
            below: difference(shadow.below),
            above: difference(shadow.above),
            changes: shadow.changes.iter().map(change).collect(),
        }
    }
}

impl From<StoredShadow> for ShadowMemory {
    fn from(stored: StoredShadow) -> Self {
        let difference = |(ms, replica_ms)| Difference { ms, replica_ms };
        let change = |(at, from, to)| SizeChange { at: Time::from_millis(at), from, to };
        Self {
            name: stored.name,
            desired: stored.desired,
            scaling: stored.scaling.into(),
            since: Time::from_millis(stored.since),
            until: Time::from_millis(stored.until),
            counted_ms: stored.counted_ms,
            own: stored.own.into(),
            acting: stored.acting.into(),
            below: difference(stored.below),
            above: difference(stored.above),
            changes: stored.changes.into_iter().map(change).collect(),
        }
    }
}

impl From<ScalingTally> for StoredTally {
    fn from(tally: ScalingTally) -> Self {
        Self {
            replica_ms: tally.replica_ms,
            grown: tally.scale_outs,
            shrunk: tally.scale_ins,
            turns: tally.reversals,
            grew: tally.last_direction.map(|direction| direction == ScaleDirection::Out),
            over_ms: tally.over_target_ms,
            held_ms: tally.undecided_ms,
        }
    }
}

impl From<StoredTally> for ScalingTally {
    fn from(stored: StoredTally) -> Self {
        let direction = |grew| if grew { ScaleDirection::Out } else { ScaleDirection::In };
        Self {
            replica_ms: stored.replica_ms,
            scale_outs: stored.grown,
            scale_ins: stored.shrunk,
            reversals: stored.turns,
            last_direction: stored.grew.map(direction),
            over_target_ms: stored.over_ms,
            undecided_ms: stored.held_ms,
        }
    }
}
