//! Checks that at least one allowed size of a service is within its bounds.

use std::collections::BTreeMap;

use super::{ResourceProblem, Severity};
use crate::resource::{Bounds, Problem, Resource};

/// Reports bounds, of a service or of one of its schedules, that contain no allowed size.
///
/// Several schedules together may still leave none; then the bounds take precedence, and the decision explains it.
pub(super) fn problems(resources: &[Resource]) -> Vec<ResourceProblem> {
    let mut autoscaled: BTreeMap<String, Bounds> = BTreeMap::new();
    for resource in resources {
        if let Resource::HorizontalPodAutoscaler(hpa) = resource
            && let Ok(spec) = hpa.autoscaler()
        {
            autoscaled.insert(spec.service.to_string(), Bounds { min: spec.min, max: spec.max });
        }
    }
    let mut found = Vec::new();
    for (resource, checked) in resources.iter().enumerate() {
        let Resource::Service(service) = checked else { continue };
        let scale = &service.spec.scale;
        let Some(sizes) = &scale.sizes else { continue };
        let usual = autoscaled.get(service.name().as_str()).copied().unwrap_or_else(|| scale.bounds());
        let mut check = |at: String, bounds: Bounds| {
            if !sizes.has_any_within(bounds) {
                let Bounds { min, max } = bounds;
                let text = format!(
                    "only {sizes} are allowed (scale.sizes), and none of them is within the bounds of {min} to {max}: \
                     widen the bounds, or allow other sizes"
                );
                found.push(ResourceProblem {
                    resource,
                    severity: Severity::Error,
                    problem: Problem::at(at, text),
                    subject: None,
                });
            }
        };
        check("spec.scale.sizes".to_owned(), usual);
        for (i, schedule) in scale.schedule.iter().enumerate() {
            check(format!("spec.scale.schedule[{i}]"), usual.under([schedule]));
        }
    }
    found
}
