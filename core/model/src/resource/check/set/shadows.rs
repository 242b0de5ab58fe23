//! Checks of shadow autoscalers.

use std::collections::BTreeSet;

use super::{ResourceProblem, Severity, error};
use crate::resource::{AutoscalerSpec, Problem, Resource, SHADOWS_MAX, Service};

pub(super) fn problems(resources: &[Resource], dangling: Severity) -> Vec<ResourceProblem> {
    let shadowed =
        |resource: &Resource| matches!(resource, Resource::Service(it) if !it.spec.scale.shadows.is_empty());
    if !resources.iter().any(shadowed) {
        return Vec::new();
    }
    let autoscalers = super::autoscalers(resources);
    let mut found = Vec::new();
    for (i, resource) in resources.iter().enumerate() {
        if let Resource::Service(service) = resource {
            // Problems of the acting autoscaler are reported there, not at its shadows.
            if let Ok(own) = service.autoscaler() {
                let acting = own.as_ref().or(autoscalers.get(service.name().as_str()));
                of_service((i, service), acting, dangling, &mut found);
            }
        }
    }
    found
}

fn of_service(
    (i, service): (usize, &Service),
    acting: Option<&AutoscalerSpec>,
    dangling: Severity,
    found: &mut Vec<ResourceProblem>,
) {
    let shadows = &service.spec.scale.shadows;
    if shadows.len() > SHADOWS_MAX {
        let text = format!("a service has at most {SHADOWS_MAX} shadows, not {}", shadows.len());
        found.push(error(i, "spec.scale.shadows", text));
    }
    let mut names = BTreeSet::new();
    for (nth, shadow) in shadows.iter().enumerate() {
        let at = format!("spec.scale.shadows[{nth}]");
        if !names.insert(shadow.name.as_str()) {
            found.push(error(
                i,
                &format!("{at}.name"),
                format!("there is another shadow named {}", shadow.name),
            ));
        }
        let Err(problems) = shadow.to_spec(service.name(), acting) else { continue };
        for Problem { path, text } in problems.into_vec() {
            // A HorizontalPodAutoscaler in another file may provide it.
            let severity = if path == "max" && shadow.max.is_none() { dangling } else { Severity::Error };
            let problem = Problem::at(format!("{at}.{path}"), text);
            found.push(ResourceProblem { resource: i, severity, problem, subject: None });
        }
    }
}
