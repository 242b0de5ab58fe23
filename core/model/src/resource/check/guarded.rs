//! Declared sizes beyond what the guard lets run: only warned of, since manifests of Kubernetes may declare them.

use super::Severity;
use super::service::Found;
use crate::resource::{AutoscalerSpec, Count, Problem, Scale};
use crate::settings::REPLICAS_RUN_MAX;

pub(super) fn of_service(scale: &Scale, found: &mut Found) {
    match &scale.count {
        Count::Fixed(replicas) => look("spec.scale.replicas".to_owned(), *replicas, found),
        Count::Auto(auto) => look("spec.scale.max".to_owned(), auto.max, found),
    }
    for (i, schedule) in scale.schedule.iter().enumerate() {
        let most = schedule.min.max(schedule.max);
        look(format!("spec.scale.schedule[{i}]"), most.unwrap_or(0), found);
    }
    for (i, shadow) in scale.shadows.iter().enumerate() {
        look(format!("spec.scale.shadows[{i}].max"), shadow.max.unwrap_or(0), found);
    }
}

pub(super) fn of_autoscaler(spec: &AutoscalerSpec, found: &mut Found) {
    look("spec.maxReplicas".to_owned(), spec.max, found);
}

fn look(path: String, replicas: u32, found: &mut Found) {
    if replicas > REPLICAS_RUN_MAX {
        let text = format!(
            "the guard lets at most {REPLICAS_RUN_MAX} replicas of one service run, so that {replicas} are never reached: share the work \
             among several services"
        );
        found.push((Severity::Warning, Problem::at(path, text)));
    }
}
