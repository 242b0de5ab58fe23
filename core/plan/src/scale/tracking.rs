//! Target tracking: the largest proposal of the metrics, followed once it has lasted, without scaling in while replicas warm up.
//!
//! Replicas that are not warm yet do not count with their samples, which is done by [`Warmup::Serving`](super::classify::Warmup) in the proposals.
//!
//! Source: AWS EC2 Auto Scaling, "Target tracking scaling policies" and "Set the default instance warmup".

use model::memory::PolicyMemory;
use model::resource::TrackingPolicy;
use model::time::Time;

use super::choice::{Choice, NoChoice, largest};
use super::classify::Warmup;
use super::policy_input::{PolicyInput, wanted_since};
use super::reading::{Phase, ReplicaView};
use super::stabilize::Direction;

/// The decision of target tracking, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackingDecision {
    /// The metric with the largest proposal, by its place in the declaration.
    pub metric: usize,
    /// How the number came about.
    pub outcome: TrackingOutcome,
}

/// How the number of a [`TrackingDecision`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingOutcome {
    /// The proposal of the metric is followed.
    Followed,
    /// The proposal has not lasted long enough.
    Waiting {
        /// The direction of the change.
        direction: Direction,
        /// When the change is made.
        until: Time,
    },
    /// Some replicas that should be measured are not, so that none is removed.
    Partial,
    /// Replicas warm up, so that none is removed.
    WarmingUp {
        /// How many warm up.
        replicas: u32,
        /// When the last of the ready ones will be warm; `None` when none of them is ready.
        until: Option<Time>,
    },
}

/// Decides by targets; records in `memory` since when a change has been wanted.
pub(super) fn choose(
    policy: TrackingPolicy,
    input: &PolicyInput<'_>,
    memory: &mut PolicyMemory,
) -> Result<Choice<TrackingDecision>, NoChoice> {
    let (now, current) = (input.now, input.current);
    let largest = largest(input.proposals(), current);
    let Choice { replicas: proposal, decided_by: metric } = largest.inspect_err(|_| {
        wanted_since(memory, now, current, current);
    })?;
    let blocker = if proposal < current { scale_in_blocker(policy, input) } else { None };
    let followed = if blocker.is_some() { current } else { proposal };
    let since = wanted_since(memory, now, current, followed);
    let (direction, wait) = if proposal > current {
        (Direction::Out, policy.out_after)
    } else {
        (Direction::In, policy.in_after)
    };
    let until = since + wait.as_duration();
    let outcome = blocker.unwrap_or(if proposal != current && now < until {
        TrackingOutcome::Waiting { direction, until }
    } else {
        TrackingOutcome::Followed
    });
    let replicas = if outcome == TrackingOutcome::Followed { proposal } else { current };
    Ok(Choice { replicas, decided_by: TrackingDecision { metric, outcome } })
}

/// Why no replica may be removed, whatever is proposed.
fn scale_in_blocker(policy: TrackingPolicy, input: &PolicyInput<'_>) -> Option<TrackingOutcome> {
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
    (replicas > 0).then_some(TrackingOutcome::WarmingUp { replicas, until })
}
