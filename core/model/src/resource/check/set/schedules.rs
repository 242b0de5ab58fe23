//! Checks of schedules against the bounds that usually hold.

use super::{ResourceProblem, warning};
use crate::resource::{Count, Resource, Service};

/// Warns of minimums that raise the usual maximum: a schedule is meant for that, but a mistyped one costs money.
pub(super) fn problems(resources: &[Resource]) -> Vec<ResourceProblem> {
    let is_scheduled =
        |resource: &Resource| matches!(resource, Resource::Service(it) if !it.spec.scale.schedule.is_empty());
    if !resources.iter().any(is_scheduled) {
        return Vec::new();
    }
    let autoscalers = super::autoscalers(resources);
    let mut found = Vec::new();
    for (i, resource) in resources.iter().enumerate() {
        if let Resource::Service(service) = resource {
            let max = match (&service.spec.scale.count, autoscalers.get(service.name().as_str())) {
                (Count::Auto(auto), _) => auto.max,
                (Count::Fixed(_), Some(spec)) => spec.max,
                // A fixed number has no maximum of its own.
                (Count::Fixed(_), None) => continue,
            };
            found.extend(above(max, i, service));
        }
    }
    found
}

fn above(max: u32, resource: usize, service: &Service) -> impl Iterator<Item = ResourceProblem> {
    let schedules = service.spec.scale.schedule.iter().enumerate();
    let raising = schedules.filter_map(move |(nth, schedule)| {
        match (schedule.min.filter(|min| *min > max), schedule.max) {
            (Some(min), None) => Some((nth, min)),
            (Some(_), Some(_)) | (None, _) => None,
        }
    });
    raising.map(move |(nth, min)| {
        let text = format!(
            "the usual maximum is {max}, and this minimum takes precedence over it: {min} replicas run during that time; give \
             the schedule a max, too, if that is meant"
        );
        warning(resource, format!("spec.scale.schedule[{nth}].min"), text)
    })
}
