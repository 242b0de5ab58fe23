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
use super::combine::{Choice, Combined, largest};
use super::question::{Question, since_asked};
use super::reading::{Phase, ReplicaView};
use super::stabilize::Direction;

/// What the tracking of targets came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The metric that asks for most, by its place in the declaration.
    pub metric: usize,
    /// How the number came about.
    pub course: TrackCourse,
}

/// How the number of a [`Tracked`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackCourse {
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
pub(super) fn choose(policy: TrackingPolicy, question: &Question<'_>, memory: &mut PolicyMemory) -> Combined {
    let (now, current) = (question.now, question.current);
    let largest = largest(question.asked(), current);
    let Combined::Chosen { replicas: asked, choice: Choice::Largest { metric } } = largest else {
        since_asked(memory, now, current, current);
        return largest;
    };
    let course = if asked < current { unfit(policy, question) } else { None };
    let followed = if course.is_some() { current } else { asked };
    let since = since_asked(memory, now, current, followed);
    let (direction, wait) =
        if asked > current { (Direction::Out, policy.out_after) } else { (Direction::In, policy.in_after) };
    let until = since + wait.as_duration();
    let course = course.unwrap_or(if asked != current && now < until {
        TrackCourse::Waiting { direction, until }
    } else {
        TrackCourse::Followed
    });
    let replicas = if course == TrackCourse::Followed { asked } else { current };
    Combined::Chosen { replicas, choice: Choice::Tracking(Tracked { metric, course }) }
}

/// Why no replica may be removed, whatever is asked for.
fn unfit(policy: TrackingPolicy, question: &Question<'_>) -> Option<TrackCourse> {
    let is_partial = question.metrics.iter().flatten().any(|proposal| proposal.census.missing() > 0);
    if is_partial {
        return Some(TrackCourse::Partial);
    }
    let warmup = Warmup::Serving { now: question.now, warmup: policy.warmup(question.warmup) };
    let warming = || {
        let counts = |replica: &&ReplicaView| !replica.leaving && replica.phase != Phase::Unstable;
        question.replicas.iter().filter(counts).filter(|replica| !warmup.is_warm(replica))
    };
    let replicas = u32::try_from(warming().count()).unwrap_or(u32::MAX);
    let until = warming().filter_map(|replica| warmup.warm_at(replica)).max();
    (replicas > 0).then_some(TrackCourse::Warming { replicas, until })
}
