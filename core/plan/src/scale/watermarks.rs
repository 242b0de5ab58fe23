//! High and low watermark: replicas are added above the one and removed below the other, and between them the number rests.
//!
//! Source: DataDog/watermarkpodautoscaler `replica_calculator.go`, `getReplicaCount`. There the low watermark alone says how far the
//! number falls, and rounding may lift what is left over the high one, which adds again; here both watermarks do, so that a load that
//! does not change is followed once and then rests.

use model::memory::PolicyMemory;
use model::resource::WatermarkPolicy;
use model::time::Time;

use super::combine::{Combined, DecidedBy};
use super::policy_input::{PolicyInput, replicas_at_least, replicas_at_most, since_asked};
use super::reading::Milli;
use super::stabilize::Direction;

/// The decision of a watermark policy, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkDecision {
    /// The metric, by its place in the declaration.
    pub metric: usize,
    /// Its value.
    pub value: Milli,
    /// What all replicas together carry of it.
    pub load: Milli,
    /// How the number came about.
    pub outcome: WatermarkOutcome,
}

/// How the number of a [`WatermarkDecision`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatermarkOutcome {
    /// The value lies between the watermarks, or no other number would bring it there.
    Resting,
    /// The value has not been beyond the watermark for long enough.
    Waiting {
        /// Of a change this way,
        direction: Direction,
        /// to so many replicas,
        asked: u32,
        /// at this time.
        until: Time,
    },
    /// Some replicas that ought to be measured are not, so that none is removed.
    Partial,
    /// The number changes.
    Beyond {
        /// Which way.
        direction: Direction,
        /// To so many replicas.
        asked: u32,
    },
}

/// Decides by watermarks; notes in `memory` since when the value has been beyond one.
pub(super) fn choose(
    policy: &WatermarkPolicy,
    input: &PolicyInput<'_>,
    memory: &mut PolicyMemory,
) -> Combined {
    let (now, current) = (input.now, input.current);
    let (metric, proposal) = input.only_metric();
    let Some(proposal) = proposal else {
        since_asked(memory, now, current, current);
        return Combined::Held { invalid: metric, asked: None };
    };
    let value = proposal.level.value().max(Milli(0));
    let load = input.load(metric, proposal);
    let asked = asked(policy, value, load, current);
    let is_partial = asked < current && proposal.census.missing() > 0;
    let followed = if is_partial { current } else { asked };
    let since = since_asked(memory, now, current, followed);
    let (direction, wait) =
        if asked > current { (Direction::Out, policy.out_after) } else { (Direction::In, policy.in_after) };
    let until = since + wait.as_duration();
    let (replicas, outcome) = if is_partial {
        (current, WatermarkOutcome::Partial)
    } else if asked == current {
        (current, WatermarkOutcome::Resting)
    } else if now < until {
        (current, WatermarkOutcome::Waiting { direction, asked, until })
    } else {
        (asked, WatermarkOutcome::Beyond { direction, asked })
    };
    let load = Milli(i64::try_from(load).unwrap_or(i64::MAX));
    Combined::Chosen {
        replicas,
        decided_by: DecidedBy::Watermarks(WatermarkDecision { metric, value, load, outcome }),
    }
}

/// How many replicas bring a value beyond a watermark between them.
fn asked(policy: &WatermarkPolicy, value: Milli, load: i128, current: u32) -> u32 {
    let (high, low) = (Milli(policy.high.milli()), Milli(policy.low.milli()));
    if value > high {
        replicas_at_most(load, high).max(current)
    } else if value < low {
        replicas_at_least(load, low).max(replicas_at_most(load, high)).min(current)
    } else {
        current
    }
}
