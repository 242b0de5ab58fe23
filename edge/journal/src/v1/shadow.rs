//! The stored form of the memory of shadow autoscalers.

use model::memory::{Difference, Heading, ShadowMemory, SizeChange, Tally};
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

impl From<Tally> for StoredTally {
    fn from(tally: Tally) -> Self {
        let Tally { replica_ms, grown, shrunk, turns, heading, over_ms, held_ms } = tally;
        let grew = match heading {
            Heading::None => None,
            Heading::Out => Some(true),
            Heading::In => Some(false),
        };
        Self { replica_ms, grown, shrunk, turns, grew, over_ms, held_ms }
    }
}

impl From<StoredTally> for Tally {
    fn from(stored: StoredTally) -> Self {
        let StoredTally { replica_ms, grown, shrunk, turns, grew, over_ms, held_ms } = stored;
        let heading = match grew {
            None => Heading::None,
            Some(true) => Heading::Out,
            Some(false) => Heading::In,
        };
        Self { replica_ms, grown, shrunk, turns, heading, over_ms, held_ms }
    }
}
