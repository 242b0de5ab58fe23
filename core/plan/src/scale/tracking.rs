//! Target tracking: the largest of what the metrics ask for, followed once it has been asked for long enough, and never in while
//! replicas warm up.
//!
//! That replicas that are not warm are not measured, and count as ordered, is the doing of [`Warmup::Serving`](super::classify::Warmup)
//! in the proposals.
//!
//! Source: AWS EC2 Auto Scaling, "Target tracking scaling policies" and "Set the default instance warmup".

use model::memory::PolicyMemory;
use model::resource::TrackingPolicy;
use model::time::Time;

use super::classify::Warmup;
use super::combine::{Combined, DecidedBy, largest};
use super::policy_input::{PolicyInput, since_asked};
use super::reading::{Phase, ReplicaView};
use super::stabilize::Direction;

/// The decision of target tracking, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackingDecision {
    /// The metric that asks for most, by its place in the declaration.
    pub metric: usize,
    /// How the number came about.
    pub outcome: TrackingOutcome,
}

/// How the number of a [`TrackingDecision`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingOutcome {
    /// As the metric asks.
    Followed,
    /// It has not asked for long enough.
    Waiting {
        /// For a change this way, which is made
        direction: Direction,
        /// at this time.
        until: Time,
    },
    /// Some replicas that ought to be measured are not, so that none is removed.
    Partial,
    /// Replicas warm up, so that none is removed.
    Warming {
        /// So many.
        replicas: u32,
        /// When the last one of those that are ready will be warm; `None` when none of them is ready.
        until: Option<Time>,
    },
}

/// Decides by targets; notes in `memory` since when a change has been asked for.
pub(super) fn choose(policy: TrackingPolicy, input: &PolicyInput<'_>, memory: &mut PolicyMemory) -> Combined {
    let (now, current) = (input.now, input.current);
    let largest = largest(input.asked(), current);
    let Combined::Chosen { replicas: asked, decided_by: DecidedBy::Largest { metric } } = largest else {
        since_asked(memory, now, current, current);
        return largest;
    };
    let outcome = if asked < current { unfit(policy, input) } else { None };
    let followed = if outcome.is_some() { current } else { asked };
    let since = since_asked(memory, now, current, followed);
    let (direction, wait) =
        if asked > current { (Direction::Out, policy.out_after) } else { (Direction::In, policy.in_after) };
    let until = since + wait.as_duration();
    let outcome = outcome.unwrap_or(if asked != current && now < until {
        TrackingOutcome::Waiting { direction, until }
    } else {
        TrackingOutcome::Followed
    });
    let replicas = if outcome == TrackingOutcome::Followed { asked } else { current };
    Combined::Chosen { replicas, decided_by: DecidedBy::Tracking(TrackingDecision { metric, outcome }) }
}

/// Why no replica may be removed, whatever is asked for.
fn unfit(policy: TrackingPolicy, input: &PolicyInput<'_>) -> Option<TrackingOutcome> {
    let is_partial = input.metrics.iter().flatten().any(|proposal| proposal.census.missing() > 0);
    if is_partial {
        return Some(TrackingOutcome::Partial);
    }
    let warmup = Warmup::Serving { now: input.now, warmup: policy.warmup(input.warmup) };
    let warming = || {
        let counts = |replica: &&ReplicaView| !replica.leaving && replica.phase != Phase::Unstable;
        input.replicas.iter().filter(counts).filter(|replica| !warmup.is_warm(replica))
    };
    let replicas = u32::try_from(warming().count()).unwrap_or(u32::MAX);
    let until = warming().filter_map(|replica| warmup.warm_at(replica)).max();
    (replicas > 0).then_some(TrackingOutcome::Warming { replicas, until })
}
