//! Folds the intent of people into the knowledge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use execute::Outbox;
use knowledge::{Exposure, Hold, Knowledge, Pause, Place, Protection, ServiceState, ShadowSet, Stage};
use model::event::EventKind;
use model::input::{Declared, Intent};
use model::memory::{ConditionsMemory, Memory, PolicyMemory};
use model::name::ServiceName;
use model::plan::Role;
use model::reason::Reason;
use model::resource::{AutoscalerSpec, ObjectName, Recover};
use model::time::{Now, Time, Wall};

/// Folds one change of intent; its service is due to be planned for at once.
pub(crate) fn fold(now: Now, knowledge: &mut Knowledge, intent: &Intent, out: &mut Outbox) {
    match intent {
        Intent::Declare(declared) => declare(now, knowledge, declared, out),
        Intent::Withdraw(name) => withdraw(now, knowledge, name, out),
        Intent::Hold { service, replicas, until } => {
            let service = knowledge.service_or_new(service);
            service.hold = Some(Hold { replicas: *replicas, until: *until });
            service.next_sync = now.time;
        }
        Intent::Release(service) => {
            let Some(service) = knowledge.service_mut(service) else { return };
            service.hold = None;
            service.next_sync = now.time;
        }
        Intent::Pause { service: name, until } => {
            let service = knowledge.service_or_new(name);
            service.pause = Some(Pause { until: *until });
            service.next_sync = now.time;
            out.record_event(now, name, None, EventKind::Paused, Reason::Paused { until: *until });
        }
        Intent::Resume(name) => {
            let Some(service) = knowledge.service_mut(name) else { return };
            if service.pause.take().is_some() {
                service.next_sync = now.time;
                out.record_event(now, name, None, EventKind::Resumed, Reason::Resumed);
            }
        }
        Intent::Protect { replica, incarnation, until } => {
            let service = knowledge.service_or_new(&replica.service);
            service.protections.retain(|_, protection| now.time < protection.until);
            service
                .protections
                .insert(replica.ordinal, Protection { incarnation: *incarnation, until: *until });
            service.next_sync = now.time;
            let protected = Some((replica.ordinal, *incarnation));
            out.record_event(
                now,
                &replica.service,
                protected,
                EventKind::Protected,
                Reason::Protected { until: *until },
            );
        }
        Intent::Unprotect(replica) => {
            let Some(service) = knowledge.service_mut(&replica.service) else { return };
            if let Some(Protection { incarnation, .. }) = service.protections.remove(&replica.ordinal) {
                service.next_sync = now.time;
                let unprotected = Some((replica.ordinal, incarnation));
                out.record_event(now, &replica.service, unprotected, EventKind::Unprotected, Reason::Resumed);
            }
        }
    }
}

/// Folds a declaration, and forgets what was learned under an earlier one where it does not apply to this one.
fn declare(now: Now, knowledge: &mut Knowledge, declared: &Arc<Declared>, out: &mut Outbox) {
    let service = knowledge.service_or_new(&declared.name);
    let before = service.declared.as_deref().map(dependencies).unwrap_or_default();
    if service.declared.as_ref().is_some_and(|before| before.generation != declared.generation) {
        // The new version is started at once.
        service.places.values_mut().for_each(|place| place.restart.forget_failures());
    }
    if service.declared.as_ref().is_some_and(|before| is_scaling_changed(before, declared)) {
        let scaling = Arc::make_mut(&mut service.scaling);
        scaling.policy = PolicyMemory::default();
        scaling.failing.clear();
        service.load_forecast.iter_mut().for_each(|load_forecast| load_forecast.forget_targets(now.time));
    }
    if declared.autoscaler.is_none() {
        Arc::make_mut(&mut service.scaling).conditions = ConditionsMemory::default();
    }
    if let Some(before) = &service.declared {
        let kept = unchanged_shadows(now.wall, before, declared);
        service.shadows.retain(|shadow| kept.contains(&shadow.name));
    }
    service.losses.since.get_or_insert(now.time);
    service.shadow_set = ShadowSet::of(declared);
    service.declared = Some(declared.clone());
    service.last_declared = Some(declared.clone());
    if !service.learns_usage() {
        service.usage = Default::default();
    }
    if service.slo().is_none() {
        service.capacity = None;
    }
    service.set_load_forecast(now.time, None);
    service.next_sync = now.time;
    knowledge.set_dependencies(&declared.name, &before, &dependencies(declared));
    out.record_event(now, &declared.name, None, EventKind::Declared, Reason::Declared);
}

