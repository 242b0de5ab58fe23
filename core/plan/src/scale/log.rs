//! The logs of an autoscaler: recommendations and changes of size, each in bounded space.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `stabilizeRecommendation*` and `storeScaleEvent`. As there, the last outdated
//! slot is reused. The one difference: a number that is in the log already gets the new time in its old slot. Windows need only the largest and the
//! smallest number, so nothing is lost, and the log grows with the distinct numbers of a window instead of with the rate of decisions.

use std::time::Duration;

use model::memory::{RECOMMENDATIONS_MAX, Recommendation, SCALE_EVENTS_MAX, ScaleEvent, ScalingMemory};
use model::resource::{Behavior, ScalingRules};
use model::time::Time;

/// Records that `replicas` was recommended at `now`. Recommendations older than `keep` are outdated.
pub fn record_recommendation(log: &mut Vec<Recommendation>, now: Time, replicas: u32, keep: Duration) {
    let latest = Recommendation { at: now, replicas };
    if let Some(slot) = log.iter_mut().find(|slot| slot.replicas == replicas) {
        *slot = latest;
    } else if let Some(slot) = log.iter_mut().rev().find(|slot| now.since(slot.at) > keep) {
        *slot = latest;
    } else {
        if log.len() >= RECOMMENDATIONS_MAX {
            merge_nearest(log);
        }
        log.push(latest);
    }
}

/// Merges the two nearest numbers into the larger one, at the later time.
fn merge_nearest(log: &mut Vec<Recommendation>) {
    log.sort_unstable_by_key(|slot| slot.replicas);
    let gap = |at: &usize| log[at + 1].replicas - log[*at].replicas;
    if let Some(lower) = (0..log.len().saturating_sub(1)).min_by_key(gap) {
        let merged = log.remove(lower);
        log[lower].at = log[lower].at.max(merged.at);
    }
}

/// Records a change of size, for the rate policies of `behavior`. Without a behavior nothing is recorded, as no policy needs it.
pub fn record_change(
    memory: &mut ScalingMemory,
    now: Time,
    previous: u32,
    desired: u32,
    behavior: Option<&Behavior>,
) {
    let Some(behavior) = behavior else { return };
    let (events, rules) = if desired > previous {
        (&mut memory.scale_out, &behavior.scale_up)
    } else {
        (&mut memory.scale_in, &behavior.scale_down)
    };
    let change = desired.abs_diff(previous);
    if change > 0 {
        record_event(events, now, change, longest_period(rules));
    }
}

fn record_event(events: &mut Vec<ScaleEvent>, now: Time, change: u32, keep: Duration) {
    for event in events.iter_mut().filter(|event| now.since(event.at) > keep) {
        event.outdated = true;
    }
    let latest = ScaleEvent { at: now, change, outdated: false };
    if let Some(slot) = events.iter_mut().rev().find(|event| event.outdated) {
        *slot = latest;
        return;
    }
    if events.len() >= SCALE_EVENTS_MAX {
        // Both count for as long as the later one: the rate may be limited a second too long, but never exceeded.
        events.sort_by_key(|event| event.at);
        let oldest = events.remove(0);
        events[0].change = events[0].change.saturating_add(oldest.change);
    }
    events.push(latest);
}

/// Replicas added or removed within the last `period`. An event just as old as the period is over.
pub fn change_within(events: &[ScaleEvent], now: Time, period: Duration) -> i64 {
    events.iter().filter(|event| now.since(event.at) < period).map(|event| i64::from(event.change)).sum()
}

fn longest_period(rules: &ScalingRules) -> Duration {
    rules.policies.iter().map(|policy| policy.period).max().unwrap_or_default()
}
