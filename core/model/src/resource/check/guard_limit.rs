//! Warns of declared sizes above the limit of the guard. They are no errors, because Kubernetes manifests may declare them.

use super::fields::{ProblemList, warning};
use crate::resource::{AutoscalerSpec, Count, Scale};
use crate::settings::REPLICAS_RUN_MAX;

pub(super) fn of_service(scale: &Scale, found: &mut ProblemList) {
    match &scale.count {
        Count::Fixed(replicas) => warn_above_limit("spec.scale.replicas".to_owned(), *replicas, found),
        Count::Auto(auto) => warn_above_limit("spec.scale.max".to_owned(), auto.max, found),
    }
    for (i, schedule) in scale.schedule.iter().enumerate() {
        let most = schedule.min.max(schedule.max);
        warn_above_limit(format!("spec.scale.schedule[{i}]"), most.unwrap_or(0), found);
    }
    for (i, shadow) in scale.shadows.iter().enumerate() {
        warn_above_limit(format!("spec.scale.shadows[{i}].max"), shadow.max.unwrap_or(0), found);
    }
}

pub(super) fn of_autoscaler(spec: &AutoscalerSpec, found: &mut ProblemList) {
    warn_above_limit("spec.maxReplicas".to_owned(), spec.max, found);
}

fn warn_above_limit(path: String, replicas: u32, found: &mut ProblemList) {
    if replicas > REPLICAS_RUN_MAX {
        let text = format!(
            "the guard allows at most {REPLICAS_RUN_MAX} replicas per service, so {replicas} are never reached: divide the load among \
             several services"
        );
        found.push(warning(path, text));
    }
}
