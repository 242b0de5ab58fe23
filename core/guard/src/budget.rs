//! The limits: each returns `None` to let a step pass, or the reason to refuse it.

use std::sync::Arc;

use knowledge::{PastRestart, RESTART_WINDOW};
use model::identity::{Generation, Ordinal};
use model::plan::{AfterStop, Change, Initiator, Role, Step};
use model::quantity::Bytes;
use model::reason::{Reason, StormScope};
use model::resource::Resources;
use model::time::Time;

use crate::projection::Projection;

/// The desired size stays within the declared bounds and the maximum of replicas of one service.
pub(crate) fn bounds(projection: &Projection<'_>, to: u32) -> Option<Reason> {
    let (min, max) = declared_bounds(projection);
    (to < min || to > max).then_some(Reason::Bounds { min, max })
}

/// A place is opened only for a desired replica, or for one that replaces another.
///
/// Places that are being closed do not count; with them there are at most twice as many as the maximum of one service.
pub(crate) fn places(projection: &Projection<'_>, role: Role, initiator: Initiator) -> Option<Reason> {
    let (min, max) = declared_bounds(projection);
    let max_places = projection.settings.replicas_max.saturating_mul(2);
    let is_over = match role {
        Role::Active => {
            let surge = u32::from(matches!(initiator, Initiator::Rollout | Initiator::Vertical));
            projection.counting >= projection.desired.min(max).saturating_add(surge)
        }
        Role::Spare => false,
    };
    (is_over || projection.places >= max_places).then_some(Reason::Bounds { min, max })
}

/// Restarts are limited for each node and for all nodes; the first start of a version is not a restart.
///
/// Replicas that keep failing may use up a limit again and again. For those that had been healthy, half as many restarts again are kept,
/// so that they do not wait for crash loops.
pub(crate) fn restarts(
    projection: &Projection<'_>,
    (ordinal, generation): (Ordinal, Generation),
) -> Option<Reason> {
    let place = projection.place(ordinal).filter(|place| place.is_restart(generation))?;
    let settings = projection.settings;
    let limits = [
        (StormScope::Cluster, settings.cluster_restarts_per_minute),
        (StormScope::Node, settings.node_restarts_per_minute),
    ];
    limits.into_iter().find_map(|(scope, limit)| {
        let mut until = free_at(projection, limit, |_| true)?;
        if place.had_been_healthy() {
            until = until.min(free_at(projection, limit.div_ceil(2), |restart| restart.was_healthy)?);
        }
        Some(Reason::StormLimit { scope, until })
    })
}

/// When fewer than `limit` of the last minute's restarts that are counted will be left; `None` when there are fewer now.
fn free_at(
    projection: &Projection<'_>,
    limit: u32,
    is_counted: impl Fn(&PastRestart) -> bool,
) -> Option<Time> {
    if limit == 0 {
        return Some(projection.now.time + RESTART_WINDOW);
    }
    let last_allowed =
        projection.restarts.iter().filter(|restart| is_counted(restart)).nth(limit as usize - 1)?;
    Some(last_allowed.at + RESTART_WINDOW)
}

/// A protected replica is not removed.
///
/// A replica that an operator protects is neither removed by a scale-in nor replaced by vertical scaling; healing and rollouts continue.
/// A replica that reports that it must stay, or that serves and reports nothing, is not removed by a scale-in.
pub(crate) fn protection(projection: &Projection<'_>, step: &Step, ordinal: Ordinal) -> Option<Reason> {
    let (Change::Drain { then, .. } | Change::Stop { then, .. }) = step.change else { return None };
    // A draining replica is being removed already, and a spare has no work to protect.
    let is_removed =
        then == AfterStop::Close && projection.is_running(ordinal) && !projection.is_spare(ordinal);
    if !matches!(step.initiator, Initiator::ScaleIn | Initiator::Vertical) || !is_removed {
        return None;
    }
    if let Some(until) = projection.service.protected_until(projection.now.time, ordinal) {
        return Some(Reason::Protected { until });
    }
    let protect = projection.protect.as_ref().filter(|_| step.initiator == Initiator::ScaleIn)?;
    let value = protect.values.get(&ordinal);
    let must_stay = value.map_or_else(|| projection.is_serving(ordinal), |value| value.0 > 0);
    must_stay.then(|| Reason::MustStay { metric: Arc::clone(protect.name), is_known: value.is_some() })
}

/// A running replica keeps at least the memory that it uses: with less, the kernel would kill it.
pub(crate) fn memory(projection: &Projection<'_>, ordinal: Ordinal, resources: Resources) -> Option<Reason> {
    let (_, uses) = projection.service.places.get(&ordinal)?.memory?;
    let allotted = Bytes(u64::try_from(resources.memory?.units_ceil()).unwrap_or(0));
    (allotted < uses).then_some(Reason::BelowMemoryUsage { uses, allotted })
}

/// A serving replica is removed only while enough others are left, and never all at once.
///
/// An operator may remove a whole service. Removing a replica that does not serve is no loss, but at most a tenth of the replicas, or
/// one, may be in repair at once.
pub(crate) fn disruption(projection: &Projection<'_>, step: &Step, ordinal: Ordinal) -> Option<Reason> {
    if step.initiator == Initiator::Operator || projection.is_spare(ordinal) {
        return None;
    }
    let desired = projection.desired;
    if step.initiator == Initiator::Heal {
        let max_in_repair = (projection.counting / 10).max(1);
        let needed = projection.counting.saturating_sub(max_in_repair);
        let ready = projection.counting.saturating_sub(projection.in_repair + 1);
        return (ready < needed).then_some(Reason::DisruptionBudget { ready, needed });
    }
    if !projection.is_serving(ordinal) {
        return None;
    }
    if desired > 0 && projection.running > 0 && projection.removed + 1 >= projection.running {
        return Some(Reason::BlastRadius { takes: projection.removed + 1, of: projection.running });
    }
    let ready = projection.serving.saturating_sub(1);
    (ready < desired).then_some(Reason::DisruptionBudget { ready, needed: desired })
}

fn declared_bounds(projection: &Projection<'_>) -> (u32, u32) {
    let max = projection.settings.replicas_max;
    let Some(declared) = &projection.service.declared else { return (0, 0) };
    if let Some(hold) = projection.service.active_hold(projection.now.time) {
        return (hold.replicas.min(max), hold.replicas.min(max));
    }
    if declared.autoscaler.is_none() {
        return (0, max);
    }
    let bounds = declared.bounds(projection.now.wall);
    let min = if declared.spec.scale.to_zero.is_some() { 0 } else { bounds.min };
    (min.min(max), bounds.max.min(max))
}
