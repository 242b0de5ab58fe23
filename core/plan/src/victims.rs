//! Victims: which replicas are removed when there are more than wanted.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use knowledge::{Place, ResourceChange, ServiceState, Stage};
use model::identity::Ordinal;
use model::quantity::Milli;
use model::reason::Reason;
use model::resource::Remove;
use model::settings::Settings;
use model::time::Time;

use crate::context::PlanContext;

/// The replicas that are removed, and those that would be but must stay.
#[derive(Debug, Default)]
pub(crate) struct Victims {
    pub(crate) removed: Vec<Ordinal>,
    /// Replicas that must stay, each with the reason.
    pub(crate) kept: Vec<(Ordinal, Reason)>,
}

/// The `excess` places to remove: first those whose removal costs least, and of equals in the declared order.
///
/// A starting replica counts as removed, though it cannot be stopped before its start ends, so that no serving replica is removed instead. One that
/// must stay is never removed, not even when too many are left.
pub(crate) fn victims(context: PlanContext<'_>, excess: u32) -> Victims {
    let PlanContext { knowledge, service, settings, .. } = context;
    let now = context.now.time;
    let remove = removal_order(service);
    let cost_of = remove.key(&service.name);
    let costs = cost_of.and_then(|key| knowledge.values_by_place(now, service, &key)).unwrap_or_default();
    let protect_metric = ProtectMetric::of(context);
    let mut candidates: Vec<_> = service
        .counting()
        .map(|(ordinal, place)| {
            let rank = rank(now, (remove, &costs), (ordinal, place), settings);
            (cost(now, service, place), rank, Reverse(ordinal))
        })
        .collect();
    candidates.sort_unstable();
    let mut victims = Victims::default();
    for (_, _, Reverse(ordinal)) in candidates {
        match protect_metric.reason_to_stay(context, ordinal) {
            Some(why) => victims.kept.push((ordinal, why)),
            None if victims.removed.len() < excess as usize => victims.removed.push(ordinal),
            None => {}
        }
    }
    let missing = (excess as usize).saturating_sub(victims.removed.len());
    victims.kept.truncate(missing);
    victims
}

/// The metric by which replicas report that they must not be removed.
struct ProtectMetric<'s> {
    /// The name of the metric, and the value of each replica; `None` where none is declared.
    values: Option<(&'s Arc<str>, BTreeMap<Ordinal, Milli>)>,
}

impl<'s> ProtectMetric<'s> {
    fn of(context: PlanContext<'s>) -> Self {
        let PlanContext { now, knowledge, service, .. } = context;
        let scale = service.declared.as_ref().map(|declared| &declared.spec.scale);
        let values = scale.and_then(|scale| {
            let (metric, key) = (scale.protect.as_ref()?, scale.protect_key(&service.name)?);
            Some((metric, knowledge.values_by_place(now.time, service, &key).unwrap_or_default()))
        });
        Self { values }
    }

    /// Why the replica must stay; `None` where it may be removed. A serving replica also stays while its metric is not known, because it may be
    /// needed.
    fn reason_to_stay(&self, context: PlanContext<'_>, ordinal: Ordinal) -> Option<Reason> {
        let service = context.service;
        if let Some(until) = service.protected_until(context.now.time, ordinal) {
            return Some(Reason::Protected { until });
        }
        let (metric, values) = self.values.as_ref()?;
        let value = values.get(&ordinal);
        let must_stay = match value {
            Some(value) => value.0 > 0,
            None => service.places.get(&ordinal).is_some_and(Place::is_serving),
        };
        must_stay.then(|| Reason::MustStay { metric: Arc::clone(metric), is_known: value.is_some() })
    }
}

/// The declared order of removal.
pub(crate) fn removal_order(service: &ServiceState) -> &Remove {
    service.declared.as_ref().map_or(&Remove::HighestNumber, |declared| &declared.spec.scale.remove)
}

/// What is lost with a place, in ascending order: it is empty; it fails or is ejected; it is not ready; it is starting; it is to be replaced anyway;
/// it serves.
fn cost(now: Time, service: &ServiceState, place: &Place) -> u8 {
    match &place.stage {
        Stage::Empty { .. } => 0,
        Stage::Running(health) if health.unhealthy_since.is_some() => 1,
        Stage::Running(_) if place.is_ejected(now) => 1,
        Stage::Running(health) if !health.ready => 2,
        Stage::Starting { .. } => 3,
        Stage::Running(_) if service.is_outdated(place) => 4,
        Stage::Running(_) if matches!(place.resource_change, ResourceChange::Unsupported { .. }) => 4,
        // Draining and stopping replicas are not candidates.
        Stage::Running(_) | Stage::Draining { .. } | Stage::Stopping { .. } => 5,
    }
}

/// The rank of a replica among those whose removal costs the same: the smallest is removed first.
fn rank(
    now: Time,
    (remove, costs): (&Remove, &BTreeMap<Ordinal, Milli>),
    (ordinal, place): (Ordinal, &Place),
    settings: &Settings,
) -> [u64; 3] {
    let began = place.restart.began.as_millis();
    match remove {
        Remove::HighestNumber => [0; 3],
        Remove::Oldest => [began, u64::from(ordinal.0), 0],
        Remove::Newest => [u64::MAX - began, 0, 0],
        Remove::LeastBusy => {
            // Absent is not zero: one without a recent report may be the busiest.
            let is_fresh = |at: Time| now.since(at) <= settings.sample_age_max;
            let (seen, in_flight) = place.in_flight;
            let in_flight = if is_fresh(seen) { u64::from(in_flight) } else { u64::MAX };
            let rate = place.requests.last().filter(|(at, _)| is_fresh(*at));
            let rate = rate.and_then(|_| place.request_rate(settings.metric_window));
            let cpu = place.cpu.last().filter(|(at, _)| is_fresh(*at));
            let cpu = cpu.and_then(|_| place.cpu_share(settings.metric_window));
            [in_flight, rate.map_or(u64::MAX, |rate| rate.0), cpu.map_or(u64::MAX, |cpu| cpu.0)]
        }
        // Absent is not zero here either.
        Remove::Cheapest(_) => [costs.get(&ordinal).map_or(u64::MAX, |cost| ascending(*cost)), 0, 0],
    }
}

/// An unsigned number with the order of the amounts, negative ones first.
const fn ascending(amount: Milli) -> u64 {
    amount.0.cast_unsigned() ^ (1 << 63)
}
