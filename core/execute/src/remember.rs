//! Writing down what must survive a restart, no more often than it is worth.

use std::sync::Arc;
use std::time::Duration;

use knowledge::{PersistedState, ServiceState};
use model::action::ActionKind;
use model::memory::{CapacityMemory, Memory};
use model::reason::Reason;

use crate::dispatch::Dispatch;

/// How often the moving part of an autoscaler's memory is written when nothing else has changed: the times of its
/// recommendations and what its policy has measured, which move with each period.
///
/// 30 s: a tenth of the default stabilisation window, so that a restart shortens it by no more.
const SCALING_REFRESH: Duration = Duration::from_secs(30);

/// How often what is learned with every sample is written when nothing else has changed: usage, throttling, capacity.
///
/// 10 min, as Kubernetes' recommender writes its checkpoints: a restart forgets less than a hundredth of a half-life.
const USAGE_REFRESH: Duration = Duration::from_mins(10);

/// Sends what must survive a restart to be written, when it differs from what was written last.
pub fn remember(dispatch: &mut Dispatch<'_>, service: &mut ServiceState) {
    let is_kept = service.remembered.as_ref().is_some_and(|last| {
        let age = dispatch.now.time.since(last.at);
        let slack = if age < SCALING_REFRESH { SCALING_REFRESH } else { Duration::ZERO };
        is_scaling_written(service, &last.memory, slack)
            && is_usage_written(service, &last.memory, age)
            && is_throttling_written(service, &last.memory, age)
            && is_capacity_written(service, &last.memory, age)
    });
    if is_kept {
        return;
    }
    // An older one that is still in flight must not be sent again, or it would overwrite the newer.
    if let Some(last) = &service.remembered {
        dispatch.in_flight.finish(last.by);
    }
    let memory = Arc::new(service.memory());
    let by = dispatch.send(ActionKind::Remember(Arc::clone(&memory)), &Reason::Observed);
    service.remembered = Some(PersistedState { at: dispatch.now.time, memory, by });
}

/// Whether `last` says what is to be remembered now.
///
/// A difference of less than `slack` in the times of recommendations does not count, nor, with any slack, does what a policy has measured
/// since. Allocates nothing: this is asked in each period of each service.
fn is_scaling_written(service: &ServiceState, last: &Memory, slack: Duration) -> bool {
    let (now, then) = (&service.scaling, &last.scaling);
    last.desired == service.desired
        && then.scale_out == now.scale_out
        && then.scale_in == now.scale_in
        && then.scaled_to_zero == now.scaled_to_zero
        && (then.policy == now.policy || (!slack.is_zero() && now.policy.is_as(&then.policy)))
        && then.flaps == now.flaps
        && then.failing == now.failing
        && then.conditions == now.conditions
        && last.healing == service.healing
        && last.starts == service.starts
        && last.losses == service.losses
        && is_load_written(service, last)
        && last.shadows.len() == service.shadows.len()
        && service.shadows.iter().zip(&last.shadows).all(|(now, then)| now.is_kept_by(then, slack))
        && then.recommendations.len() == now.recommendations.len()
        && then.recommendations.iter().zip(&now.recommendations).all(|(then, now)| {
            then.replicas == now.replicas && (then.at == now.at || now.at.since(then.at) < slack)
        })
        && service.taught().eq(last.restarts.iter().map(|(ordinal, restart)| (*ordinal, restart)))
}

/// Whether `last` has the load that is to be remembered: a record is replaced by a new one when it must be written again.
fn is_load_written(service: &ServiceState, last: &Memory) -> bool {
    match (&last.load, service.foresight.as_ref()) {
        (Some(last), Some(foresight)) => Arc::ptr_eq(last, foresight.remembered()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether `last`, written `age` ago, has the present usage of replicas, or may still lag behind it. A reset is written at once.
fn is_usage_written(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let is_added_to = service.usage.samples >= last.usage.samples;
    (is_added_to && age < USAGE_REFRESH) || last.usage == service.usage
}

/// The same of how often replicas are throttled.
fn is_throttling_written(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let is_added_to = service.throttling.limit == last.throttling.limit;
    (is_added_to && age < USAGE_REFRESH) || last.throttling == service.throttling
}

/// The same of what replicas carry.
fn is_capacity_written(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let of_promise = |memory: &CapacityMemory| (memory.below, memory.quantile);
    let (now, then) = (service.capacity.as_deref(), last.capacity.as_deref());
    let is_added_to = now.is_some() && now.map(of_promise) == then.map(of_promise);
    (is_added_to && age < USAGE_REFRESH) || now == then
}
