//! The limits themselves: each returns `None` to let a step pass, or the reason to refuse it.

use std::sync::Arc;

use knowledge::RESTART_WINDOW;
use model::identity::Ordinal;
use model::plan::{Afterwards, Change, Role, Step, Writer};
use model::quantity::Bytes;
use model::reason::{Reason, StormScope};
use model::resource::Resources;

use crate::tally::Tally;

/// The wanted size stays within the declared bounds, and within the most replicas that one service may have.
pub(crate) fn bounds(tally: &Tally<'_>, to: u32) -> Option<Reason> {
    let (min, max) = declared_bounds(tally);
    (to < min || to > max).then_some(Reason::Bounds { min, max })
}

/// A place is opened only for a wanted replica, or for one that is to replace another.
///
/// Places on their way out do not count towards that; with them there are never more than twice as many as one service may have.
pub(crate) fn room(tally: &Tally<'_>, role: Role, writer: Writer) -> Option<Reason> {
    let (min, max) = declared_bounds(tally);
    let most = tally.settings.replicas_max.saturating_mul(2);
    let is_over = match role {
        Role::Active => {
            let surge = u32::from(matches!(writer, Writer::Rollout | Writer::Fit));
            tally.counting >= tally.desired.min(max).saturating_add(surge)
        }
        Role::Spare => false,
    };
    (is_over || tally.places >= most).then_some(Reason::Bounds { min, max })
}

/// Restarts are limited for each node and for all nodes; a first start is none.
pub(crate) fn storm(tally: &Tally<'_>, ordinal: Ordinal) -> Option<Reason> {
    if !tally.is_restart(ordinal) {
        return None;
    }
    let settings = tally.settings;
    let scope = if tally.restarts >= settings.cluster_restarts_per_minute {
        StormScope::Cluster
    } else if tally.restarts >= settings.node_restarts_per_minute {
        StormScope::Node
    } else {
        return None;
    };
    let until = tally.oldest_restart.unwrap_or(tally.now.time) + RESTART_WINDOW;
    Some(Reason::StormLimit { scope, until })
}

/// A protected replica stays.
///
/// A replica that a person protects is neither removed when its service shrinks nor replaced by one of another size; healing and
/// rollouts go on. A replica that reports that it must stay, or that serves and reports nothing, is not removed when its service
/// shrinks.
pub(crate) fn protection(tally: &Tally<'_>, step: &Step, ordinal: Ordinal) -> Option<Reason> {
    let (Change::Drain { then, .. } | Change::Stop { then, .. }) = step.change else { return None };
    // A replica that drains is on its way out already, and a spare has no work to protect.
    let is_removed = then == Afterwards::Close && tally.is_running(ordinal) && !tally.is_spare(ordinal);
    if !matches!(step.writer, Writer::ScaleIn | Writer::Fit) || !is_removed {
        return None;
    }
    if let Some(until) = tally.service.protected_until(tally.now.time, ordinal) {
        return Some(Reason::Protected { until });
    }
    let protect = tally.protect.as_ref().filter(|_| step.writer == Writer::ScaleIn)?;
    let said = protect.said.get(&ordinal);
    let stays = said.map_or_else(|| tally.is_serving(ordinal), |said| said.0 > 0);
    stays.then(|| Reason::Needed { metric: Arc::clone(protect.name), is_known: said.is_some() })
}

/// A running replica keeps at least the memory that it uses: with less, the kernel would kill it.
pub(crate) fn squeeze(tally: &Tally<'_>, ordinal: Ordinal, resources: Resources) -> Option<Reason> {
    let (_, uses) = tally.service.places.get(&ordinal)?.memory?;
    let allotted = Bytes(u64::try_from(resources.memory?.units_ceil()).unwrap_or(0));
    (allotted < uses).then_some(Reason::Squeezed { uses, allotted })
}

/// A serving replica is taken away only while enough others are left, and never all at once.
///
/// A withdrawn service may go as a whole: a person named it. Taking away a replica that does not serve loses nothing, but at most
/// a tenth of the replicas, or one, may be in repair at once.
pub(crate) fn disruption(tally: &Tally<'_>, step: &Step, ordinal: Ordinal) -> Option<Reason> {
    if step.writer == Writer::Human || tally.is_spare(ordinal) {
        return None;
    }
    let desired = tally.desired;
    if step.writer == Writer::Heal {
        let most = (tally.counting / 10).max(1);
        let needed = tally.counting.saturating_sub(most);
        let ready = tally.counting.saturating_sub(tally.in_repair + 1);
        return (ready < needed).then_some(Reason::DisruptionBudget { ready, needed });
    }
    if !tally.is_serving(ordinal) {
        return None;
    }
    if desired > 0 && tally.running > 0 && tally.taken + 1 >= tally.running {
        return Some(Reason::BlastRadius { takes: tally.taken + 1, of: tally.running });
    }
    let ready = tally.serving.saturating_sub(1);
    (ready < desired).then_some(Reason::DisruptionBudget { ready, needed: desired })
}

fn declared_bounds(tally: &Tally<'_>) -> (u32, u32) {
    let most = tally.settings.replicas_max;
    let Some(declared) = &tally.service.declared else { return (0, 0) };
    if let Some(hold) = tally.service.held(tally.now.time) {
        return (hold.replicas.min(most), hold.replicas.min(most));
    }
    if declared.autoscaler.is_none() {
        return (0, most);
    }
    let bounds = declared.bounds(tally.now.wall);
    let min = if declared.spec.scale.to_zero.is_some() { 0 } else { bounds.min };
    (min.min(most), bounds.max.min(most))
}
