//! Bounds and rates: how far a number of replicas may go at once.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `convertDesiredReplicasWithRules` and
//! `convertDesiredReplicasWithBehaviorRate`.

use model::memory::ScalingMemory;
use model::resource::{Behavior, Bounds, PolicyChange, ScalingPolicy, ScalingRules, SelectPolicy};
use model::time::Time;

use super::log::change_within;
use super::policy_input::within_32_bits;
use super::stabilize::Direction;

/// How far a service without a behavior may grow in one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The largest multiple of the current number.
    pub factor: u32,
    /// The number that is always allowed, if it is more than that multiple.
    pub at_least: u32,
}

/// Kubernetes' growth without a behavior: a wrong measurement must not fill the cluster at once.
pub const GROWTH: Growth = Growth { factor: 2, at_least: 4 };

/// A number of replicas after bounds and rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The number before.
    pub from: u32,
    /// The number after.
    pub replicas: u32,
    /// What changed it; `None` when nothing did.
    pub by: Option<LimitedBy>,
}

/// What may change a number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// The fewest replicas allowed.
    Min,
    /// The most replicas allowed.
    Max,
    /// The growth allowed without a behavior.
    Growth(Growth),
    /// The policies of the behavior.
    Rate(Rate),
}

/// What the policies of one direction allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The direction of the change.
    pub direction: Direction,
    /// The number that may not be passed.
    pub limit: u32,
    /// The policy that decided, as it was applied; `None` when changes in this direction are disabled.
    pub policy: Option<Applied>,
}

/// A policy as it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The policy.
    pub policy: ScalingPolicy,
    /// Replicas at the start of its period.
    pub base: i64,
    /// The number of replicas that it allows; below 0 when more may be removed than there are.
    pub allowed: i64,
}

/// Limits without a behavior.
pub fn without_behavior(current: u32, wanted: u32, bounds: Bounds, growth: Growth) -> Limited {
    let limit = current.saturating_mul(growth.factor).max(growth.at_least);
    let (most, limited_by) =
        if bounds.max > limit { (limit, LimitedBy::Growth(growth)) } else { (bounds.max, LimitedBy::Max) };
    if wanted < bounds.min {
        Limited { from: wanted, replicas: bounds.min, by: Some(LimitedBy::Min) }
    } else if wanted > most {
        Limited { from: wanted, replicas: most, by: Some(limited_by) }
    } else {
        Limited { from: wanted, replicas: wanted, by: None }
    }
}

/// Limits with a behavior: the bounds, and one rate for each direction.
pub fn with_behavior(
    memory: &ScalingMemory,
    now: Time,
    current: u32,
    wanted: u32,
    bounds: Bounds,
    behavior: &Behavior,
) -> Limited {
    let (allowed, limited_by) = if wanted > current {
        let rate = rate_out(memory, now, current, &behavior.scale_up);
        if bounds.max > rate.limit {
            (rate.limit, LimitedBy::Rate(rate))
        } else {
            (bounds.max, LimitedBy::Max)
        }
    } else {
        let rate = rate_in(memory, now, current, &behavior.scale_down);
        if bounds.min < rate.limit {
            (rate.limit, LimitedBy::Rate(rate))
        } else {
            (bounds.min, LimitedBy::Min)
        }
    };
    let is_allowed = if wanted > current { wanted <= allowed } else { wanted >= allowed };
    if wanted == current || is_allowed {
        Limited { from: wanted, replicas: wanted, by: None }
    } else {
        Limited { from: wanted, replicas: allowed, by: Some(limited_by) }
    }
}

/// The number that scaling out may not pass now; never below `current`, even when recent changes exceed a tightened policy.
pub fn rate_out(memory: &ScalingMemory, now: Time, current: u32, rules: &ScalingRules) -> Rate {
    let applied = rules.policies.iter().map(|policy| apply(memory, now, current, policy, Direction::Out));
    let policy = match rules.select {
        SelectPolicy::Max => applied.max_by_key(|applied| applied.allowed),
        SelectPolicy::Min => applied.min_by_key(|applied| applied.allowed),
        SelectPolicy::Disabled => None,
    };
    let limit = policy.map_or(current, |applied| within_32_bits(applied.allowed.into()).max(current));
    Rate { direction: Direction::Out, limit, policy }
}

/// The number that scaling in may not pass now; never above `current`.
pub fn rate_in(memory: &ScalingMemory, now: Time, current: u32, rules: &ScalingRules) -> Rate {
    let applied = rules.policies.iter().map(|policy| apply(memory, now, current, policy, Direction::In));
    let policy = match rules.select {
        SelectPolicy::Max => applied.min_by_key(|applied| applied.allowed),
        SelectPolicy::Min => applied.max_by_key(|applied| applied.allowed),
        SelectPolicy::Disabled => None,
    };
    let limit = policy.map_or(current, |applied| within_32_bits(applied.allowed.into()).min(current));
    Rate { direction: Direction::In, limit, policy }
}

/// The number that `policy` allows, given the changes in both directions within its period.
fn apply(
    memory: &ScalingMemory,
    now: Time,
    current: u32,
    policy: &ScalingPolicy,
    direction: Direction,
) -> Applied {
    let added = change_within(&memory.scale_out, now, policy.period);
    let removed = change_within(&memory.scale_in, now, policy.period);
    let base = i64::from(current) - added + removed;
    let allowed = match (policy.change, direction) {
        (PolicyChange::Pods(pods), Direction::Out) => base + i64::from(pods),
        (PolicyChange::Pods(pods), Direction::In) => base - i64::from(pods),
        // In floating point, rounded up when scaling out and truncated when scaling in: exactly as Kubernetes does.
        (PolicyChange::Percent(percent), Direction::Out) => {
            (base as f64 * (1.0 + f64::from(percent.0) / 100.0)).ceil() as i64
        }
        (PolicyChange::Percent(percent), Direction::In) => {
            (base as f64 * (1.0 - f64::from(percent.0) / 100.0)) as i64
        }
    };
    Applied { policy: *policy, base, allowed }
}
