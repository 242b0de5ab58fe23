//! The comparison of the acting autoscaler of a service with its shadows.

use model::decision::Decision;
use model::memory::{Difference, ScalingTally, ShadowMemory, SizeChange};
use model::name::ServiceName;
use model::time::Time;
use orchestrator::Handle;

use crate::failure::Failure;
use crate::resources::undeclared;
use crate::timestamps::{rfc3339, wall_of};
use crate::v1;
use crate::view::{self, ServiceView};

/// All services with shadow autoscalers, or only the service `name`, with or without shadows.
pub(crate) fn scaling(handle: &Handle, name: Option<&str>) -> Result<Vec<v1::Scaling>, Failure> {
    let names = name.map(|name| ServiceName::parse(name).into_iter().collect());
    let views = view::services(handle, names)?;
    if let (Some(name), true) = (name, views.is_empty()) {
        return Err(Failure::not_found("service", name));
    }
    let is_selected = |view: &ServiceView| name.is_some() || !view.shadows.is_empty();
    Ok(views
        .into_iter()
        .filter(is_selected)
        .map(|view| undeclared("Scaling", view.name.as_str(), status(&view)))
        .collect())
}

fn status(view: &ServiceView) -> v1::ScalingStatus {
    let decision = view.decision.as_ref().map(|explanation| explanation.decision());
    v1::ScalingStatus {
        desired_replicas: view.status.desired_replicas,
        policy: decision.as_ref().map_or_else(String::new, |decision| decision.policy.name().into()),
        shadows: view.shadows.iter().map(|shadow| shadow_status(view, shadow, decision.as_ref())).collect(),
    }
}

fn shadow_status(view: &ServiceView, shadow: &ShadowMemory, decision: Option<&Decision>) -> v1::ShadowStatus {
    let decided = decision.and_then(|decision| decision.shadows.iter().find(|it| it.name == shadow.name));
    let at = |time: Time| rfc3339(wall_of(view.now, time));
    let change =
        |change: &SizeChange| v1::ShadowChange { at: at(change.at), from: change.from, to: change.to };
    v1::ShadowStatus {
        name: shadow.name.to_string(),
        policy: decided.map_or_else(String::new, |it| it.decision.policy.name().into()),
        desired_replicas: shadow.desired,
        since: at(shadow.since),
        counted_seconds: seconds(shadow.counted_ms),
        own: tally(&shadow.own),
        acting: tally(&shadow.acting),
        below: difference(shadow.below),
        above: difference(shadow.above),
        changes: shadow.changes.iter().map(change).collect(),
        summary: decided.map(|it| it.decision.summary.to_string()),
    }
}

fn tally(tally: &ScalingTally) -> v1::ScalingTally {
    v1::ScalingTally {
        replica_hours: hours(tally.replica_ms),
        scale_outs: tally.scale_outs,
        scale_ins: tally.scale_ins,
        reversals: tally.reversals,
        over_target_seconds: seconds(tally.over_target_ms),
        without_number_seconds: seconds(tally.undecided_ms),
    }
}

fn difference(difference: Difference) -> v1::ScalingDifference {
    v1::ScalingDifference { seconds: seconds(difference.ms), replica_hours: hours(difference.replica_ms) }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn hours(ms: u64) -> f64 {
    ms as f64 / 3_600_000.0
}