/// Folds a withdrawal: the service depends on no other any more while its replicas are stopped, and what operators ordered ends with it.
fn withdraw(now: Now, knowledge: &mut Knowledge, name: &ServiceName, out: &mut Outbox) {
    let Some(service) = knowledge.service_mut(name) else { return };
    (service.hold, service.pause) = (None, None);
    service.protections.clear();
    // A service that is declared again counts its generations anew.
    service.proven = None;
    let Some(declared) = service.declared.take() else { return };
    knowledge.set_dependencies(name, &dependencies(&declared), &[]);
    out.record_event(now, name, None, EventKind::Withdrawn, Reason::Withdrawn);
}

/// The services that `declared` depends on.
fn dependencies(declared: &Declared) -> Vec<ServiceName> {
    declared.spec.depends_on.iter().map(|dependency| dependency.service.clone()).collect()
}

/// Whether the policy or its metrics have changed, so that earlier measurements do not apply.
fn is_scaling_changed(before: &Declared, after: &Declared) -> bool {
    match (&before.autoscaler, &after.autoscaler) {
        (Some(before), Some(after)) => before.policy != after.policy || before.metrics != after.metrics,
        (Some(_), None) | (None, _) => true,
    }
}

/// The shadows that have not changed and keep their memory.
fn unchanged_shadows(at: Wall, before: &Declared, after: &Declared) -> BTreeSet<ObjectName> {
    let earlier: BTreeMap<ObjectName, AutoscalerSpec> = before.shadows(at).collect();
    let is_kept =
        |(name, spec): &(ObjectName, AutoscalerSpec)| earlier.get(name).is_some_and(|known| known == spec);
    after.shadows(at).filter(is_kept).map(|(name, _)| name).collect()
}

/// Restores the memory of a service from an earlier run.
///
/// Creates its places as empty ones, so that their restarts and backoff are known when the inventory fills them. Starting a replica in a place
/// that stays empty is not a restart, as the whole machine may have been restarted.
pub(crate) fn restore(now: Time, knowledge: &mut Knowledge, memory: &Memory) {
    knowledge.restore_restarts(&memory.healing.restarted);
    let service = knowledge.service_or_new(&memory.service);
    service.desired = memory.desired;
    service.scaling = Arc::new(memory.scaling.clone());
    service.shadows = memory.shadows.iter().cloned().map(Arc::new).collect();
    service.healing = memory.healing.clone();
    service.usage = memory.usage.clone();
    service.throttling = memory.throttling.clone();
    service.starts = memory.starts.clone();
    if memory.losses.since.is_some() {
        service.losses = memory.losses.clone();
    }
    service.capacity.clone_from(&memory.capacity);
    service.proven = remembered_proven(service.declared.as_deref(), memory.proven.as_ref());
    service.set_load_forecast(now, memory.load.as_ref());
    // The proxy may still listen because of an earlier run, so whether it should is sent again.
    if service.exposure == Exposure::None {
        service.exposure = Exposure::unknown(now);
    }
    for (ordinal, restart) in &memory.restarts {
        let place = service.places.entry(*ordinal).or_insert_with(|| Place::empty(Role::Active, now));
        place.restart = restart.clone();
    }
}

/// The proven version that was remembered, unless it is of an earlier service of the same name: that one's revisions were counted apart.
fn remembered_proven(
    declared: Option<&Declared>,
    remembered: Option<&Arc<Declared>>,
) -> Option<Arc<Declared>> {
    let declared = declared?;
    remembered.filter(|proven| proven.revision <= declared.revision).cloned()
}

/// Marks the running replicas beyond the wanted number as spares, after the first inventory.
///
/// It does not matter which of them were the spares of the earlier run, as all are warm.
pub(crate) fn recognise_spares(service: &mut ServiceState) {
    let (Some(declared), Some(desired)) = (&service.declared, service.desired) else { return };
    let wanted = match declared.spec.recover {
        Recover::Standby { spares } => spares as usize,
        Recover::Reschedule | Recover::MostActive | Recover::Random => 0,
    };
    let runs = |place: &&mut Place| place.role == Role::Active && matches!(place.stage, Stage::Running(_));
    let running = service.places.values().filter(|place| matches!(place.stage, Stage::Running(_))).count();
    let beyond = running.saturating_sub(desired as usize).min(wanted);
    for place in service.places.values_mut().rev().filter(runs).take(beyond) {
        place.role = Role::Spare;
    }
}
