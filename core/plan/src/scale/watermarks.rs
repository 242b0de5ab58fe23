//! The watermark policy: replicas are added above the high watermark and removed below the low one; between them the number stays.
//!
//! Source: DataDog/watermarkpodautoscaler `replica_calculator.go`, `getReplicaCount`. There the low watermark alone determines how far
//! the number falls, and rounding may bring the load of the rest above the high one, which adds replicas again. Here both watermarks do, so that a
//! constant load changes the number at most once.

use model::memory::PolicyMemory;
use model::resource::WatermarkPolicy;
use model::time::Time;

use super::choice::{Choice, NoChoice};
use super::policy_input::{PolicyInput, replicas_at_least, replicas_at_most, wanted_since};
use super::reading::Milli;
use super::stabilize::Direction;

/// The decision of a watermark policy, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkDecision {
    /// The metric, by its place in the declaration.
    pub metric: usize,
    /// Its value.
    pub value: Milli,
    /// The total over all replicas.
    pub load: Milli,
    /// How the number came about.
    pub outcome: WatermarkOutcome,
}

/// How the number of a [`WatermarkDecision`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatermarkOutcome {
    /// The number stays: the value is between the watermarks, or no other number would bring it there.
    Unchanged,
    /// The value has not been beyond the watermark for long enough.
    Waiting {
        /// The direction of the change.
        direction: Direction,
        /// The number after the change.
        replicas: u32,
        /// When the change is made.
        until: Time,
    },
    /// Some replicas that should be measured are not, so that none is removed.
    Partial,
    /// The number changes.
    Changed {
        /// The direction of the change.
        direction: Direction,
        /// The number after the change.
        replicas: u32,
    },
}

/// Decides by watermarks; records in `memory` since when the value has been beyond one.
pub(super) fn choose(
    policy: &WatermarkPolicy,
    input: &PolicyInput<'_>,
    memory: &mut PolicyMemory,
) -> Result<Choice<WatermarkDecision>, NoChoice> {
    let (now, current) = (input.now, input.current);
    let (metric, proposal) = input.only_metric();
    let Some(proposal) = proposal else {
        wanted_since(memory, now, current, current);
        return Err(NoChoice::without(metric));
    };
    let value = proposal.level.value().max(Milli(0));
    let load = input.load(metric, proposal);
    let wanted = replicas_between_watermarks(policy, value, load, current);
    let is_partial = wanted < current && proposal.census.missing() > 0;
    let followed = if is_partial { current } else { wanted };
    let since = wanted_since(memory, now, current, followed);
    let (direction, wait) =
        if wanted > current { (Direction::Out, policy.out_after) } else { (Direction::In, policy.in_after) };
    let until = since + wait.as_duration();
    let (replicas, outcome) = if is_partial {
        (current, WatermarkOutcome::Partial)
    } else if wanted == current {
        (current, WatermarkOutcome::Unchanged)
    } else if now < until {
        (current, WatermarkOutcome::Waiting { direction, replicas: wanted, until })
    } else {
        (wanted, WatermarkOutcome::Changed { direction, replicas: wanted })
    };
    let load = Milli(i64::try_from(load).unwrap_or(i64::MAX));
    Ok(Choice { replicas, decided_by: WatermarkDecision { metric, value, load, outcome } })
}

/// The replicas that bring a value beyond a watermark back between them.
fn replicas_between_watermarks(policy: &WatermarkPolicy, value: Milli, load: i128, current: u32) -> u32 {
    let (high, low) = (Milli(policy.high.milli()), Milli(policy.low.milli()));
    if value > high {
        replicas_at_most(load, high).max(current)
    } else if value < low {
        replicas_at_least(load, low).max(replicas_at_most(load, high)).min(current)
    } else {
        current
    }
}
