//! Stores what must survive a restart, with a bounded frequency.

use std::sync::Arc;
use std::time::Duration;

use knowledge::{PersistedState, ServiceState};
use model::action::ActionKind;
use model::input::Declared;
use model::memory::{CapacityMemory, Memory};
use model::reason::Reason;

use crate::dispatch::Dispatch;

/// How often the volatile part of an autoscaler's memory is stored when nothing else has changed: the times of its recommendations and
/// the measurements of its policy, which change in each period.
///
/// 30 s: a tenth of the default stabilization window, so that a restart shortens it by at most that.
const SCALING_REFRESH: Duration = Duration::from_secs(30);

/// How often what is learned from samples is stored when nothing else has changed: usage, throttling, capacity.
///
/// 10 min, the interval of checkpoints of Kubernetes' recommender: a restart loses less than a hundredth of a half-life.
const USAGE_REFRESH: Duration = Duration::from_mins(10);

/// Stores what must survive a restart when it differs from what was stored last.
pub fn remember(dispatch: &mut Dispatch<'_>, service: &mut ServiceState) {
    let is_current = service.remembered.as_ref().is_some_and(|last| {
        let age = dispatch.now.time.since(last.at);
        let slack = if age < SCALING_REFRESH { SCALING_REFRESH } else { Duration::ZERO };
        is_scaling_stored(service, &last.memory, slack)
            && is_usage_stored(service, &last.memory, age)
            && is_throttling_stored(service, &last.memory, age)
            && is_capacity_stored(service, &last.memory, age)
    });
    if is_current {
        return;
    }
    // An older memory in flight must not be sent again, since it would overwrite the newer one.
    if let Some(last) = &service.remembered {
        dispatch.in_flight.finish(last.by);
    }
    let memory = Arc::new(service.memory());
    let by = dispatch.send(ActionKind::Remember(Arc::clone(&memory)), &Reason::Observed);
    service.remembered = Some(PersistedState { at: dispatch.now.time, memory, by });
}

/// Whether `last` is up to date.
///
/// A difference of less than `slack` in the times of recommendations does not count, nor, with any slack, do the measurements of a policy.
/// Allocates nothing: it is called in each period of each service.
fn is_scaling_stored(service: &ServiceState, last: &Memory, slack: Duration) -> bool {
    let (now, then) = (&service.scaling, &last.scaling);
    last.desired == service.desired
        && then.scale_out == now.scale_out
        && then.scale_in == now.scale_in
        && then.scaled_to_zero == now.scaled_to_zero
        && (then.policy == now.policy
            || (!slack.is_zero() && now.policy.differs_only_in_measurements(&then.policy)))
        && then.flaps == now.flaps
        && then.failing == now.failing
        && then.conditions == now.conditions
        && last.healing == service.healing
        && last.starts == service.starts
        && last.losses == service.losses
        && is_load_stored(service, last)
        && is_proven_stored(service, last)
        && last.shadows.len() == service.shadows.len()
        && service.shadows.iter().zip(&last.shadows).all(|(now, then)| now.is_covered_by(then, slack))
        && then.recommendations.len() == now.recommendations.len()
        && then.recommendations.iter().zip(&now.recommendations).all(|(then, now)| {
            then.replicas == now.replicas && (then.at == now.at || now.at.since(then.at) < slack)
        })
        && service.restart_memories().eq(last.restarts.iter().map(|(ordinal, restart)| (*ordinal, restart)))
}

/// Whether `last` has the current load: a record is replaced by a new one when it must be stored again.
fn is_load_stored(service: &ServiceState, last: &Memory) -> bool {
    match (&last.load, service.load_forecast.as_ref()) {
        (Some(last), Some(load_forecast)) => Arc::ptr_eq(last, load_forecast.remembered()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether `last` has the proven version as last declared.
fn is_proven_stored(service: &ServiceState, last: &Memory) -> bool {
    let revision_of = |proven: &Option<Arc<Declared>>| proven.as_ref().map(|proven| proven.revision);
    revision_of(&last.proven) == revision_of(&service.proven)
}

/// Whether `last`, stored `age` ago, has the current usage of replicas, or may lag behind it. A reset is stored at once.
fn is_usage_stored(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let is_added_to = service.usage.samples >= last.usage.samples;
    (is_added_to && age < USAGE_REFRESH) || last.usage == service.usage
}

/// The same for the throttling of replicas.
fn is_throttling_stored(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let is_added_to = service.throttling.limit == last.throttling.limit;
    (is_added_to && age < USAGE_REFRESH) || last.throttling == service.throttling
}

/// The same for the capacity of replicas.
fn is_capacity_stored(service: &ServiceState, last: &Memory, age: Duration) -> bool {
    let slo_of = |memory: &CapacityMemory| (memory.below, memory.quantile);
    let (now, then) = (service.capacity.as_deref(), last.capacity.as_deref());
    let is_added_to = now.is_some() && now.map(slo_of) == then.map(slo_of);
    (is_added_to && age < USAGE_REFRESH) || now == then
}
